//! Finds values that some receivers cannot verify, because they verify the parsed body instead of the received bytes.

use postrider_model::json::{Container, Scanner, Token, pointer_token, unescape};

use crate::envelope::{BodyStyle, Source};
use crate::event_view::EventView;
use crate::json::number;
use crate::profile::Profile;

/// Maximum number of values that are named. Further values are only counted.
const NAMED_MAX: usize = 10;

impl Profile {
    /// Warns about values for which no spelling works with all receivers of this product: integers beyond 2^53, floats that
    /// JavaScript and Python print differently, and numbers that no double can hold. Each warning has a JSON pointer. There are
    /// no warnings unless the body is [`BodyStyle::JsStable`]. The bytes must be valid JSON.
    pub fn warnings(&self, event: &EventView<'_>) -> Vec<String> {
        let mut warnings = Warnings::default();
        if self.body == BodyStyle::JsStable {
            let metadata = self.metadata_members(event);
            for source in self.envelope.iter().flat_map(|field| std::iter::once(&field.source).chain(&field.default)) {
                match source {
                    Source::Data | Source::FlattenData { .. } => {
                        warnings.add_from("/data", &String::from_utf8_lossy(event.data));
                    }
                    Source::Metadata => {
                        event.metadata.into_iter().for_each(|raw| warnings.add_from("/metadata", raw.get()));
                    }
                    Source::MetadataMember(name) => {
                        let pointer = format!("/metadata/{}", pointer_token(name));
                        metadata.get(name).into_iter().for_each(|raw| warnings.add_from(&pointer, raw.get()));
                    }
                    _ => {}
                }
            }
        }
        warnings.into_list()
    }
}

#[derive(Default)]
struct Warnings {
    named: Vec<String>,
    more: usize,
}

/// The position of a token in its object or array.
enum Step<'a> {
    Member(&'a str),
    Item(usize),
}

impl Warnings {
    fn add_from(&mut self, base: &str, json: &str) {
        let mut path: Vec<Step<'_>> = Vec::new();
        for token in Scanner::new(json) {
            match (token, path.last_mut()) {
                (Token::Key(name), Some(step)) => *step = Step::Member(name),
                (Token::Close(_), _) => {
                    path.pop();
                }
                // A value in an array moves the position to the next element.
                (_, Some(Step::Item(next))) => *next += 1,
                _ => {}
            }
            match token {
                Token::Open(Container::Object) => path.push(Step::Member("")),
                Token::Open(Container::Array) => path.push(Step::Item(0)),
                Token::Number(number) => {
                    if let Some(detail) = number::doubt(number) {
                        self.add(|| format!("{base}{}: {detail}", pointer(&path)));
                    }
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, warning: impl FnOnce() -> String) {
        if self.named.len() < NAMED_MAX {
            self.named.push(warning());
        } else {
            self.more += 1;
        }
    }

    fn into_list(mut self) -> Vec<String> {
        if self.more > 0 {
            self.named.push(format!("{} more such values", self.more));
        }
        self.named
    }
}

/// Converts the path to a JSON pointer (RFC 6901).
fn pointer(path: &[Step<'_>]) -> String {
    let token = |step: &Step<'_>| match step {
        Step::Member(name) => {
            format!("/{}", pointer_token(&unescape(name).unwrap_or_default()))
        }
        // The position is already that of the next element.
        Step::Item(next) => format!("/{}", next.saturating_sub(1)),
    };
    path.iter().map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &[&str]) {
        let mut warnings = Warnings::default();
        warnings.add_from("/data", json);
        let list = warnings.into_list();
        let found: Vec<_> = list.iter().filter_map(|warning| warning.split(": ").next()).collect();
        assert_eq!(found, expected, "{json}");
    }

    #[test]
    fn each_doubtful_value_is_named_with_its_pointer() {
        check(r#"{"a":1,"b":"12345678901234567890","c":[0.5,-2]}"#, &[]);
        check("12345678901234567890", &["/data"]);
        check(
            r#"{"id":12345678901234567890,"x/y":{"list":[[],[1,0.00001],{"\u0061~":1e999}],"after":1e-7},"z":[9007199254740993]}"#,
            &["/data/id", "/data/x~1y/list/1/1", "/data/x~1y/list/2/a~0", "/data/x~1y/after", "/data/z/0"],
        );
    }

    #[test]
    fn further_values_are_counted() {
        let mut warnings = Warnings::default();
        warnings.add_from("/data", &format!("[{}1]", "1e-5,".repeat(25)));
        let list = warnings.into_list();
        assert_eq!((list.len(), list[10].as_str()), (11, "15 more such values"));
    }
}
