//! Times in the formats of HTTP and the API.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postrider_model::time::UnixMillis;
use serde_json::Value;

/// The time in the format of `Retry-After` (RFC 9110, section 5.6.7), in whole seconds.
pub(crate) fn http_date(at: SystemTime) -> String {
    let [year, month, day, hour, minute, second] = civil(at);
    let days = seconds(at) / 86_400;
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(days % 7).unwrap()];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[usize::try_from(month - 1).unwrap()];
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

/// The time rounded down to a second.
pub(crate) fn whole_second(at: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds(at))
}

/// A timestamp of the API.
pub(crate) fn parse(value: &Value) -> SystemTime {
    let text = value.as_str().unwrap_or_else(|| panic!("expected a timestamp, got {value}"));
    let at: UnixMillis = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap())
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Year, month, day, hour, minute, second in UTC.
fn civil(at: SystemTime) -> [u64; 6] {
    let text = UnixMillis(i64::try_from(seconds(at) * 1000).unwrap()).to_rfc3339_seconds();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    std::array::from_fn(|_| numbers.next().unwrap())
}

#[test]
fn dates_match_the_specification() {
    let at = UNIX_EPOCH + Duration::from_millis(784_111_777_999);
    assert_eq!(http_date(at), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(whole_second(at), UNIX_EPOCH + Duration::from_secs(784_111_777));
}
