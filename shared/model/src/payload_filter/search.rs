//! The condition of a search in payloads: a field and a value, as one text such as `data.email=jo@example.com`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::fields::{BoundFilter, FieldIndex, Payload};
use super::read::{Field, read_field};
use super::scalar::Scalar;
use super::{Budget, Node, Op, PayloadFilter};
use crate::json::{Scanner, Token};
use crate::limits::PAYLOAD_FILTER_TEXT_BYTES_MAX;

const FORM: &str = "expected a field, = and a value, such as data.email=jo@example.com";
/// The field that stands for every field of `data`.
const ANY_FIELD: &str = "*";

/// A condition on an event's payload, written `<field>=<value>` or `<field>:<value>`.
///
/// The field is written as in a [`PayloadFilter`], and an array stands for its elements. A field that does not begin with `data.`,
/// `metadata.` or `attributes.` is a field of `data`. The field `*` stands for every field of `data`, at any depth. In a name, `=`
/// is written `\=`, and `:` is written `\:`.
///
/// The value matches a text that is equal, or a number, `true`, `false` or `null` that is written so; numbers are compared by value.
/// A value that ends with `*` matches texts that begin with the rest; `*` alone matches every event that has the field. A value in
/// double quotes is a JSON string, which matches only this text.
#[derive(Clone)]
pub struct PayloadSearch {
    text: Box<str>,
    test: Arc<Test>,
}

/// An error: the text is not a condition on a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPayloadSearch(String);

enum Test {
    /// A filter with one test, and the index of its field.
    Field(FieldIndex, BoundFilter),
    /// Any value of `data` is one of these.
    AnyField(Wanted),
}

/// The values that match.
enum Wanted {
    Equal(Vec<Scalar<'static>>),
    Prefix(String),
    Any,
}

impl PayloadSearch {
    /// Whether an event matches. An invalid payload does not match.
    pub fn matches(&self, payload: &Payload<'_>) -> bool {
        match &*self.test {
            Test::Field(index, filter) => {
                let values = index.collect([filter], payload);
                filter.matches(&values, &mut Budget::default())
            }
            Test::AnyField(wanted) => {
                std::str::from_utf8(payload.data).is_ok_and(|data| Scanner::new(data).any(|token| wanted.has(token)))
            }
        }
    }
}

impl Wanted {
    /// Reads the value of a condition.
    fn read(text: &str) -> Result<Self, InvalidPayloadSearch> {
        if text.is_empty() {
            return Err(InvalidPayloadSearch(FORM.to_owned()));
        }
        if text.len() > PAYLOAD_FILTER_TEXT_BYTES_MAX {
            return Err(InvalidPayloadSearch(format!("at most {PAYLOAD_FILTER_TEXT_BYTES_MAX} bytes of value")));
        }
        if let Ok(exactly) = serde_json::from_str::<String>(text) {
            return Ok(Self::Equal(vec![Scalar::Text(exactly.into())]));
        }
        match text.strip_suffix('*') {
            Some("") => return Ok(Self::Any),
            Some(prefix) => return Ok(Self::Prefix(prefix.to_owned())),
            None => {}
        }
        let other = match text {
            "true" | "false" | "null" => Scalar::read(Token::Word(text)),
            _ if text.parse::<serde_json::Number>().is_ok() => Scalar::read(Token::Number(text)),
            _ => None,
        };
        let other = other.map(Scalar::into_owned);
        let mut values: Vec<_> = other.into_iter().chain([Scalar::Text(text.to_owned().into())]).collect();
        values.sort_by(|a, b| a.total(b));
        Ok(Self::Equal(values))
    }

    /// The operator that compares a field with these values.
    fn into_op(self) -> Op {
        match self {
            Self::Equal(values) => Op::In(values),
            Self::Prefix(prefix) => Op::Prefix(prefix),
            Self::Any => Op::Exists(true),
        }
    }

    /// Whether a token of a payload is one of the values.
    fn has(&self, token: Token<'_>) -> bool {
        let Some(actual) = Scalar::read(token) else { return false };
        match self {
            Self::Equal(values) => values.iter().any(|value| actual.equals(value)),
            Self::Prefix(prefix) => actual.text().is_some_and(|text| text.starts_with(prefix.as_str())),
            Self::Any => true,
        }
    }
}

impl Test {
    fn of_field(field: &str, value: &str) -> Result<Self, InvalidPayloadSearch> {
        let wanted = Wanted::read(value)?;
        if field == ANY_FIELD {
            return match wanted {
                Wanted::Any => Err(InvalidPayloadSearch("the field * needs a value other than *".to_owned())),
                wanted => Ok(Self::AnyField(wanted)),
            };
        }
        let field = self::field(field).map_err(InvalidPayloadSearch)?;
        let filter = PayloadFilter { root: Node::Test(0, wanted.into_op()), fields: vec![field] };
        let mut index = FieldIndex::default();
        let filter = index.bind(filter);
        Ok(Self::Field(index, filter))
    }
}

/// Reads a field. Without a root, it is a field of `data`.
fn field(text: &str) -> Result<Field, String> {
    if text.is_empty() {
        return Err(FORM.to_owned());
    }
    let has_root = ["data.", "metadata.", "attributes."].iter().any(|root| text.starts_with(root));
    if has_root { read_field(text) } else { read_field(&format!("data.{text}")) }
}

/// Splits a condition at the first `=` or `:` into the field and the value. Removes the backslash from `\=` and `\:` in the field.
fn split(text: &str) -> Option<(String, &str)> {
    let (mut field, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '=' | ':' => return Some((field, &text[at + 1..])),
            '\\' => match characters.next()? {
                (_, separator @ ('=' | ':')) => field.push(separator),
                (_, other) => field.extend(['\\', other]),
            },
            other => field.push(other),
        }
    }
    None
}

impl FromStr for PayloadSearch {
    type Err = InvalidPayloadSearch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.contains('\0') {
            return Err(InvalidPayloadSearch("U+0000 is not allowed".to_owned()));
        }
        let (field, value) = split(text).ok_or_else(|| InvalidPayloadSearch(FORM.to_owned()))?;
        Ok(Self { text: text.into(), test: Arc::new(Test::of_field(field.trim(), value.trim())?) })
    }
}

impl fmt::Display for PayloadSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PayloadSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PayloadSearch").field(&self.text).finish()
    }
}

impl PartialEq for PayloadSearch {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PayloadSearch {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Attributes;

    const DATA: &str = r#"{"email":"jo@example.com","amount":5,"ok":true,"none":null,"code":"5*","deep":{"items":[{"sku":"A1"},{"sku":"B2"}]},
        "a:b":"c","a.b":{"c=d":"e"},"esc\u0061ped":"\u006ao"}"#;

    fn matches(search: &str, data: &str) -> bool {
        let attributes = Attributes([("bridge".into(), "b1".into())].into());
        let payload = Payload { data: data.as_bytes(), metadata: Some(r#"{"run":"r7"}"#), attributes: &attributes };
        search.parse::<PayloadSearch>().unwrap().matches(&payload)
    }

    #[test]
    fn a_field_and_a_value_select_events() {
        for found in [
            "data.email=jo@example.com",
            "email=jo@example.com",
            " email : jo@example.com ",
            "email=jo@*",
            "email=*",
            "none=*",
            "amount=5",
            "amount=5.0",
            "ok=true",
            "none=null",
            r#"code="5*""#,
            "code=5*",
            "deep.items.sku=B2",
            r"a\:b=c",
            r"a\.b.c\=d=e",
            "escaped=jo",
            "metadata.run=r7",
            "attributes.bridge=b1",
            "*=jo@example.com",
            "*=B2",
            "*=5",
            "*:A*",
        ] {
            assert!(matches(found, DATA), "{found}");
        }
        for missed in [
            "email=JO@example.com",
            "email=example.com",
            "data.mail=jo@example.com",
            r#"amount="5""#,
            "amount=6",
            "ok=false",
            "missing=*",
            "deep=B2",
            "deep.items=B2",
            "a=c",
            "metadata.run=r8",
            "attributes.other=b1",
            "*=r7",
            "*=sku",
            r#"*="5""#,
        ] {
            assert!(!matches(missed, DATA), "{missed}");
        }
    }

    #[test]
    fn a_payload_that_is_not_an_object_is_searched_too() {
        assert!(matches("*=x", r#""x""#) && matches("*=x", r#"["x"]"#) && matches("name=x", r#"[{"name":"x"}]"#));
        assert!(!matches("name=x", r#""x""#) && !matches("*=x", r#"{"x":1}"#));
    }

    #[test]
    fn an_unclear_condition_is_refused_with_its_mistake() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<PayloadSearch>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        for text in ["", "email", "=x", "email=", "email:  ", r"email\=x"] {
            check(text, FORM);
        }
        check("*=*", "needs a value other than *");
        check("data.=x", "expected data., metadata. or attributes.");
        check("a..b=x", "expected data., metadata. or attributes.");
        check("attributes.a.b=x", "attributes cannot have this name");
        check(&format!("{}=x", "a".repeat(300)), "at most 256 bytes");
        check(&format!("a={}", "x".repeat(600)), "at most 512 bytes of value");
        check("a=\0", "U+0000");
    }

    proptest! {
        #[test]
        fn any_text_and_any_payload_give_an_answer(text in ".{0,40}", data in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(search) = text.parse::<PayloadSearch>() {
                prop_assert_eq!(search.to_string().parse::<PayloadSearch>(), Ok(search.clone()));
                let _ = search.matches(&Payload { data: &data, metadata: None, attributes: &Attributes::default() });
            }
        }
    }
}
