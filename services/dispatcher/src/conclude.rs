//! What follows an attempt, or a delivery's end without one: the report, and the next attempt. Pure.

use std::time::Duration;

use postrider_model::attempt::{AttemptResult, Outcome, StatusVerdict};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, Trigger};
use postrider_model::retry::{RetryPolicy, Step, next_step};
use postrider_model::time::UnixMillis;
use postrider_telemetry::trace_context::TraceContext;
use postrider_wire::messages::{AttemptRecord, DeliveryTask, OutcomeReport};

use crate::pace::Seen;

/// What is to be published before the delivery is settled.
#[derive(Debug)]
pub(crate) struct Conclusion {
    /// Where the delivery stands.
    pub(crate) report: OutcomeReport,
    /// The next attempt, and how long after the end of this one.
    pub(crate) next: Option<(DeliveryTask, Duration)>,
}

impl Conclusion {
    /// Names the attempt's span, when it has one, to those who link to it: the recorder and, after a first attempt,
    /// every later one.
    pub(crate) fn traced(mut self, attempt: Option<TraceContext>) -> Self {
        if let Some(attempt) = attempt {
            let traceparent = Some(attempt.to_string());
            if let Some((next, _)) = &mut self.next
                && next.number == 2
            {
                next.traceparent.clone_from(&traceparent);
            }
            self.report.traceparent = traceparent;
        }
        self
    }
}

/// The outcome by the profile's classes: a client that knows no profile calls every 2xx a success.
pub(crate) fn outcome(sent: Outcome, status_code: Option<u16>, policy: &RetryPolicy<'_>) -> Outcome {
    match (sent, status_code) {
        (Outcome::Success | Outcome::HttpStatus, Some(code)) => match policy.statuses.verdict(code) {
            StatusVerdict::Success => Outcome::Success,
            _ => Outcome::HttpStatus,
        },
        _ => sent,
    }
}

/// What a POST said about its endpoint's health.
pub(crate) fn seen(outcome: Outcome, status_code: Option<u16>) -> Seen {
    match (outcome, status_code) {
        (Outcome::Success, _) => Seen::Answered,
        (Outcome::HttpStatus, Some(429 | 500..)) => Seen::Unwell,
        (Outcome::HttpStatus, _) => Seen::Answered,
        (Outcome::Timeout, _) => Seen::TimedOut,
        (
            Outcome::ConnectFailed
            | Outcome::DnsFailed
            | Outcome::TlsFailed
            | Outcome::AddressBlocked
            | Outcome::ProtocolError,
            _,
        ) => Seen::Unreachable,
    }
}

/// How long an answer asks to be left alone by every delivery of the endpoint: 429 with `Retry-After`, up to the policy's limit.
pub(crate) fn asked_for_a_pause(
    status_code: Option<u16>,
    retry_after: Option<Duration>,
    policy: &RetryPolicy<'_>,
) -> Option<Duration> {
    retry_after.filter(|_| status_code == Some(429)).map(|wait| wait.min(policy.retry_after_max))
}

/// What follows `attempt`, which ended at `ended_at`. `draw` in `0.0..1.0` places the delay within the jitter.
pub(crate) fn after_attempt(
    task: DeliveryTask,
    attempt: AttemptRecord,
    retry_after: Option<Duration>,
    policy: &RetryPolicy<'_>,
    ended_at: UnixMillis,
    draw: f64,
) -> Conclusion {
    let result = AttemptResult { outcome: attempt.outcome, status_code: attempt.status_code, retry_after };
    let (status, delay, disable) = match next_step(scheduled(&task), &result, policy, draw) {
        Step::Delivered => (DeliveryStatus::Delivered, None, false),
        // A test is one attempt, and has no consequence for its endpoint.
        Step::Failed { .. } | Step::RetryAfter(_) if task.trigger == Trigger::Test => {
            (DeliveryStatus::Failed, None, false)
        }
        Step::Failed { disable } => (DeliveryStatus::Failed, None, disable),
        Step::RetryAfter(delay) => (DeliveryStatus::Pending, Some(delay), false),
    };
    let next_attempt_at = delay.map(|delay| ended_at.plus(delay));
    let next = delay.zip(task.number.checked_add(1)).map(|(delay, number)| {
        let next = DeliveryTask {
            number,
            trigger: Trigger::Retry,
            due_at: next_attempt_at,
            slot_at: None,
            slot_terms: None,
            held_since: None,
            held_reason: None,
            moves: 0,
            ..task.clone()
        };
        (next, delay)
    });
    let report = OutcomeReport {
        attempt: Some(attempt),
        next_attempt_at,
        disable_endpoint: disable,
        ..without_attempt(task, status, None, ended_at)
    };
    Conclusion { report, next }
}

/// The attempt's number among those of the schedule.
fn scheduled(task: &DeliveryTask) -> u16 {
    task.number.saturating_sub(task.extra).max(1)
}

/// The report of a delivery that ends without another attempt.
pub(crate) fn without_attempt(
    task: DeliveryTask,
    status: DeliveryStatus,
    discard_reason: Option<DiscardReason>,
    at: UnixMillis,
) -> OutcomeReport {
    OutcomeReport {
        delivery: task.delivery,
        epoch: task.epoch,
        attempt: None,
        status,
        at,
        next_attempt_at: None,
        discard_reason,
        disable_endpoint: false,
        expires_at: task.expires_at,
        traceparent: task.traceparent,
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::attempt::StatusClasses;
    use postrider_model::delivery::HeldReason;
    use postrider_model::ids::SendId;
    use postrider_model::retry::RetrySchedule;
    use postrider_wire::headers::HeaderList;

    use super::*;
    use crate::testing;

    fn attempt(number: u16, outcome: Outcome, status_code: Option<u16>) -> AttemptRecord {
        AttemptRecord {
            number,
            send_id: SendId::generate(),
            trigger: Trigger::First,
            started_at: testing::NOW,
            duration_us: 1_000,
            first_byte_us: None,
            held_ms: 0,
            held_reason: None,
            late_ms: None,
            url: "https://example.com/".into(),
            status_code,
            outcome,
            error: None,
            request_headers: HeaderList::default(),
            response_headers: HeaderList::default(),
        }
    }

    fn classes() -> StatusClasses {
        let (success, disables) = (vec![200..=299], vec![410..=410]);
        StatusClasses { success, not_retried: vec![400..=403], retried_anyway: vec![], disables }
    }

    fn conclude(task: DeliveryTask, outcome: Outcome, code: Option<u16>, retry_after: Option<u64>) -> Conclusion {
        let (schedule, statuses) = (RetrySchedule::from_seconds(vec![1, 2]).unwrap(), classes());
        let retry_after_max = Duration::from_secs(30);
        let policy = RetryPolicy { schedule: &schedule, statuses: &statuses, retry_after_max, jitter_max: 0.0 };
        let record = attempt(task.number, outcome, code);
        after_attempt(task, record, retry_after.map(Duration::from_secs), &policy, testing::NOW, 0.0)
    }

    fn check(number: u16, outcome: Outcome, code: Option<u16>, status: DeliveryStatus, delay: Option<u64>) {
        let task = DeliveryTask { number, ..testing::task() };
        let id = task.delivery.id;
        let Conclusion { report, next } = conclude(task, outcome, code, None);
        assert_eq!(report.status, status, "{number} {outcome} {code:?}");
        assert_eq!(report.delivery.id, id);
        assert_eq!(report.next_attempt_at, delay.map(|s| testing::NOW.plus(Duration::from_secs(s))));
        assert_eq!(next.as_ref().map(|(_, delay)| delay.as_secs()), delay);
        assert_eq!(next.map(|(task, _)| task.number), delay.map(|_| number + 1));
    }

    #[test]
    fn each_step_has_its_report_and_its_next_attempt() {
        use DeliveryStatus::{Delivered, Failed, Pending};
        check(1, Outcome::Success, Some(200), Delivered, None);
        check(1, Outcome::HttpStatus, Some(500), Pending, Some(1));
        check(2, Outcome::Timeout, None, Pending, Some(2));
        check(3, Outcome::Timeout, None, Failed, None);
        check(1, Outcome::HttpStatus, Some(401), Failed, None);
        assert!(conclude(testing::task(), Outcome::HttpStatus, Some(410), None).report.disable_endpoint);
    }

    #[test]
    fn a_retry_starts_afresh_but_stays_the_same_delivery() {
        let task = DeliveryTask {
            slot_at: Some(testing::NOW),
            held_since: Some(testing::NOW),
            held_reason: Some(HeldReason::Rate),
            moves: 9,
            epoch: 3,
            ..testing::task()
        };
        let (next, _) = conclude(task.clone(), Outcome::Timeout, None, None).next.unwrap();
        let due_at = Some(testing::NOW.plus(Duration::from_secs(1)));
        let expected = DeliveryTask {
            number: 2,
            trigger: Trigger::Retry,
            due_at,
            slot_at: None,
            slot_terms: None,
            held_since: None,
            held_reason: None,
            moves: 0,
            ..task
        };
        assert_eq!(next, expected);
    }

    #[test]
    fn an_attempt_that_a_person_asked_for_uses_up_no_retry() {
        let seconds = |task: &DeliveryTask| {
            conclude(task.clone(), Outcome::Timeout, None, None)
                .next
                .map(|(next, delay)| (next.number, delay.as_secs()))
        };
        let manual = DeliveryTask { number: 4, extra: 3, trigger: Trigger::Manual, ..testing::task() };
        assert_eq!(seconds(&manual), Some((5, 1)));
        let (retry, _) = conclude(manual, Outcome::Timeout, None, None).next.unwrap();
        assert_eq!((retry.extra, seconds(&retry)), (3, Some((6, 2))));
        let last = conclude(retry, Outcome::Timeout, None, None).next.unwrap().0;
        assert_eq!(seconds(&last), None);
    }

    #[test]
    fn retry_after_counts_from_the_end_of_the_attempt() {
        let conclusion = conclude(testing::task(), Outcome::HttpStatus, Some(503), Some(20));
        assert_eq!(conclusion.report.next_attempt_at, Some(testing::NOW.plus(Duration::from_secs(20))));
    }

    #[test]
    fn every_retry_links_to_the_first_attempt_and_each_report_to_its_own() {
        let trace = || Some(TraceContext::generate());
        let (event, first, second) = (trace(), trace(), trace());
        let text = |context: Option<TraceContext>| context.map(|context| context.to_string());
        let task = DeliveryTask { traceparent: text(event), ..testing::task() };
        let Conclusion { report, next } = conclude(task.clone(), Outcome::Timeout, None, None).traced(first);
        let (retry, _) = next.unwrap();
        assert_eq!((report.traceparent, &retry.traceparent), (text(first), &text(first)));
        let Conclusion { report, next } = conclude(retry, Outcome::Timeout, None, None).traced(second);
        assert_eq!((report.traceparent, next.unwrap().0.traceparent), (text(second), text(first)));
        let untraced = conclude(task, Outcome::Timeout, None, None).traced(None);
        assert_eq!((untraced.report.traceparent, untraced.next.unwrap().0.traceparent), (text(event), text(event)));
    }

    #[test]
    fn a_test_is_one_attempt_and_switches_no_endpoint_off() {
        for code in [500, 410] {
            let task = DeliveryTask { trigger: Trigger::Test, ..testing::task() };
            let conclusion = conclude(task, Outcome::HttpStatus, Some(code), None);
            assert_eq!(conclusion.report.status, DeliveryStatus::Failed);
            assert!(conclusion.next.is_none() && !conclusion.report.disable_endpoint, "{code}");
        }
    }

    #[test]
    fn success_is_what_the_profile_says() {
        let (schedule, mut statuses) = (RetrySchedule::default(), classes());
        statuses.success = vec![200..=200];
        let retry_after_max = Duration::ZERO;
        let policy = RetryPolicy { schedule: &schedule, statuses: &statuses, retry_after_max, jitter_max: 0.0 };
        assert_eq!(outcome(Outcome::Success, Some(202), &policy), Outcome::HttpStatus);
        assert_eq!(outcome(Outcome::Success, Some(200), &policy), Outcome::Success);
        assert_eq!(outcome(Outcome::Timeout, Some(200), &policy), Outcome::Timeout);
    }

    #[test]
    fn only_429_with_retry_after_asks_for_a_pause() {
        let (schedule, statuses) = (RetrySchedule::default(), classes());
        let retry_after_max = Duration::from_secs(30);
        let policy = RetryPolicy { schedule: &schedule, statuses: &statuses, retry_after_max, jitter_max: 0.0 };
        let asked =
            |code, seconds: Option<u64>| asked_for_a_pause(Some(code), seconds.map(Duration::from_secs), &policy);
        assert_eq!(asked(429, Some(7)), Some(Duration::from_secs(7)));
        assert_eq!(asked(429, Some(3_600)), Some(retry_after_max));
        assert_eq!(asked(429, None), None);
        assert_eq!(asked(503, Some(7)), None);
    }

    #[test]
    fn what_an_outcome_says_about_the_endpoint() {
        for (outcome, code, expected) in [
            (Outcome::Success, Some(200), Seen::Answered),
            (Outcome::HttpStatus, Some(302), Seen::Answered),
            (Outcome::HttpStatus, Some(404), Seen::Answered),
            (Outcome::HttpStatus, Some(429), Seen::Unwell),
            (Outcome::HttpStatus, Some(503), Seen::Unwell),
            (Outcome::Timeout, Some(200), Seen::TimedOut),
            (Outcome::TlsFailed, None, Seen::Unreachable),
        ] {
            assert_eq!(seen(outcome, code), expected, "{outcome} {code:?}");
        }
    }
}
