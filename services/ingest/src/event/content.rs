//! The hash of an event's content. It is equal if an event is repeated, and different for another event with the same id.
//!
//! JSON is compared by its meaning: whitespace, the order of members, escapes and the spelling of numbers (`1`, `1.0`, `10e-1`)
//! make no difference. Numbers of any size are compared exactly. The event itself contains the unchanged bytes of the producer.

mod canonical;

use postrider_model::delivery_window::{Expiry, StatedWindow};

use self::canonical::canonical;
use crate::event::{Event, hash};

/// Prefix of a hash. It identifies the method of hashing.
const FORM: &str = "c1.";
/// Number of hexadecimal digits of the hash of all parts together.
const WHOLE: usize = 32;
/// Number of hexadecimal digits of the hash of a single part. These hashes only show in which parts two events differ.
const PART: usize = 4;
/// The names of the parts, as the detail of a 409 response lists them. An event without the last part has no hash of it.
const PARTS: [&str; 8] = [
    "type",
    "data",
    "metadata",
    "attributes",
    "timestamp",
    "origin",
    "source",
    "deliver_at, expires_at or ttl_seconds",
];

/// The hash of an event's content.
#[derive(Debug)]
pub(crate) struct Content {
    hash: String,
}

impl Content {
    /// Calculates the hash of the content of `event`.
    pub(crate) fn of(event: &Event<'_>) -> Self {
        let at = event.occurred_at.map_or(i64::MIN, |at| at.0).to_be_bytes();
        let attributes: Vec<&[u8]> =
            event.attributes.0.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect();
        let mut parts = vec![
            hash(&[event.event_type.as_str().as_bytes()]),
            hash(&[&canonical(event.data.get())]),
            hash(&[&event.metadata.as_deref().map(|metadata| canonical(metadata.get())).unwrap_or_default()]),
            hash(&attributes),
            hash(&[&at]),
            hash(&[event.origin.as_str().as_bytes()]),
            hash(&[event.source.as_deref().unwrap_or_default().as_bytes()]),
        ];
        if !event.window.is_empty() {
            parts.push(window(&event.window));
        }
        let whole: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        let short: String = parts.iter().filter_map(|part| part.get(..PART)).collect();
        Self { hash: format!("{FORM}{}.{short}", hash(&whole)) }
    }

    /// Returns the hash to store with the event.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// Whether `recorded` is the hash of equal content.
    pub(crate) fn is(&self, recorded: &str) -> bool {
        recorded == self.hash
    }

    /// Returns the parts that differ from the content with the hash `recorded`. Returns no parts if another method calculated
    /// that hash.
    pub(crate) fn differences(&self, recorded: &str) -> Vec<&'static str> {
        let parts = |hash: &str| hash.strip_prefix(FORM).and_then(|rest| rest.get(WHOLE + 1..)).map(str::to_owned);
        let (Some(ours), Some(theirs)) = (parts(&self.hash), parts(recorded)) else { return Vec::new() };
        let part = |of: &str, index: usize| of.get(index * PART..(index + 1) * PART).map(str::to_owned);
        let differs =
            |(index, name): (usize, &&'static str)| (part(&ours, index) != part(&theirs, index)).then_some(*name);
        PARTS.iter().enumerate().filter_map(differs).collect()
    }
}

/// The hash of a window as the producer stated it: a `ttl_seconds` is the same content whenever the event is repeated.
fn window(window: &StatedWindow) -> String {
    let deliver_at = window.deliver_at.map_or(i64::MIN, |at| at.0).to_be_bytes();
    let (kind, expiry) = match window.expiry {
        None => (0, 0),
        Some(Expiry::At(at)) => (1, at.0),
        Some(Expiry::After(ttl)) => (2, i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
    };
    hash(&[&deliver_at, &[kind], &expiry.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use postrider_model::ids::TenantId;

    use super::*;
    use crate::event::json::{Source, read_event};

    fn read(json: &str) -> Event<'_> {
        read_event(TenantId::OPERATOR, json.as_bytes(), Source::Http { key: None }).unwrap()
    }

    #[track_caller]
    fn check(one: &str, other: &str, differences: &[&str]) {
        let (one, other) = (read(one), read(other));
        let (one, other) = (Content::of(&one), Content::of(&other));
        assert_eq!(one.is(other.hash()), differences.is_empty(), "{one:?} {other:?}");
        assert_eq!(one.differences(other.hash()), differences);
    }

    #[test]
    fn a_repeat_may_be_written_differently() {
        check(
            r#"{"type":"a","data":{"n":1.0,"text":"\u006e","deep":[{"b":1,"a":[]}]},"metadata":{"x":1,"y":2}}"#,
            r#"{"metadata":{ "y":20e-1, "x":1 },"data":{"deep":[{"a":[ ],"b":1}],"text":"n","n":1},"type":"a"}"#,
            &[],
        );
        check(
            r#"{"type":"a","data":1,"timestamp":"2026-01-02T03:04:05Z"}"#,
            r#"{"type":"a","data":1,"timestamp":"2026-01-02T05:04:05.000+02:00","attributes":null,"origin":"api"}"#,
            &[],
        );
    }

    #[test]
    fn other_content_is_described_by_the_parts_that_differ() {
        let base = r#"{"type":"a","data":{"n":1}}"#;
        check(base, r#"{"type":"b","data":{"n":1}}"#, &["type"]);
        check(base, r#"{"type":"a","data":{"n":2},"origin":"dashboard"}"#, &["data", "origin"]);
        check(base, r#"{"type":"a","data":{"n":1},"metadata":{}}"#, &["metadata"]);
        check(base, r#"{"type":"a","data":{"n":1},"attributes":{"bridge":"b1"}}"#, &["attributes"]);
        check(base, r#"{"type":"a","data":{"n":1},"timestamp":"2026-01-02T03:04:05Z"}"#, &["timestamp"]);
        let window = ["deliver_at, expires_at or ttl_seconds"];
        let with = |field: &str| format!(r#"{{"type":"a","data":{{"n":1}},{field}}}"#);
        check(base, &with(r#""ttl_seconds":60"#), &window);
        check(&with(r#""ttl_seconds":60"#), &with(r#""ttl_seconds":61"#), &window);
        check(&with(r#""ttl_seconds":60"#), &with(r#""ttl_seconds":60"#), &[]);
        check(
            &with(r#""deliver_at":"2026-01-02T03:04:05Z""#),
            &with(r#""expires_at":"2026-01-02T03:04:05Z""#),
            &window,
        );
    }
}
