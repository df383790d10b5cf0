//! Attempts: one HTTP request of a delivery, and how it ended.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How an attempt ended. An endpoint's failure is an outcome that its tenant sees, never an error of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A status of the profile's success class, whatever came after its line.
    Success,
    /// A status outside it, redirects included (they are never followed).
    HttpStatus,
    /// No status line within the endpoint's timeout.
    Timeout,
    /// No connection: refused, unreachable, reset before the request was written.
    ConnectFailed,
    /// The host name does not resolve.
    DnsFailed,
    /// TLS failed: an invalid certificate, no common version.
    TlsFailed,
    /// The address is one that Postrider does not send to.
    AddressBlocked,
    /// The connection broke after the request was sent and before the answer's status line, or the answer is not HTTP/1.1.
    ProtocolError,
}

impl Outcome {
    /// The name on the wire and in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::HttpStatus => "http_status",
            Self::Timeout => "timeout",
            Self::ConnectFailed => "connect_failed",
            Self::DnsFailed => "dns_failed",
            Self::TlsFailed => "tls_failed",
            Self::AddressBlocked => "address_blocked",
            Self::ProtocolError => "protocol_error",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a profile says about a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusVerdict {
    /// The delivery is done.
    Success,
    /// Try again by the schedule.
    Retry,
    /// Do not try again.
    Fail,
    /// Do not try again, and switch the endpoint off.
    Disable,
}

/// Which status codes end a delivery and which are tried again. All ranges are inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusClasses {
    /// Codes of success.
    pub success: Vec<RangeInclusive<u16>>,
    /// Codes after which no retry follows.
    pub not_retried: Vec<RangeInclusive<u16>>,
    /// Codes that are retried although `not_retried` names them.
    pub retried_anyway: Vec<RangeInclusive<u16>>,
    /// Codes that switch the endpoint off.
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

/// What one attempt came to: what [`crate::retry::next_step`] decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptResult {
    /// How it ended.
    pub outcome: Outcome,
    /// The status code, when there was an answer.
    pub status_code: Option<u16>,
    /// How long the endpoint asked us to wait (`Retry-After`, already turned into a duration from the end of the attempt).
    pub retry_after: Option<Duration>,
}
