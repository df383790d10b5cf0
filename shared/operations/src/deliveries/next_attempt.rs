//! Determines why the next attempt of a delivery is due at its time: because of the schedule or of `Retry-After`.

use std::time::{Duration, SystemTime};

use postrider_egress::retry_after;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::AttemptRecord;
use serde::Serialize;
use utoipa::ToSchema;

/// `Retry-After` is the reason if the wait that it requests differs from the planned wait by at most this duration. `Retry-After`
/// has whole seconds.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Why an attempt is due at a certain time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NextAttemptReason {
    /// The retry schedule.
    Schedule,
    /// The response's `Retry-After`, which requested a longer wait than the schedule.
    RetryAfter,
}

impl NextAttemptReason {
    /// Returns why the attempt after this one is due at its time; `None` if no attempt follows. Only responses with 429 or 503
    /// can request a wait.
    pub(super) fn of(attempt: &AttemptRecord, next_attempt_at: Option<UnixMillis>) -> Option<Self> {
        let ended = attempt.started_at.plus(Duration::from_micros(attempt.duration_us));
        let planned = Duration::from_millis(u64::try_from(next_attempt_at?.0 - ended.0).unwrap_or_default());
        let headers =
            if matches!(attempt.status_code, Some(429 | 503)) { attempt.response_headers.pairs() } else { Vec::new() };
        let value = headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ended.0).unwrap_or_default());
        let requested = value.and_then(|(_, value)| retry_after(&value, now)).filter(|wait| !wait.is_zero());
        let is_requested = requested.is_some_and(|wait| wait.abs_diff(planned) <= TOLERANCE);
        Some(if is_requested { Self::RetryAfter } else { Self::Schedule })
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::attempt::Outcome;
    use postrider_model::delivery::Trigger;
    use postrider_model::ids::SendId;
    use postrider_wire::headers::HeaderList;

    use super::*;

    fn check(code: u16, header: Option<&str>, planned_ms: Option<i64>, expected: Option<NextAttemptReason>) {
        let started_at = UnixMillis(784_111_767_000);
        let attempt = AttemptRecord {
            number: 1,
            send_id: SendId::generate(),
            trigger: Trigger::First,
            started_at,
            duration_us: 500_000,
            first_byte_us: None,
            held_ms: 0,
            held_reason: None,
            late_ms: None,
            url: "https://example.com/".into(),
            status_code: Some(code),
            outcome: Outcome::HttpStatus,
            error: None,
            request_headers: HeaderList::default(),
            response_headers: HeaderList::of(header.map(|value| ("Retry-After", value.into()))),
            batch: None,
        };
        let planned = planned_ms.map(|ms| UnixMillis(started_at.0 + 500 + ms));
        assert_eq!(NextAttemptReason::of(&attempt, planned), expected, "{code} {header:?} {planned_ms:?}");
    }

    #[test]
    fn retry_after_is_the_reason_when_the_wait_is_the_requested_one() {
        use NextAttemptReason::{RetryAfter, Schedule};
        check(503, Some("120"), Some(120_000), Some(RetryAfter));
        check(429, Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some(9_500), Some(RetryAfter));
        check(503, Some("120"), Some(300_000), Some(Schedule));
        check(500, Some("120"), Some(120_000), Some(Schedule));
        check(503, Some("0"), Some(500), Some(Schedule));
        check(503, None, Some(120_000), Some(Schedule));
        check(503, Some("120"), None, None);
    }
}
