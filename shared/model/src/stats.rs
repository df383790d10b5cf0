//! The intervals of stats.

use serde::{Deserialize, Serialize};

/// The length of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum IntervalLength {
    /// A minute.
    Minute,
    /// An hour.
    #[default]
    Hour,
    /// A day, UTC.
    Day,
}

impl IntervalLength {
    /// The length in milliseconds.
    pub fn millis(self) -> i64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }
}
