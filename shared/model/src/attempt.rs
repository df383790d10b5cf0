//! Attempts: one HTTP request of a delivery, and how it ended.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::names;

/// The text that the history contains instead of a secret value in the headers or the response of an attempt.
pub const SECRET_MASK: &str = "***";

/// How an attempt ended. A failure of the endpoint is an outcome that its tenant sees, never an error of Postrider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A status of the profile's success class, even if the rest of the response is missing.
    Success,
    /// The response has another status. Postrider follows no redirects.
    HttpStatus,
    /// The endpoint sent no status line within its timeout.
    Timeout,
    /// No connection: the endpoint refused it, was unreachable, or reset it before the request was written.
    ConnectFailed,
    /// The host name does not resolve.
    DnsFailed,
    /// TLS failed, for example because of an invalid certificate, or because there is no common version.
    TlsFailed,
    /// The address is one to which Postrider does not send.
    AddressBlocked,
    /// The connection broke after the request and before the status line, or the response is not HTTP/1.1.
    ProtocolError,
}

names!(Outcome {
    Success => "success", HttpStatus => "http_status", Timeout => "timeout", ConnectFailed => "connect_failed",
    DnsFailed => "dns_failed", TlsFailed => "tls_failed", AddressBlocked => "address_blocked", ProtocolError => "protocol_error",
});

/// What the status code of an attempt means for its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusVerdict {
    /// The delivery succeeded.
    Success,
    /// The delivery is attempted again according to its retry schedule.
    Retry,
    /// The delivery failed, and no attempt follows.
    Fail,
    /// The delivery failed, and its endpoint is disabled.
    Disable,
}

/// A profile's classes of status codes. A code that is in no class is retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusClasses {
    /// Codes of success.
    pub success: Vec<RangeInclusive<u16>>,
    /// Codes after which no retry follows.
    pub not_retried: Vec<RangeInclusive<u16>>,
    /// Codes that are retried although a range of `not_retried` contains them.
    pub retried_anyway: Vec<RangeInclusive<u16>>,
    /// Codes that disable the endpoint.
    pub disables: Vec<RangeInclusive<u16>>,
}

impl StatusClasses {
    /// The verdict on one status code.
    pub fn verdict(&self, code: u16) -> StatusVerdict {
        let in_any = |ranges: &[RangeInclusive<u16>]| ranges.iter().any(|range| range.contains(&code));
        if in_any(&self.success) {
            StatusVerdict::Success
        } else if in_any(&self.disables) {
            StatusVerdict::Disable
        } else if in_any(&self.not_retried) && !in_any(&self.retried_anyway) {
            StatusVerdict::Fail
        } else {
            StatusVerdict::Retry
        }
    }
}

/// The result of one attempt. [`crate::retry_schedule::next_step`] decides from it what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptResult {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The status code, if there was a response.
    pub status_code: Option<u16>,
    /// The delay that the endpoint requested by `Retry-After`, counted from the end of the attempt.
    pub retry_after: Option<Duration>,
}
