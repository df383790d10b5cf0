//! Ordered endpoints: which deliveries form a line, and what happens when one of them fails for good.
//!
//! The deliveries of an ordered endpoint whose events have the same *key* form a line. They are attempted one after the other,
//! in the order in which their events were accepted.

use serde::{Deserialize, Serialize};

use crate::payload_filter::{FieldReader, Payload};
use crate::text::names;

/// Maximum number of bytes of a key. A longer value is replaced by its hash.
const KEY_BYTES_MAX: usize = 200;

/// What follows when a delivery of an ordered endpoint has used up its retry schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// The next delivery of the key is attempted.
    #[default]
    Continue,
    /// The key is held: its next deliveries wait until a person retries or skips the failed one.
    Hold,
}
names!(OnExhausted { Continue => "continue", Hold => "hold" });

/// The order of an endpoint's deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Ordering {
    /// The field whose value is the key of an event: `metadata.…`, `attributes.…` or `data.…`, written as in a payload filter.
    /// `null` or absent: all deliveries of the endpoint have the same key.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(example = "metadata.subscriber_id"))]
    pub key: Option<String>,
    /// What follows when a delivery fails for good.
    #[serde(default)]
    pub on_exhausted: OnExhausted,
}

/// Reads the key of events. Compiled once from an [`Ordering`].
#[derive(Debug, Clone, Default)]
pub struct KeyReader(Option<FieldReader>);

impl KeyReader {
    /// Compiles the key of an ordering.
    ///
    /// # Errors
    /// The key is not a field. The text says what is allowed.
    pub fn compile(ordering: &Ordering) -> Result<Self, String> {
        ordering.key.as_deref().map(FieldReader::compile).transpose().map(Self)
    }

    /// The key of an event. It is empty if the endpoint has no key field, or if the event has no text, number or boolean in
    /// this field. Of an array, the first such value counts.
    pub fn key(&self, payload: &Payload<'_>) -> String {
        let value = self.0.as_ref().and_then(|reader| reader.first_value(payload)).unwrap_or_default();
        if value.len() > KEY_BYTES_MAX { hashed(&value) } else { value.replace('\0', "\u{fffd}") }
    }
}

/// Stands for a value that is too long to be a key.
fn hashed(value: &str) -> String {
    use sha2::Digest;
    use std::fmt::Write;
    let mut text = String::from("sha256:");
    for byte in sha2::Sha256::digest(value.as_bytes()) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Attributes;

    fn check(key: Option<&str>, data: &str, expected: &str) {
        let ordering = Ordering { key: key.map(str::to_owned), ..Ordering::default() };
        let attributes = Attributes([("bridge".into(), "b1".into())].into());
        let payload =
            Payload { data: data.as_bytes(), metadata: Some(r#"{"subscriber_id":17}"#), attributes: &attributes };
        assert_eq!(KeyReader::compile(&ordering).unwrap().key(&payload), expected, "{key:?} {data}");
    }

    #[test]
    fn the_key_is_the_text_of_the_field() {
        check(None, "{}", "");
        check(Some("metadata.subscriber_id"), "{}", "17");
        check(Some("attributes.bridge"), "{}", "b1");
        check(Some("data.a.b"), r#"{"a":{"b":"x\u0041"}}"#, "xA");
        check(Some("data.a"), r#"{"a":true}"#, "true");
        check(Some("data.a"), r#"{"a":[null,"x","y"]}"#, "x");
    }

    #[test]
    fn an_event_without_the_field_has_the_empty_key() {
        for data in ["{}", r#"{"a":null}"#, r#"{"a":{}}"#, r#"{"a":[]}"#, "7", "not json"] {
            check(Some("data.a"), data, "");
        }
    }

    #[test]
    fn a_long_key_is_replaced_by_its_hash_and_nul_by_another_character() {
        check(Some("data.a"), r#"{"a":"x\u0000y"}"#, "x\u{fffd}y");
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        let ordering = Ordering { key: Some("data.a".into()), ..Ordering::default() };
        let (reader, data) = (KeyReader::compile(&ordering).unwrap(), format!(r#"{{"a":"{long}"}}"#));
        let payload = Payload { data: data.as_bytes(), metadata: None, attributes: &Attributes::default() };
        let key = reader.key(&payload);
        assert!(key.starts_with("sha256:") && key.len() == 71, "{key}");
    }

    #[test]
    fn only_fields_of_an_event_can_be_keys() {
        for key in ["", "subscriber", "data", "data.", "event.id", "attributes.a.b"] {
            let ordering = Ordering { key: Some(key.into()), ..Ordering::default() };
            assert!(KeyReader::compile(&ordering).is_err(), "{key}");
        }
    }
}
