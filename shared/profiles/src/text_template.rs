//! Templates of messages for people: text with placeholders, such as `Bounced: {data.email}`.
//!
//! A line is omitted if one of its placeholders has no value, so that no label appears without its value.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::event_view::EventView;
use crate::json::JsonMembers;

/// Text with placeholders, as a profile file contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTemplate(Vec<Vec<Piece>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The value of the first of these placeholders that has a value.
    Value(Vec<Placeholder>),
}

/// A placeholder for a value of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Placeholder {
    Type,
    Data(Vec<String>),
    Metadata(Vec<String>),
    Attribute(String),
}

impl std::str::FromStr for TextTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim().lines().map(line).collect::<Result<_, _>>().map(Self)
    }
}

fn line(text: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest) = (Vec::new(), text.trim());
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, after) = after.split_once('}').ok_or_else(|| format!("a {{ without its }} in {text:?}"))?;
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Value(inside.split('|').map(placeholder).collect::<Result<_, _>>()?));
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

fn placeholder(text: &str) -> Result<Placeholder, String> {
    let (source, path) = text.split_once('.').unwrap_or((text, ""));
    let names = || path.split('.').map(str::to_owned).collect();
    match source {
        "type" if path.is_empty() => Ok(Placeholder::Type),
        "data" if !path.is_empty() => Ok(Placeholder::Data(names())),
        "metadata" if !path.is_empty() => Ok(Placeholder::Metadata(names())),
        "attributes" if !path.is_empty() => Ok(Placeholder::Attribute(path.to_owned())),
        _ => Err(format!(
            "{{{text}}} is not a placeholder; allowed: type, data.<member>, metadata.<member>, attributes.<name>"
        )),
    }
}

impl TextTemplate {
    /// Returns this template followed by the lines of `more`.
    pub(crate) fn then(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// Returns the lines whose placeholders all have values.
    pub(crate) fn fill(&self, event: &EventView<'_>) -> String {
        let lines = self.0.iter().filter_map(|pieces| {
            let texts = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => Some(Cow::Borrowed(text.as_str())),
                Piece::Value(placeholders) => placeholders.iter().find_map(|placeholder| placeholder.value(event)),
            });
            texts.collect::<Option<String>>()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Placeholder {
    fn value<'a>(&self, event: &EventView<'a>) -> Option<Cow<'a, str>> {
        match self {
            Self::Type => Some(event.event_type.as_str().into()),
            Self::Attribute(name) => event.attributes.get(name).map(Cow::Borrowed),
            Self::Data(path) => member(std::str::from_utf8(event.data).ok()?, path),
            Self::Metadata(path) => member(event.metadata?.get(), path),
        }
    }
}

/// Returns the string, number or boolean at a path of a JSON object as text. Blank strings count as missing.
fn member<'a>(json: &'a str, path: &[String]) -> Option<Cow<'a, str>> {
    let mut json = json;
    for name in path {
        json = JsonMembers::parse(json)?.get(name).map(RawValue::get)?;
    }
    scalar(json)
}

/// Returns a JSON string, number or boolean as text; `None` for another value and for a blank string.
pub(crate) fn scalar(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(json).ok().filter(|text| !text.trim().is_empty()).map(Cow::Owned),
        b'{' | b'[' | b'n' => None,
        _ => Some(json.into()),
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::event::Attributes;
    use postrider_model::time::UnixMillis;

    use super::*;

    #[track_caller]
    fn check(template: &str, data: &str, expected: &str) {
        let (id, event_type) = ("evt_1".parse().unwrap(), "email.bounced".parse().unwrap());
        let attributes = Attributes([("bridge".into(), "b1".into())].into());
        let metadata = RawValue::from_string(r#"{"team":7}"#.into()).unwrap();
        let event = EventView {
            id: &id,
            event_type: &event_type,
            occurred_at: UnixMillis(0),
            accepted_at: UnixMillis(0),
            attributes: &attributes,
            metadata: Some(&metadata),
            data: data.as_bytes(),
        };
        assert_eq!(template.parse::<TextTemplate>().unwrap().fill(&event), expected, "{template} of {data}");
    }

    #[test]
    fn placeholders_become_values_of_the_event() {
        check("{type}: {data.email}", r#"{"email":"a\u0040b.c"}"#, "email.bounced: a@b.c");
        check("{metadata.team} over {attributes.bridge}", "{}", "7 over b1");
        check("{data.to.name} {data.n} {data.b}", r#"{"to":{"name":"ü"},"n":1.50,"b":true}"#, "ü 1.50 true");
        check("{data.domain|attributes.bridge}", "{}", "b1");
        check("{data.domain|attributes.bridge}", r#"{"domain":"d"}"#, "d");
    }

    #[test]
    fn a_line_without_a_value_is_left_out() {
        check("a\nlink {data.url}\nb", "{}", "a\nb");
        for data in [r#"{"url":null}"#, r#"{"url":" "}"#, r#"{"url":["x"]}"#, r#"{"url":{}}"#, "7", "nonsense"] {
            check("link {data.url}", data, "");
        }
    }

    #[test]
    fn unknown_placeholders_are_refused() {
        for (template, why) in [("a {data.x", "without its }"), ("{email}", "{email}"), ("{data}", "{data}")] {
            let refused = template.parse::<TextTemplate>().unwrap_err();
            assert!(refused.contains(why), "{template}: {refused}");
        }
    }
}
