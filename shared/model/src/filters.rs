//! Filters of lists: conditions of a database query, read from request parameters with the same names.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::attempt::Outcome;
use crate::delivery::DeliveryStatus;
use crate::delivery_phase::DeliveryPhase;
use crate::ids::{EndpointId, EventId, ReplayId};
use crate::payload_filter::PayloadSearch;
use crate::subscription::TypePattern;
use crate::text::names;
use crate::time::UnixMillis;

/// A filter of deliveries. `None` does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct DeliveryFilter {
    /// Only deliveries to this endpoint.
    #[serde(rename = "endpoint_id", deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6"))]
    pub endpoint: Option<EndpointId>,
    /// Only deliveries of this event.
    #[serde(rename = "event_id", deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(example = "evt_0197e7a1b2c37d4e8f90a1b2c3d4e5f6"))]
    pub event: Option<EventId>,
    /// Only deliveries with this status.
    #[serde(deserialize_with = "parsed")]
    pub status: Option<DeliveryStatus>,
    /// Only pending deliveries in this phase.
    #[serde(deserialize_with = "parsed")]
    pub phase: Option<DeliveryPhase>,
    /// Endpoints with an open breaker or a rate, by which the phases `held` and `waiting` are distinguished. Not a request
    /// parameter.
    #[serde(skip)]
    #[cfg_attr(feature = "openapi", param(ignore))]
    pub holding: Vec<EndpointId>,
    /// Only deliveries whose last attempt got this status code: a code from 100 to 599, or a class of codes, such as `5xx`.
    #[serde(deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(value_type = Option<String>, pattern = "^[1-5]([0-9][0-9]|xx)$", example = "5xx"))]
    pub status_code: Option<StatusCodes>,
    /// Only deliveries whose last attempt ended in this way.
    #[serde(deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(example = "timeout"))]
    pub outcome: Option<Outcome>,
    /// Only deliveries of events of this type, or of types that match a pattern such as `email.*`.
    #[serde(rename = "type", deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(value_type = Option<String>, example = "email.bounced"))]
    pub event_type: Option<TypePattern>,
    /// Only deliveries that this replay created.
    #[serde(rename = "replay_id", deserialize_with = "parsed")]
    pub replay: Option<ReplayId>,
    /// `true`: only deliveries with at least one failed attempt. `false`: only deliveries without one.
    #[serde(deserialize_with = "parsed")]
    pub failed_attempts: Option<bool>,
    /// Only deliveries created at or after this time.
    #[serde(deserialize_with = "time")]
    #[cfg_attr(feature = "openapi", param(value_type = Option<String>, format = DateTime, example = "2026-01-02T00:00:00Z"))]
    pub from: Option<UnixMillis>,
    /// Only deliveries created before this time.
    #[serde(deserialize_with = "time")]
    #[cfg_attr(feature = "openapi", param(value_type = Option<String>, format = DateTime, example = "2026-01-03T00:00:00Z"))]
    pub to: Option<UnixMillis>,
    /// `true`: only deliveries of test calls. `false`: no deliveries of test calls.
    #[serde(deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(example = false))]
    pub test: Option<bool>,
    /// The order of the list; `newest` by default.
    #[serde(deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(example = "newest"))]
    pub order: Option<ListOrder>,
}

impl DeliveryFilter {
    /// Whether the filter has a condition that no index serves, so that a list reads rows one by one.
    pub fn is_search(&self) -> bool {
        // Names every field, so that the compiler requires a decision here for a new field.
        let Self {
            status,
            phase,
            status_code,
            outcome,
            event_type,
            failed_attempts,
            test,
            holding: _,
            endpoint: _,
            event: _,
            replay: _,
            from: _,
            to: _,
            order: _,
        } = self;
        status.is_some()
            || phase.is_some()
            || status_code.is_some()
            || outcome.is_some()
            || failed_attempts.is_some()
            || test.is_some()
            || event_type.as_ref().is_some_and(|pattern| *pattern != TypePattern::All)
    }
}

/// A filter of events. A field that is `None` or empty does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct EventFilter {
    /// Only events of this type, or of types that match a pattern such as `email.*`.
    #[serde(rename = "type", deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(value_type = Option<String>, example = "email.bounced"))]
    pub event_type: Option<TypePattern>,
    /// Only events accepted at or after this time.
    #[serde(deserialize_with = "time")]
    #[cfg_attr(feature = "openapi", param(value_type = Option<String>, format = DateTime, example = "2026-01-02T00:00:00Z"))]
    pub from: Option<UnixMillis>,
    /// Only events accepted before this time.
    #[serde(deserialize_with = "time")]
    #[cfg_attr(feature = "openapi", param(value_type = Option<String>, format = DateTime, example = "2026-01-03T00:00:00Z"))]
    pub to: Option<UnixMillis>,
    /// Only events with these attribute values. A request has a parameter `attributes.<name>` for each.
    #[serde(skip)]
    #[cfg_attr(feature = "openapi", param(ignore))]
    pub attributes: BTreeMap<String, String>,
    /// Only events with this value in a field of the payload, such as `data.email=jo@example.com`. The field is written as in a
    /// payload filter; `data.` may be left out; `*` is every field of `data`. A value that ends with `*` is the beginning of a text.
    /// Requires a tenant. A page of such a search examines at most 10,000 events and 32 MiB of payloads.
    #[serde(deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(value_type = Option<String>, example = "data.email=jo@example.com"))]
    pub payload: Option<PayloadSearch>,
    /// The order of the list; `newest` by default.
    #[serde(deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(example = "newest"))]
    pub order: Option<ListOrder>,
}

impl EventFilter {
    /// Whether the filter has a condition that no index serves, so that a list reads rows one by one.
    pub fn is_search(&self) -> bool {
        let Self { event_type, attributes, payload, from: _, to: _, order: _ } = self;
        payload.is_some()
            || !attributes.is_empty()
            || event_type.as_ref().is_some_and(|pattern| *pattern != TypePattern::All)
    }
}

/// The order of a list by the time of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "snake_case"))]
pub enum ListOrder {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}

names!(ListOrder { Newest => "newest", Oldest => "oldest" });

/// Status codes of responses: one code, or a class of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusCodes {
    /// This code, 100 to 599.
    Exact(u16),
    /// The codes with this first digit, 1 to 5.
    Class(u16),
}

/// An error: the text is not a status code or a class of codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a status code from 100 to 599 or a class such as 5xx, got {0:?}")]
pub struct InvalidStatusCodes(String);

impl StatusCodes {
    /// The first and the last of the codes.
    pub fn range(self) -> (u16, u16) {
        match self {
            Self::Exact(code) => (code, code),
            Self::Class(digit) => (digit * 100, digit * 100 + 99),
        }
    }
}

impl FromStr for StatusCodes {
    type Err = InvalidStatusCodes;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let codes = match text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            Some(digit) => digit.parse().ok().filter(|digit| (1..=5).contains(digit)).map(Self::Class),
            None => text.parse().ok().filter(|code| (100..=599).contains(code)).map(Self::Exact),
        };
        codes.filter(|_| text.len() == 3).ok_or_else(|| InvalidStatusCodes(text.chars().take(80).collect()))
    }
}

impl fmt::Display for StatusCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(code) => write!(f, "{code}"),
            Self::Class(digit) => write!(f, "{digit}xx"),
        }
    }
}

/// Reads a parameter with the `FromStr` of its type.
///
/// # Errors
/// The error of `FromStr`.
pub fn parsed<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

/// Reads an RFC 3339 time. A `+` in the offset arrives as a space if it was not written as `%2B`, so the space counts as `+`.
///
/// # Errors
/// The text is not an RFC 3339 time.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UnixMillis>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let offset = text.len().checked_sub("+00:00".len()).and_then(|at| text.split_at_checked(at));
    let read = match offset {
        Some((time, offset)) if offset.starts_with(' ') => format!("{time}+{}", offset.trim_start()).parse(),
        _ => text.parse(),
    };
    read.map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_are_a_code_or_a_class() {
        let check = |text: &str, expected: Option<(u16, u16)>| {
            let read = text.parse::<StatusCodes>();
            assert_eq!(read.as_ref().ok().map(|codes| codes.range()), expected, "{text}");
            if let Ok(codes) = read {
                assert_eq!(codes.to_string(), text.to_lowercase());
            }
        };
        check("404", Some((404, 404)));
        check("100", Some((100, 100)));
        check("5xx", Some((500, 599)));
        check("2XX", Some((200, 299)));
        for bad in ["", "99", "600", "0xx", "6xx", "xx", "5x", "+50", "+5xx", "05xx", "5xxx", "404 ", "5Xx"] {
            check(bad, None);
        }
    }
}
