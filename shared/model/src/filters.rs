//! Filters of lists: conditions of a database query, read from the parameters of a request with the same names.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::delivery::DeliveryStatus;
use crate::ids::{EndpointId, EventId, ReplayId};
use crate::subscription::TypePattern;
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
    /// Only deliveries whose last attempt got this status code.
    #[serde(deserialize_with = "status_code")]
    #[cfg_attr(feature = "openapi", param(minimum = 100, maximum = 599, example = 503))]
    pub status_code: Option<u16>,
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
}

/// A filter of events. `None` or empty does not filter.
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

/// Reads an RFC 3339 time. A `+` in its offset that was not written as `%2B` arrives as a space, which counts as `+`.
///
/// # Errors
/// The text is not such a time.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UnixMillis>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let offset = text.len().checked_sub("+00:00".len()).and_then(|at| text.split_at_checked(at));
    let read = match offset {
        Some((time, offset)) if offset.starts_with(' ') => format!("{time}+{}", offset.trim_start()).parse(),
        _ => text.parse(),
    };
    read.map(Some).map_err(D::Error::custom)
}

/// Reads a status code.
///
/// # Errors
/// The text is not a number from 100 to 599.
pub fn status_code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.parse::<u16>() {
        Ok(code) if (100..=599).contains(&code) => Ok(Some(code)),
        _ => {
            let got: String = text.chars().take(80).collect();
            Err(D::Error::custom(format!("expected a status code from 100 to 599, got {got:?}")))
        }
    }
}
