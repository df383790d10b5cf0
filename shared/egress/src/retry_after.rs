//! Parses `Retry-After` (RFC 9110 section 10.2.3): seconds, or an HTTP date in any of its three formats.

use std::time::{Duration, SystemTime};

use postrider_model::limits::RETRY_DELAY_MAX;

/// Returns the delay from `now`, the end of the attempt: at most [`RETRY_DELAY_MAX`], and zero for a date in the past. Returns
/// `None` for an invalid value, which is ignored.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit into 64 bits counts as the maximum delay.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let at = httpdate::parse_http_date(value).ok()?;
        at.duration_since(now).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(RETRY_DELAY_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<u64>) {
        // This is 1994-11-06 08:49:27 UTC, ten seconds before RFC 9110's example date.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_767);
        assert_eq!(retry_after(value, now), expected.map(Duration::from_secs), "{value:?}");
    }

    #[test]
    fn both_forms_are_read() {
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(10));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(10));
        check("Sun Nov  6 08:49:37 1994", Some(10));
        check("Sun, 06 Nov 1994 08:49:07 GMT", Some(0));
        check("Sat, 06 Nov 2094 08:49:37 GMT", Some(86_400));
        check("86401", Some(86_400));
        check("99999999999999999999999999", Some(86_400));
    }

    #[test]
    fn other_forms_are_ignored() {
        for value in ["", "soon", "-1", "1.5", "10s", "0x10", "1994-11-06T08:49:37Z"] {
            check(value, None);
        }
    }
}
