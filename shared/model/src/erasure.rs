//! Erasures: orders to erase what the history holds of a value, such as a person's e-mail address.

mod text_match;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{ERASURE_VALUE_BYTES_MAX, ERASURE_VALUE_BYTES_MIN};
use crate::payload_filter::{FieldSearch, Payload, ValueTest};
use crate::text::names;

pub use text_match::TextMatch;

/// The state of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErasureStatus {
    /// Other erasures of the tenant come first.
    Waiting,
    /// It searches, and erases what it finds.
    Running,
    /// It has searched everything.
    Finished,
    /// A person cancelled it. What it had erased stays erased.
    Cancelled,
    /// It ended early. `failure` says why.
    Failed,
}
names!(ErasureStatus {
    Waiting => "waiting",
    Running => "running",
    Finished => "finished",
    Cancelled => "cancelled",
    Failed => "failed",
});

/// What an erasure searches at present. The stages come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErasureStage {
    /// Events: payloads and attributes.
    Events,
    /// The edited data of test calls.
    TestCalls,
    /// What endpoints answered to attempts, and the headers of the requests.
    Attempts,
    /// Dead letters.
    DeadLetters,
}
names!(ErasureStage {
    Events => "events",
    TestCalls => "test_calls",
    Attempts => "attempts",
    DeadLetters => "dead_letters",
});

impl ErasureStatus {
    /// Whether the erasure has ended.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

/// The value that an erasure searches for, and where.
#[derive(Clone)]
pub struct ErasureCondition {
    field: Option<FieldSearch>,
    test: ValueTest,
    text: TextMatch,
}

/// An error: the field or the value of an erasure is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidErasure {
    /// The field is malformed. The text says what is allowed.
    #[error("{0}")]
    Field(String),
    /// The value is too short or too long: this number of bytes.
    #[error("a value has {ERASURE_VALUE_BYTES_MIN} to {ERASURE_VALUE_BYTES_MAX} bytes, got {0}")]
    Value(usize),
}

/// Where an event holds the value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundInEvent {
    /// Whether `data` or `metadata` holds it.
    pub in_payload: bool,
    /// The names of the attributes that hold it.
    pub attributes: Vec<Box<str>>,
}

impl FoundInEvent {
    /// Whether the event holds the value anywhere.
    pub fn is_hit(&self) -> bool {
        self.in_payload || !self.attributes.is_empty()
    }
}

/// How much of a text must be the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The whole text is the value.
    Whole,
    /// The value is anywhere in the text.
    Anywhere,
}

impl ErasureCondition {
    /// A condition on one field, or with `None` on every text, number and member name of an event.
    ///
    /// # Errors
    /// The field is malformed, or the value is too short or too long.
    pub fn new(field: Option<&str>, value: &str, extent: Extent) -> Result<Self, InvalidErasure> {
        if !(ERASURE_VALUE_BYTES_MIN..=ERASURE_VALUE_BYTES_MAX).contains(&value.len()) {
            return Err(InvalidErasure::Value(value.len()));
        }
        let field = field.map(FieldSearch::from_str).transpose().map_err(InvalidErasure::Field)?;
        Ok(Self { field, test: ValueTest::new(value, extent), text: TextMatch::new(value, extent) })
    }

    /// Where an event holds the value. With a field, only an event whose field holds the value is a hit. Of a hit, all attributes
    /// that hold the value are found, because a later erasure cannot find them: it does not read expunged events.
    pub fn find(&self, payload: &Payload<'_>) -> FoundInEvent {
        let Some(field) = &self.field else { return FieldSearch::everywhere(payload, &self.test) };
        let mut found = field.find(payload, &self.test);
        if found.is_hit() {
            found.attributes = FieldSearch::attributes_holding(payload.attributes, &self.test);
        }
        found
    }

    /// Whether JSON without a known structure holds the value: any text, number or member name. Ignores the field.
    pub fn is_in_json(&self, json: &str) -> bool {
        FieldSearch::any_token(json, &self.test)
    }

    /// The search in bytes that need not be JSON. Ignores the field.
    pub fn text(&self) -> &TextMatch {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Attributes;

    const DATA: &str = r#"{"recipient":{"email":"jo@example.com","id":4711},"cc":[{"email":"al@example.com"},"bo@example.com"],
        "note":"mail of jo@example.com","by.name":{"jo@example.com":1},"escaped":"c\u0061l@example.com","email":"x@example.com","email":"y@example.com"}"#;

    fn find(field: Option<&str>, value: &str, extent: Extent) -> FoundInEvent {
        let attributes =
            Attributes([("recipient".into(), "jo@example.com".into()), ("bridge".into(), "b1".into())].into());
        let payload =
            Payload { data: DATA.as_bytes(), metadata: Some(r#"{"user":"meta-user"}"#), attributes: &attributes };
        ErasureCondition::new(field, value, extent).unwrap().find(&payload)
    }

    #[test]
    fn a_field_holds_its_exact_value_in_arrays_and_repeated_members_too() {
        for (field, value) in [
            ("data.recipient.email", "jo@example.com"),
            ("data.recipient.id", "4711"),
            ("data.cc.email", "al@example.com"),
            ("data.cc", "bo@example.com"),
            ("data.escaped", "cal@example.com"),
            ("data.email", "x@example.com"),
            ("data.email", "y@example.com"),
            ("metadata.user", "meta-user"),
        ] {
            assert!(find(Some(field), value, Extent::Whole).in_payload, "{field}={value}");
        }
        let both = find(Some("data.recipient.email"), "jo@example.com", Extent::Whole);
        assert_eq!(both.attributes, ["recipient".into()], "the attributes of a hit are found, too");
        for (field, value) in [
            ("data.recipient.email", "o@example.com"),
            ("data.recipient.email", "JO@example.com"),
            ("data.recipient", "jo@example.com"),
            ("data.note", "jo@example.com"),
            ("data.user", "meta-user"),
        ] {
            assert!(!find(Some(field), value, Extent::Whole).is_hit(), "{field}={value}");
        }
        assert!(find(Some("data.note"), "jo@example.com", Extent::Anywhere).in_payload);
        let attribute = find(Some("attributes.recipient"), "jo@example.com", Extent::Whole);
        assert_eq!((attribute.in_payload, attribute.attributes), (false, vec!["recipient".into()]));
    }

    #[test]
    fn a_full_scan_finds_texts_numbers_member_names_and_attributes() {
        for value in ["jo@example.com", "4711", "cal@example.com", "meta-user", "recipient"] {
            assert!(find(None, value, Extent::Whole).in_payload, "{value}");
        }
        assert_eq!(find(None, "jo@example.com", Extent::Whole).attributes, ["recipient".into()]);
        assert!(!find(None, "example.com", Extent::Whole).is_hit());
        let domain = find(None, "example.com", Extent::Anywhere);
        assert!(domain.in_payload && domain.attributes == ["recipient".into()]);
    }

    #[test]
    fn a_mistake_in_field_or_value_is_named() {
        let error = |field, value: &str| ErasureCondition::new(field, value, Extent::Whole).err().unwrap().to_string();
        assert_eq!(error(None, "ab"), "a value has 3 to 1024 bytes, got 2");
        assert_eq!(error(None, &"x".repeat(1_025)), "a value has 3 to 1024 bytes, got 1025");
        assert!(error(Some("recipient.email"), "abc").contains("expected data., metadata. or attributes."));
    }
}
