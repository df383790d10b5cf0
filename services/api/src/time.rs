//! Times as people see them.

use postrider_model::time::UnixMillis;

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn shown(at: UnixMillis) -> String {
    at.to_rfc3339_millis()
}

/// The same for a time that may be missing.
pub(crate) fn shown_if(at: Option<UnixMillis>) -> Option<String> {
    at.map(shown)
}

/// Microseconds as milliseconds with three digits.
pub(crate) fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}
