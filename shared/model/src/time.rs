//! Points in time.
//!
//! Messages and rows contain milliseconds since the Unix epoch, UTC; people see RFC 3339.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod rfc3339;

/// A point in time: milliseconds since the Unix epoch, UTC. Serialises as that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The time of the wall clock. The rules of this crate do not call this function; their callers pass the time as an
    /// argument.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// The point in time that is `by` later. A result out of range becomes the maximum.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The point in time that is `by` earlier. A result out of range becomes the minimum.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time from `self` to `later`; zero if `later` is before `self`.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// Whole seconds since the Unix epoch.
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The UTC day of this point, by which the history is partitioned.
    pub fn day(self) -> Day {
        Day(i32::try_from(self.0.div_euclid(86_400_000)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with exactly three fractional digits: `2026-01-02T03:04:05.006Z`.
    pub fn to_rfc3339_millis(self) -> String {
        format!("{}.{:03}Z", self.to_civil(), self.0.rem_euclid(1_000))
    }

    /// RFC 3339 in UTC without a fraction: `2026-01-02T03:04:05Z`.
    pub fn to_rfc3339_seconds(self) -> String {
        format!("{}Z", self.to_civil())
    }

    /// Date and time in UTC without a fraction. [`jiff::Timestamp`] is not used here, because it ends a day before the end of
    /// 9999.
    fn to_civil(self) -> String {
        let of_day = self.as_seconds().rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        format!("{}T{hour:02}:{minute:02}:{second:02}", self.day())
    }

    /// The same point as a [`jiff::Timestamp`]; the epoch if it is out of that type's range.
    pub fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or_default()
    }
}

impl From<jiff::Timestamp> for UnixMillis {
    fn from(at: jiff::Timestamp) -> Self {
        Self(at.as_millisecond())
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339_millis())
    }
}

/// An error: the text is not an RFC 3339 timestamp of the years 0000 to 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an RFC 3339 timestamp such as 2026-01-02T03:04:05.006Z or 2026-01-02T03:04:05+02:00, in the years 0000 to 9999"
)]
pub struct InvalidTimestamp;

impl FromStr for UnixMillis {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        rfc3339::read(text.as_bytes()).ok_or(InvalidTimestamp)
    }
}

/// A UTC day, counted from 1970-01-01. Messages contain the day, so that a row's partition does not depend on the time of
/// writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i32);

impl Day {
    /// The calendar date; 1970-01-01 for a day out of range.
    pub fn date(self) -> jiff::civil::Date {
        let epoch = jiff::civil::date(1970, 1, 1);
        epoch.checked_add(jiff::Span::new().try_days(i64::from(self.0)).unwrap_or_default()).unwrap_or(epoch)
    }

    /// The day that is `days` later, or earlier if `days` is negative.
    #[must_use]
    pub fn plus_days(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// The first instant of the day.
    pub fn start(self) -> UnixMillis {
        UnixMillis(i64::from(self.0) * 86_400_000)
    }

    /// The day of a calendar date.
    pub fn of(date: jiff::civil::Date) -> Self {
        let days = date.since(jiff::civil::date(1970, 1, 1)).map(|span| span.get_days()).unwrap_or(0);
        Self(days)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.date().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_and_its_date_agree() {
        let at: UnixMillis = "2026-03-01T23:59:59.999Z".parse().unwrap();
        assert_eq!(at.day().to_string(), "2026-03-01");
        assert_eq!(at.plus(Duration::from_millis(1)).day().to_string(), "2026-03-02");
        assert_eq!(Day::of(at.day().date()), at.day());
        assert_eq!(UnixMillis(-1).day().to_string(), "1969-12-31");
    }

    #[test]
    fn rfc3339_has_exactly_the_digits_its_name_says() {
        assert_eq!(UnixMillis(1_703_123_456_000).to_rfc3339_millis(), "2023-12-21T01:50:56.000Z");
        assert_eq!(UnixMillis(1_703_123_456_789).to_rfc3339_seconds(), "2023-12-21T01:50:56Z");
    }
}
