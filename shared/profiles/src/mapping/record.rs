//! Reads values from a log record.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use postrider_model::time::UnixMillis;
use serde::Deserialize;
use serde_json::Value;

/// Which part of a value is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Take {
    /// The text without surrounding whitespace and angle brackets.
    Bare,
    /// The domain of an e-mail address, or the text itself if it has no `@`; in lower case.
    Domain,
    /// The IP address of `address:port`, or an IP address alone.
    Ip,
    /// The enhanced status code in the form `5.1.1` if the value has the code's three parts; other values as text.
    Status,
}

/// The source of a value.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Paths in the log record. The first path with a value is used.
    pub(super) from: Vec<Vec<String>>,
    pub(super) take: Option<Take>,
    /// Replacements of texts. A path whose text is not listed here has no value.
    pub(super) map: Option<BTreeMap<String, String>>,
    /// The value that is used if no path has a value.
    pub(super) default: Option<String>,
}

/// A value that was found.
#[derive(Debug, PartialEq)]
pub(super) enum Taken<'a> {
    Text(String),
    /// The value as it is in the log record.
    Json(&'a Value),
}

impl Source {
    pub(super) fn find<'a>(&self, record: &'a Value) -> Option<Taken<'a>> {
        let found = self.from.iter().find_map(|path| self.read(at(record, path)?));
        found.or_else(|| self.default.clone().map(Taken::Text))
    }

    fn read<'a>(&self, value: &'a Value) -> Option<Taken<'a>> {
        let empty = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
        if empty {
            return None;
        }
        let taken = match self.take {
            Some(take) => Taken::Text(take.of(value)?),
            None => Taken::Json(value),
        };
        let Some(map) = &self.map else { return Some(taken) };
        let key = match taken {
            Taken::Text(text) => text,
            Taken::Json(value) => text(value)?,
        };
        map.get(&key).cloned().map(Taken::Text)
    }
}

impl Take {
    fn of(self, value: &Value) -> Option<String> {
        match self {
            Self::Bare => Some(bare(&text(value)?).to_owned()).filter(|text| !text.is_empty()),
            Self::Domain => {
                let text = text(value)?;
                let domain = bare(&text).rsplit('@').next()?.trim_end_matches('.').to_ascii_lowercase();
                Some(domain).filter(|domain| !domain.is_empty())
            }
            Self::Ip => {
                let text = text(value)?;
                let alone = text.parse::<IpAddr>().ok();
                alone.or_else(|| text.parse::<SocketAddr>().ok().map(|both| both.ip())).map(|ip| ip.to_string())
            }
            Self::Status => {
                let parts = ["class", "subject", "detail"].map(|part| value.get(part).and_then(Value::as_u64));
                match parts {
                    [Some(class), Some(subject), Some(detail)] => Some(format!("{class}.{subject}.{detail}")),
                    _ => text(value),
                }
            }
        }
    }
}

fn bare(text: &str) -> &str {
    text.trim().trim_start_matches('<').trim_end_matches('>')
}

/// Returns the value at a path of member names and element numbers (from 0).
pub(super) fn at<'a>(record: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(record, |value, step| match value {
        Value::Object(members) => members.get(step),
        Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Returns a string, number or boolean as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Parses seconds since 1970, with or without a fraction.
#[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
pub(super) fn time(value: Option<&Value>) -> Option<UnixMillis> {
    /// The last second of the year 9999.
    const SECONDS_MAX: f64 = 253_402_300_799.0;
    let seconds = value?.as_f64().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds))?;
    Some(UnixMillis((seconds * 1_000.0).round() as i64))
}

/// Returns the recipients. If the log record has no recipient, returns one recipient with an empty name.
pub(super) fn recipients(value: Option<&Value>) -> Option<Vec<String>> {
    match value {
        None | Some(Value::Null) => Some(vec![String::new()]),
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(several)) if !several.is_empty() => {
            several.iter().map(|one| one.as_str().map(str::to_owned)).collect()
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(take: Take, value: Value, expected: Option<&str>) {
        assert_eq!(take.of(&value).as_deref(), expected, "{take:?} of {value}");
    }

    #[test]
    fn each_take_uses_its_part_of_a_value() {
        check(Take::Bare, json!(" <a@b.c> "), Some("a@b.c"));
        check(Take::Bare, json!("<>"), None);
        check(Take::Domain, json!("Bounce+x=y@Mail.Example.COM"), Some("mail.example.com"));
        check(Take::Domain, json!("example.com."), Some("example.com"));
        check(Take::Domain, json!("<>"), None);
        check(Take::Ip, json!("10.0.0.1:53210"), Some("10.0.0.1"));
        check(Take::Ip, json!("[2001:db8::1]:25"), Some("2001:db8::1"));
        check(Take::Ip, json!("2001:db8::1"), Some("2001:db8::1"));
        check(Take::Ip, json!("host"), None);
        check(Take::Status, json!({"class": 5, "subject": 1, "detail": 1}), Some("5.1.1"));
        check(Take::Status, json!(550), Some("550"));
        check(Take::Bare, json!({}), None);
    }

    #[test]
    fn times_are_seconds_with_or_without_a_fraction() {
        assert_eq!(time(Some(&json!(1_678_069_691))), Some(UnixMillis(1_678_069_691_000)));
        assert_eq!(time(Some(&json!(1_678_069_691.25))), Some(UnixMillis(1_678_069_691_250)));
        for bad in [json!("x"), json!(-1), json!(1e300), json!(null)] {
            assert_eq!(time(Some(&bad)), None, "{bad}");
        }
    }

    #[test]
    fn a_path_takes_members_and_elements() {
        let record = json!({"a": [{"b": 1}, "two"], "c.d": 3});
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(at(&record, &path("a.0.b")), Some(&json!(1)));
        assert_eq!(at(&record, &path("a.1")), Some(&json!("two")));
        assert_eq!(at(&record, &path("a.2")), None);
        assert_eq!(at(&record, &path("a.x")), None);
    }
}
