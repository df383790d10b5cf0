//! Events: things that happened, as producers publish them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX, EVENT_TYPE_BYTES_MAX};
use crate::text::{names, serialize_as_text};

/// The class of an event, such as `email.bounced` or `Newsletter Opened`: 1 to 128 bytes of ASCII letters, digits, `_`, `-`, `.`
/// and inner spaces. Dots separate segments; no segment is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(Box<str>);

/// An error: the text is not an event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an event type is 1 to {EVENT_TYPE_BYTES_MAX} bytes of letters, digits, '_', '-', inner spaces, and dots between non-empty segments"
)]
pub struct InvalidEventType;

impl EventType {
    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` follows the grammar of [`EventType`].
pub(crate) fn is_event_type(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= EVENT_TYPE_BYTES_MAX
        && text.split('.').all(|segment| {
            !segment.is_empty()
                && !segment.starts_with(' ')
                && !segment.ends_with(' ')
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b' '))
        })
}

impl FromStr for EventType {
    type Err = InvalidEventType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_event_type(text) { Ok(Self(text.into())) } else { Err(InvalidEventType) }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serialize_as_text!(EventType);

/// What caused an event. A profile may deliver only events of some origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A call of the product's API.
    #[default]
    Api,
    /// A person in the product's dashboard.
    Dashboard,
    /// A change of an endpoint's state, see [`notice`](crate::notice). No producer can choose this origin.
    Notice,
}

names!(Origin { Api => "api", Dashboard => "dashboard", Notice => "notice" });

/// Names and texts by which an event can be filtered: `sending_domain`, `sending_node`, `bridge`, `dedicated_ip` and any other
/// names that the producer sends. Sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(pub BTreeMap<Box<str>, Box<str>>);

/// An error: an attribute exceeds a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAttributes {
    /// The event has too many attributes: this number.
    #[error("at most {ATTRIBUTES_MAX} attributes, got {0}")]
    TooMany(usize),
    /// A name is malformed.
    #[error("attribute name {0:?}: 1 to {ATTRIBUTE_NAME_BYTES_MAX} of a-z 0-9 _ -, beginning with a letter")]
    Name(String),
    /// A value is empty or too long.
    #[error("attribute {0:?}: a value has 1 to {ATTRIBUTE_VALUE_BYTES_MAX} bytes and no control character")]
    Value(String),
}

impl Attributes {
    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(AsRef::as_ref)
    }

    /// Checks the number of attributes, their names and their values.
    ///
    /// # Errors
    /// The first attribute that exceeds a limit.
    pub fn check(&self) -> Result<(), InvalidAttributes> {
        if self.0.len() > ATTRIBUTES_MAX {
            return Err(InvalidAttributes::TooMany(self.0.len()));
        }
        for (name, value) in &self.0 {
            if !is_attribute_name(name) {
                return Err(InvalidAttributes::Name(name.chars().take(ATTRIBUTE_NAME_BYTES_MAX).collect()));
            }
            if value.is_empty() || value.len() > ATTRIBUTE_VALUE_BYTES_MAX || value.chars().any(char::is_control) {
                return Err(InvalidAttributes::Value(name.to_string()));
            }
        }
        Ok(())
    }
}

/// Whether `name` is a valid name of an attribute: 1 to 64 of `a-z 0-9 _ -`, beginning with a letter.
pub fn is_attribute_name(name: &str) -> bool {
    (1..=ATTRIBUTE_NAME_BYTES_MAX).contains(&name.len())
        && name.as_bytes()[0].is_ascii_lowercase()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_accept_the_names_of_all_products() {
        for good in ["email.bounced", "api_key.created", "Newsletter Opened", "Complaints", "a", "x-y.z_1"] {
            assert!(good.parse::<EventType>().is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", " a", "a ", "a. b", "email.*", "é", "a\n", &"x".repeat(129)] {
            assert!(bad.parse::<EventType>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn attributes_are_bounded_in_number_name_and_value() {
        let of = |pairs: &[(&str, &str)]| Attributes(pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect());
        assert_eq!(of(&[("bridge", "b1")]).check(), Ok(()));
        assert!(matches!(of(&[("Bridge", "b1")]).check(), Err(InvalidAttributes::Name(_))));
        assert!(matches!(of(&[("bridge", "")]).check(), Err(InvalidAttributes::Value(_))));
        assert!(matches!(of(&[("bridge", "a\0")]).check(), Err(InvalidAttributes::Value(_))));
        let many = Attributes((0..33).map(|n| (format!("a{n}").into(), "v".into())).collect());
        assert_eq!(many.check(), Err(InvalidAttributes::TooMany(33)));
    }
}
