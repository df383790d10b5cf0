//! Decides when a delivery is attempted again. The functions are pure: the caller draws the jitter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempt::{AttemptResult, Outcome, StatusClasses, StatusVerdict};
use crate::limits::{RETRIES_MAX, RETRY_DELAY_MAX};

/// The delays between attempts. Each delay starts at the end of the previous attempt. An empty schedule means no retries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RetrySchedule(Vec<u32>);

/// An error: a schedule exceeds a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// Too many delays.
    #[error("at most {RETRIES_MAX} delays, got {0}")]
    TooMany(usize),
    /// A delay out of range.
    #[error("delay {index} is {seconds} s; allowed are 1 to {} s", RETRY_DELAY_MAX.as_secs())]
    Delay {
        /// The index of the delay.
        index: usize,
        /// The delay.
        seconds: u32,
    },
}

impl RetrySchedule {
    /// A schedule of delays in seconds.
    ///
    /// # Errors
    /// There are more than [`RETRIES_MAX`] delays, or a delay is not between 1 s and [`RETRY_DELAY_MAX`].
    pub fn from_seconds(seconds: Vec<u32>) -> Result<Self, InvalidSchedule> {
        if seconds.len() > RETRIES_MAX {
            return Err(InvalidSchedule::TooMany(seconds.len()));
        }
        let allowed = 1..=RETRY_DELAY_MAX.as_secs();
        match seconds.iter().position(|delay| !allowed.contains(&u64::from(*delay))) {
            Some(index) => Err(InvalidSchedule::Delay { index, seconds: seconds[index] }),
            None => Ok(Self(seconds)),
        }
    }

    /// The sum of the delays.
    pub fn total(&self) -> Duration {
        Duration::from_secs(self.0.iter().map(|seconds| u64::from(*seconds)).sum())
    }

    /// Returns the schedule with every delay below `shortest` raised to `shortest`.
    #[must_use]
    pub fn at_least(mut self, shortest: Duration) -> Self {
        let shortest = u32::try_from(shortest.min(RETRY_DELAY_MAX).as_secs()).unwrap_or(u32::MAX);
        self.0.iter_mut().for_each(|seconds| *seconds = (*seconds).max(shortest));
        self
    }

    /// The delays in seconds.
    pub fn seconds(&self) -> &[u32] {
        &self.0
    }

    /// The delay after attempt `number` (the first is 1), or `None` if that attempt was the last.
    pub fn delay_after(&self, number: u16) -> Option<Duration> {
        let index = usize::from(number).checked_sub(1)?;
        self.0.get(index).map(|seconds| Duration::from_secs(u64::from(*seconds)))
    }
}

/// The rules for the retries of a delivery.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy<'a> {
    /// The delays.
    pub schedule: &'a RetrySchedule,
    /// The meaning of status codes.
    pub statuses: &'a StatusClasses,
    /// The maximum `Retry-After`. A longer value is shortened to it.
    pub retry_after_max: Duration,
    /// The maximum jitter, as a share of the delay by which the delay is lengthened; 0 if the product promises exact times.
    pub jitter_max: f64,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The delivery has succeeded.
    Delivered,
    /// The next attempt follows after this time, counted from the end of the previous attempt.
    RetryAfter(Duration),
    /// No attempt follows.
    Failed {
        /// Whether to disable the endpoint.
        disable: bool,
    },
}

/// Decides what follows attempt `number` (the first is 1). `draw`, from 0.0 to 1.0, is the share of the maximum jitter.
pub fn next_step(number: u16, result: &AttemptResult, policy: &RetryPolicy<'_>, draw: f64) -> Step {
    let verdict = match (result.outcome, result.status_code) {
        (Outcome::Success | Outcome::HttpStatus, Some(code)) => policy.statuses.verdict(code),
        _ => StatusVerdict::Retry,
    };
    match verdict {
        StatusVerdict::Success => Step::Delivered,
        StatusVerdict::Fail => Step::Failed { disable: false },
        StatusVerdict::Disable => Step::Failed { disable: true },
        StatusVerdict::Retry => match policy.schedule.delay_after(number) {
            None => Step::Failed { disable: false },
            Some(scheduled) => {
                let jittered = scheduled.mul_f64(1.0 + policy.jitter_max.clamp(0.0, 1.0) * draw.clamp(0.0, 1.0));
                let requested = match result.status_code {
                    Some(429 | 503) => result.retry_after.unwrap_or_default().min(policy.retry_after_max),
                    _ => Duration::ZERO,
                };
                Step::RetryAfter(jittered.max(requested))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migma_like() -> StatusClasses {
        StatusClasses {
            success: vec![200..=299],
            not_retried: vec![400..=499],
            retried_anyway: vec![408..=408, 429..=429],
            disables: vec![410..=410],
        }
    }

    fn check(number: u16, outcome: Outcome, code: Option<u16>, retry_after: Option<u64>, expected: Step) {
        let schedule = RetrySchedule::from_seconds(vec![1, 2, 4]).unwrap();
        let statuses = migma_like();
        let policy = RetryPolicy {
            schedule: &schedule,
            statuses: &statuses,
            retry_after_max: Duration::from_secs(30),
            jitter_max: 0.0,
        };
        let result = AttemptResult { outcome, status_code: code, retry_after: retry_after.map(Duration::from_secs) };
        assert_eq!(next_step(number, &result, &policy, 0.7), expected, "{number} {outcome} {code:?} {retry_after:?}");
    }

    #[test]
    fn each_outcome_has_its_next_step() {
        use Outcome::{HttpStatus, Success, Timeout};
        let after = |seconds| Step::RetryAfter(Duration::from_secs(seconds));
        let failed = Step::Failed { disable: false };
        check(1, Success, Some(204), None, Step::Delivered);
        check(1, HttpStatus, Some(500), None, after(1));
        check(2, HttpStatus, Some(500), None, after(2));
        check(3, Timeout, None, None, after(4));
        check(4, Timeout, None, None, failed);
        check(1, HttpStatus, Some(301), None, after(1));
        check(1, HttpStatus, Some(404), None, failed);
        check(1, HttpStatus, Some(408), None, after(1));
        check(1, HttpStatus, Some(410), None, Step::Failed { disable: true });
        check(1, Outcome::DnsFailed, None, None, after(1));
    }

    #[test]
    fn retry_after_counts_on_429_and_503_only_and_is_capped() {
        use Outcome::HttpStatus;
        let after = |seconds| Step::RetryAfter(Duration::from_secs(seconds));
        check(1, HttpStatus, Some(429), Some(7), after(7));
        check(3, HttpStatus, Some(503), Some(2), after(4));
        check(1, HttpStatus, Some(503), Some(3_600), after(30));
        check(1, HttpStatus, Some(500), Some(20), after(1));
        check(4, HttpStatus, Some(429), Some(7), Step::Failed { disable: false });
    }

    #[test]
    fn jitter_lengthens_a_delay_by_at_most_its_share() {
        let schedule = RetrySchedule::from_seconds(vec![100]).unwrap();
        let statuses = migma_like();
        let policy =
            RetryPolicy { schedule: &schedule, statuses: &statuses, retry_after_max: RETRY_DELAY_MAX, jitter_max: 0.1 };
        let result = AttemptResult { outcome: Outcome::Timeout, status_code: None, retry_after: None };
        let delay = |draw| match next_step(1, &result, &policy, draw) {
            Step::RetryAfter(delay) => delay,
            other => panic!("{other:?}"),
        };
        assert_eq!(delay(0.0), Duration::from_secs(100));
        assert!(delay(0.5) > delay(0.0) && delay(0.999) <= Duration::from_secs(110));
    }

    #[test]
    fn schedules_out_of_range_are_refused_with_the_index() {
        assert_eq!(RetrySchedule::from_seconds(vec![5, 0]), Err(InvalidSchedule::Delay { index: 1, seconds: 0 }));
        assert!(RetrySchedule::from_seconds(vec![86_400]).is_ok());
        assert!(RetrySchedule::from_seconds(vec![86_401]).is_err());
        assert!(RetrySchedule::from_seconds(vec![1; 21]).is_err());
        assert_eq!(RetrySchedule::from_seconds(vec![]).unwrap().delay_after(1), None);
    }
}
