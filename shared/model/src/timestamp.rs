//! A point in time as people read it.

use std::fmt;
use std::str::FromStr;

use crate::text::serialize_as_text;
use crate::time::{InvalidTimestamp, UnixMillis};

/// A point in time that serialises as RFC 3339 in UTC with milliseconds: `2026-01-02T03:04:05.006Z`.
///
/// For the API and the dashboard; everything else uses [`UnixMillis`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub UnixMillis);

impl From<UnixMillis> for Timestamp {
    fn from(at: UnixMillis) -> Self {
        Self(at)
    }
}

impl From<Timestamp> for UnixMillis {
    fn from(at: Timestamp) -> Self {
        at.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

serialize_as_text!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_serialises_as_rfc3339_with_milliseconds() {
        let at = Timestamp(UnixMillis(1_703_123_456_000));
        let json = serde_json::to_string(&at).unwrap();
        assert_eq!(json, "\"2023-12-21T01:50:56.000Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), at);
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
    }
}
