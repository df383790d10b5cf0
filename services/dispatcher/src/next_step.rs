//! Decides what follows an attempt, or the end of a delivery without an attempt: the report, and the retry. Does no IO.

use std::time::Duration;

use postrider_model::attempt::{AttemptResult, Outcome, StatusVerdict};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, Trigger};
use postrider_model::retry_schedule::{RetryPolicy, Step, next_step};
use postrider_model::time::UnixMillis;
use postrider_telemetry::trace_context::TraceContext;
use postrider_wire::messages::{AttemptRecord, DeliveryTask, OutcomeReport, SetAside};

use crate::pace::Observation;

/// The messages to publish before the delivery is acknowledged.
#[derive(Debug)]
pub(crate) struct NextStep {
    pub(crate) report: OutcomeReport,
    /// The next attempt, and its delay from the end of the attempt before it.
    pub(crate) retry: Option<(DeliveryTask, Duration)>,
}

impl NextStep {
    /// Adds the attempt's span, if there is one, to the report. The span of the first attempt is also added to the retry, so
    /// that every later attempt links to the first attempt.
    pub(crate) fn traced(mut self, attempt: Option<TraceContext>) -> Self {
        if let Some(attempt) = attempt {
            let traceparent = Some(attempt.to_string());
            if let Some((retry, _)) = &mut self.retry
                && retry.number == 2
            {
                retry.traceparent.clone_from(&traceparent);
            }
            self.report.traceparent = traceparent;
        }
        self
    }
}

/// Returns the outcome by the status classes of the profile. The HTTP client does not use profiles and reports success for
/// every 2xx.
pub(crate) fn classify(sent: Outcome, status_code: Option<u16>, policy: &RetryPolicy<'_>) -> Outcome {
    match (sent, status_code) {
        (Outcome::Success | Outcome::HttpStatus, Some(code)) => match policy.statuses.verdict(code) {
            StatusVerdict::Success => Outcome::Success,
            _ => Outcome::HttpStatus,
        },
        _ => sent,
    }
}

/// Returns what the result of a POST indicates about the health of its endpoint.
pub(crate) fn observation(outcome: Outcome, status_code: Option<u16>) -> Observation {
    match (outcome, status_code) {
        (Outcome::Success, _) => Observation::Answered,
        (Outcome::HttpStatus, Some(429 | 500..)) => Observation::ErrorStatus,
        (Outcome::HttpStatus, _) => Observation::Answered,
        (Outcome::Timeout, _) => Observation::TimedOut,
        (
            Outcome::ConnectFailed
            | Outcome::DnsFailed
            | Outcome::TlsFailed
            | Outcome::AddressBlocked
            | Outcome::ProtocolError,
            _,
        ) => Observation::Unreachable,
    }
}

/// Returns the pause for all deliveries to the endpoint, as a 429 with `Retry-After` requests it, limited to the policy's
/// maximum.
pub(crate) fn requested_pause(
    status_code: Option<u16>,
    retry_after: Option<Duration>,
    policy: &RetryPolicy<'_>,
) -> Option<Duration> {
    retry_after.filter(|_| status_code == Some(429)).map(|wait| wait.min(policy.retry_after_max))
}

/// Returns what follows `attempt`, which ended at `ended_at`. `draw` (in `0.0..1.0`) selects the delay within the range of the
/// jitter.
pub(crate) fn after_attempt(
    task: DeliveryTask,
    attempt: AttemptRecord,
    retry_after: Option<Duration>,
    policy: &RetryPolicy<'_>,
    ended_at: UnixMillis,
    draw: f64,
) -> NextStep {
    let result = AttemptResult { outcome: attempt.outcome, status_code: attempt.status_code, retry_after };
    let (status, delay, disable) = match next_step(scheduled_number(&task), &result, policy, draw) {
        Step::Delivered => (DeliveryStatus::Delivered, None, false),
        // A test has only one attempt and never disables its endpoint.
        Step::Failed { .. } | Step::RetryAfter(_) if task.trigger == Trigger::Test => {
            (DeliveryStatus::Failed, None, false)
        }
        Step::Failed { disable } => (DeliveryStatus::Failed, None, disable),
        // A retry that is due after the expiry would only be discarded then.
        Step::RetryAfter(delay) if ended_at.plus(delay) >= task.expires_at => (DeliveryStatus::Discarded, None, false),
        Step::RetryAfter(delay) => (DeliveryStatus::Pending, Some(delay), false),
    };
    let discard_reason = (status == DeliveryStatus::Discarded).then_some(DiscardReason::Expired);
    let next_attempt_at = delay.map(|delay| ended_at.plus(delay));
    let retry = delay.and_then(|delay| Some((next_try(&task, ended_at.plus(delay))?, delay)));
    let report = OutcomeReport {
        attempt: Some(attempt),
        next_attempt_at,
        disable_endpoint: disable,
        ..without_attempt(task, status, discard_reason, ended_at)
    };
    NextStep { report, retry }
}

/// Returns what follows the attempt of a member of a batch that was too large: an attempt in a smaller batch, at once. It uses up
/// no retry.
pub(crate) fn in_smaller_batch(task: DeliveryTask, attempt: AttemptRecord, ended_at: UnixMillis) -> NextStep {
    let retry = next_try(&task, ended_at).map(|retry| {
        let extra = retry.extra.saturating_add(1);
        (DeliveryTask { extra, ..retry }, Duration::ZERO)
    });
    let report = OutcomeReport {
        attempt: Some(attempt),
        next_attempt_at: Some(ended_at),
        ..without_attempt(task, DeliveryStatus::Pending, None, ended_at)
    };
    NextStep { report, retry }
}

/// Returns the task of the attempt that follows at `due_at`. `None` if the attempts cannot be counted any further.
fn next_try(task: &DeliveryTask, due_at: UnixMillis) -> Option<DeliveryTask> {
    Some(DeliveryTask {
        number: task.number.checked_add(1)?,
        trigger: Trigger::Retry,
        due_at: Some(due_at),
        slot_at: None,
        slot_terms: None,
        held_since: None,
        held_reason: None,
        moves: 0,
        ..task.clone()
    })
}

/// Returns the number of the attempt in the retry schedule, which does not count attempts that a person requested.
fn scheduled_number(task: &DeliveryTask) -> u16 {
    task.number.saturating_sub(task.extra).max(1)
}

/// Returns the report of a delivery that ends without another attempt.
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
        set_aside: None,
        discard_reason,
        disable_endpoint: false,
        expires_at: task.expires_at,
        traceparent: task.traceparent,
    }
}

/// Returns the report of a delivery that is set aside because its endpoint is paused. `bytes` is the size of its body.
pub(crate) fn set_aside(task: DeliveryTask, bytes: u32, at: UnixMillis) -> OutcomeReport {
    let set_aside = Some(SetAside { number: task.number, bytes });
    OutcomeReport { next_attempt_at: Some(at), set_aside, ..without_attempt(task, DeliveryStatus::Pending, None, at) }
}

#[cfg(test)]
mod tests {
    use postrider_model::attempt::StatusClasses;
    use postrider_model::delivery::HeldReason;
    use postrider_model::ids::SendId;
    use postrider_model::retry_schedule::RetrySchedule;
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
            batch: None,
        }
    }

    fn classes() -> StatusClasses {
        let (success, disables) = (vec![200..=299], vec![410..=410]);
        StatusClasses { success, not_retried: vec![400..=403], retried_anyway: vec![], disables }
    }

    fn decide(task: DeliveryTask, outcome: Outcome, code: Option<u16>, retry_after: Option<u64>) -> NextStep {
        let (schedule, statuses) = (RetrySchedule::from_seconds(vec![1, 2]).unwrap(), classes());
        let retry_after_max = Duration::from_secs(30);
        let policy = RetryPolicy { schedule: &schedule, statuses: &statuses, retry_after_max, jitter_max: 0.0 };
        let record = attempt(task.number, outcome, code);
        after_attempt(task, record, retry_after.map(Duration::from_secs), &policy, testing::NOW, 0.0)
    }

    fn check(number: u16, outcome: Outcome, code: Option<u16>, status: DeliveryStatus, delay: Option<u64>) {
        let task = DeliveryTask { number, ..testing::task() };
        let id = task.delivery.id;
        let NextStep { report, retry } = decide(task, outcome, code, None);
        assert_eq!(report.status, status, "{number} {outcome} {code:?}");
        assert_eq!(report.delivery.id, id);
        assert_eq!(report.next_attempt_at, delay.map(|s| testing::NOW.plus(Duration::from_secs(s))));
        assert_eq!(retry.as_ref().map(|(_, delay)| delay.as_secs()), delay);
        assert_eq!(retry.map(|(task, _)| task.number), delay.map(|_| number + 1));
    }

    #[test]
    fn each_outcome_has_its_report_and_its_retry() {
        use DeliveryStatus::{Delivered, Failed, Pending};
        check(1, Outcome::Success, Some(200), Delivered, None);
        check(1, Outcome::HttpStatus, Some(500), Pending, Some(1));
        check(2, Outcome::Timeout, None, Pending, Some(2));
        check(3, Outcome::Timeout, None, Failed, None);
        check(1, Outcome::HttpStatus, Some(401), Failed, None);
        assert!(decide(testing::task(), Outcome::HttpStatus, Some(410), None).report.disable_endpoint);
    }

    #[test]
    fn a_retry_that_is_due_at_the_expiry_or_later_ends_the_delivery_as_expired() {
        let decide = |left: u64| {
            let expires_at = testing::NOW.plus(Duration::from_millis(left));
            decide(DeliveryTask { expires_at, ..testing::task() }, Outcome::HttpStatus, Some(500), None)
        };
        let NextStep { report, retry } = decide(1_000);
        assert_eq!((report.status, report.discard_reason), (DeliveryStatus::Discarded, Some(DiscardReason::Expired)));
        assert!(retry.is_none() && report.next_attempt_at.is_none() && report.attempt.is_some());
        let NextStep { report, retry } = decide(1_001);
        assert_eq!((report.status, report.discard_reason), (DeliveryStatus::Pending, None));
        assert!(retry.is_some());
    }

    #[test]
    fn a_retry_drops_the_hold_and_keeps_the_delivery() {
        let task = DeliveryTask {
            slot_at: Some(testing::NOW),
            held_since: Some(testing::NOW),
            held_reason: Some(HeldReason::Rate),
            moves: 9,
            epoch: 3,
            ..testing::task()
        };
        let (retry, _) = decide(task.clone(), Outcome::Timeout, None, None).retry.unwrap();
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
        assert_eq!(retry, expected);
    }

    #[test]
    fn a_manual_attempt_uses_up_no_retry() {
        let seconds = |task: &DeliveryTask| {
            decide(task.clone(), Outcome::Timeout, None, None).retry.map(|(next, delay)| (next.number, delay.as_secs()))
        };
        let manual = DeliveryTask { number: 4, extra: 3, trigger: Trigger::Manual, ..testing::task() };
        assert_eq!(seconds(&manual), Some((5, 1)));
        let (retry, _) = decide(manual, Outcome::Timeout, None, None).retry.unwrap();
        assert_eq!((retry.extra, seconds(&retry)), (3, Some((6, 2))));
        let last = decide(retry, Outcome::Timeout, None, None).retry.unwrap().0;
        assert_eq!(seconds(&last), None);
    }

    #[test]
    fn a_batch_that_was_too_large_is_tried_again_at_once_and_uses_up_no_retry() {
        let task = DeliveryTask { number: 3, ..testing::task() };
        let record = attempt(3, Outcome::HttpStatus, Some(413));
        let NextStep { report, retry } = in_smaller_batch(task, record, testing::NOW);
        assert_eq!((report.status, report.next_attempt_at), (DeliveryStatus::Pending, Some(testing::NOW)));
        let (retry, delay) = retry.unwrap();
        assert_eq!((retry.number, retry.extra, retry.trigger, delay), (4, 1, Trigger::Retry, Duration::ZERO));
        assert_eq!(scheduled_number(&retry), 3);
    }

    #[test]
    fn retry_after_counts_from_the_end_of_the_attempt() {
        let step = decide(testing::task(), Outcome::HttpStatus, Some(503), Some(20));
        assert_eq!(step.report.next_attempt_at, Some(testing::NOW.plus(Duration::from_secs(20))));
    }

    #[test]
    fn every_retry_links_to_the_first_attempt_and_its_report_to_itself() {
        let trace = || Some(TraceContext::generate());
        let (event, first, second) = (trace(), trace(), trace());
        let text = |context: Option<TraceContext>| context.map(|context| context.to_string());
        let task = DeliveryTask { traceparent: text(event), ..testing::task() };
        let NextStep { report, retry } = decide(task.clone(), Outcome::Timeout, None, None).traced(first);
        let (retry, _) = retry.unwrap();
        assert_eq!((report.traceparent, &retry.traceparent), (text(first), &text(first)));
        let NextStep { report, retry } = decide(retry, Outcome::Timeout, None, None).traced(second);
        assert_eq!((report.traceparent, retry.unwrap().0.traceparent), (text(second), text(first)));
        let untraced = decide(task, Outcome::Timeout, None, None).traced(None);
        assert_eq!((untraced.report.traceparent, untraced.retry.unwrap().0.traceparent), (text(event), text(event)));
    }

    #[test]
    fn a_test_is_one_attempt_and_disables_no_endpoint() {
        for code in [500, 410] {
            let task = DeliveryTask { trigger: Trigger::Test, ..testing::task() };
            let step = decide(task, Outcome::HttpStatus, Some(code), None);
            assert_eq!(step.report.status, DeliveryStatus::Failed);
            assert!(step.retry.is_none() && !step.report.disable_endpoint, "{code}");
        }
    }

    #[test]
    fn the_profile_defines_success() {
        let (schedule, mut statuses) = (RetrySchedule::default(), classes());
        statuses.success = vec![200..=200];
        let retry_after_max = Duration::ZERO;
        let policy = RetryPolicy { schedule: &schedule, statuses: &statuses, retry_after_max, jitter_max: 0.0 };
        assert_eq!(classify(Outcome::Success, Some(202), &policy), Outcome::HttpStatus);
        assert_eq!(classify(Outcome::Success, Some(200), &policy), Outcome::Success);
        assert_eq!(classify(Outcome::Timeout, Some(200), &policy), Outcome::Timeout);
    }

    #[test]
    fn only_429_with_retry_after_requests_a_pause() {
        let (schedule, statuses) = (RetrySchedule::default(), classes());
        let retry_after_max = Duration::from_secs(30);
        let policy = RetryPolicy { schedule: &schedule, statuses: &statuses, retry_after_max, jitter_max: 0.0 };
        let pause = |code, seconds: Option<u64>| requested_pause(Some(code), seconds.map(Duration::from_secs), &policy);
        assert_eq!(pause(429, Some(7)), Some(Duration::from_secs(7)));
        assert_eq!(pause(429, Some(3_600)), Some(retry_after_max));
        assert_eq!(pause(429, None), None);
        assert_eq!(pause(503, Some(7)), None);
    }

    #[test]
    fn each_outcome_is_an_observation_about_the_endpoint() {
        for (outcome, code, expected) in [
            (Outcome::Success, Some(200), Observation::Answered),
            (Outcome::HttpStatus, Some(302), Observation::Answered),
            (Outcome::HttpStatus, Some(404), Observation::Answered),
            (Outcome::HttpStatus, Some(429), Observation::ErrorStatus),
            (Outcome::HttpStatus, Some(503), Observation::ErrorStatus),
            (Outcome::Timeout, Some(200), Observation::TimedOut),
            (Outcome::TlsFailed, None, Observation::Unreachable),
        ] {
            assert_eq!(observation(outcome, code), expected, "{outcome} {code:?}");
        }
    }
}
