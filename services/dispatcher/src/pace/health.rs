//! Decides whether an endpoint is slow or broken, from its breaker and its latency.
//!
//! The breaker opens after [`STRIKES_OPEN`] strikes without a good answer in between. A worse failure counts as more strikes.
//! An answer is good if it has no error status and takes less than [`TOO_SLOW`]. A good answer makes an open breaker half open.
//! After [`PROOFS_CLOSE`] good answers in a row, the breaker closes. An endpoint with a high average latency belongs to the
//! slow lane even if its breaker is closed.

use std::time::Duration;

use postrider_model::breaker::BreakerState;

/// An endpoint whose average latency exceeds this value belongs to the slow lane …
const SLOW_ABOVE: Duration = Duration::from_millis(1_000);
/// … until its average latency is at most this value.
const FAST_BELOW: Duration = Duration::from_millis(700);
/// Scheduler lag lengthens a latency by several times the lag. Therefore this multiple of the lag is subtracted from the
/// latency.
const LAG_FORGIVEN: u32 = 16;
/// Weight of the newest latency in the average.
const WEIGHT: f64 = 1.0 / 8.0;
/// Maximum latency that enters the average, so that one timeout among many answers does not make an endpoint slow.
const SAMPLE_MAX: Duration = Duration::from_secs(4);
/// An answer that takes at least this long counts as strikes, because many such answers in flight would occupy the slow lane.
const TOO_SLOW: Duration = Duration::from_secs(10);
/// Strikes for an answer that takes at least [`TOO_SLOW`]. Ten such answers in a row open the breaker.
const STRIKES_TOO_SLOW: u32 = 2;
/// Number of strikes, without a good answer in between, that open the breaker.
const STRIKES_OPEN: u32 = 20;
/// Number of good answers in a row that close the breaker. The answer that makes the breaker half open is included.
const PROOFS_CLOSE: u32 = 3;

/// What one POST indicated about its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observation {
    /// The endpoint answered with a success, a redirect, or a 4xx except 429.
    Answered,
    /// The endpoint answered 429 or 5xx.
    ErrorStatus,
    /// Name resolution, connection, TLS or HTTP failed.
    Unreachable,
    /// The endpoint did not answer in time.
    TimedOut,
}

impl Observation {
    fn strikes(self, too_slow: bool) -> u32 {
        match self {
            Self::Answered if too_slow => STRIKES_TOO_SLOW,
            Self::Answered => 0,
            Self::ErrorStatus => 1,
            Self::Unreachable => 5,
            Self::TimedOut => 10,
        }
    }
}

/// How a POST changed the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// The breaker is closed and did not change.
    None,
    /// The breaker is open or half open and did not change.
    Confirmed(BreakerState),
    /// The breaker changed to this state.
    To(BreakerState),
}

/// The health of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Health {
    strikes: u32,
    /// Number of good answers in a row since the breaker was last open.
    proofs: u32,
    breaker: BreakerState,
    slow: bool,
    latency: Option<Duration>,
}

impl Health {
    /// Whether the breaker is open or half open. Such a breaker admits only one POST at a time.
    pub(crate) fn is_open(&self) -> bool {
        self.breaker != BreakerState::Closed
    }

    /// Whether the endpoint belongs to the slow lane.
    pub(crate) fn is_slow(&self) -> bool {
        self.is_open() || self.slow
    }

    /// Returns the average latency, or `None` before the first POST has ended.
    pub(crate) fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// Counts a POST that ended after `latency`. `lag` is the scheduler lag of this process.
    pub(crate) fn observe(&mut self, observation: Observation, latency: Duration, lag: Duration) -> Transition {
        let before = self.breaker;
        match observation.strikes(latency.saturating_sub(lag * LAG_FORGIVEN) >= TOO_SLOW) {
            0 => self.prove(),
            strikes => self.strike(strikes),
        }
        let sample = latency.min(SAMPLE_MAX);
        let average = match self.latency {
            // Latencies before the end of an outage do not predict the latencies after it.
            Some(_) if before == BreakerState::Open && self.breaker != BreakerState::Open => sample,
            Some(average) => average.mul_f64(1.0 - WEIGHT) + sample.mul_f64(WEIGHT),
            None => sample,
        };
        self.latency = Some(average);
        let without_lag = average.saturating_sub(lag * LAG_FORGIVEN);
        self.slow = without_lag > SLOW_ABOVE || (self.slow && without_lag > FAST_BELOW);
        match self.breaker {
            now if now != before => Transition::To(now),
            BreakerState::Closed => Transition::None,
            now => Transition::Confirmed(now),
        }
    }

    fn prove(&mut self) {
        self.strikes = 0;
        match self.breaker {
            BreakerState::Closed => return,
            BreakerState::Open => (self.breaker, self.proofs) = (BreakerState::HalfOpen, 1),
            BreakerState::HalfOpen => self.proofs += 1,
        }
        if self.proofs >= PROOFS_CLOSE {
            self.breaker = BreakerState::Closed;
        }
    }

    fn strike(&mut self, strikes: u32) {
        self.strikes = self.strikes.saturating_add(strikes);
        if self.is_open() || self.strikes >= STRIKES_OPEN {
            self.breaker = BreakerState::Open;
        }
    }

    /// Applies a breaker state that another dispatcher announced.
    pub(crate) fn adopt(&mut self, breaker: BreakerState) {
        (self.breaker, self.strikes, self.proofs) = (breaker, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Duration = Duration::ZERO;
    const FAST: Duration = Duration::from_millis(20);

    fn check(observations: &[Observation], open: bool) {
        let mut health = Health::default();
        for observation in observations {
            health.observe(*observation, FAST, CALM);
        }
        assert_eq!(health.is_open(), open, "{observations:?}");
    }

    #[test]
    fn the_breaker_opens_on_failures_in_a_row_and_sooner_on_worse_ones() {
        use Observation::{Answered, ErrorStatus, TimedOut, Unreachable};
        check(&[TimedOut], false);
        check(&[TimedOut; 2], true);
        check(&[Unreachable; 3], false);
        check(&[Unreachable; 4], true);
        check(&[ErrorStatus; 19], false);
        check(&[ErrorStatus; 20], true);
        check(&[TimedOut, Answered, TimedOut], false);
        check(&[Answered; 50], false);
        check(&[TimedOut, TimedOut, Answered, Answered], true);
        check(&[TimedOut, TimedOut, Answered, Answered, Answered], false);
        check(&[TimedOut, TimedOut, ErrorStatus], true);
    }

    #[test]
    fn three_answers_in_a_row_close_the_breaker_and_a_failure_reopens_it() {
        use BreakerState::{Closed, HalfOpen, Open};
        use Observation::{Answered, ErrorStatus, TimedOut};
        use Transition::{Confirmed, None, To};
        let mut health = Health::default();
        for (observation, expected) in [
            (TimedOut, None),
            (TimedOut, To(Open)),
            (TimedOut, Confirmed(Open)),
            (Answered, To(HalfOpen)),
            (Answered, Confirmed(HalfOpen)),
            (ErrorStatus, To(Open)),
            (Answered, To(HalfOpen)),
            (Answered, Confirmed(HalfOpen)),
            (Answered, To(Closed)),
            (Answered, None),
            (ErrorStatus, None),
        ] {
            assert_eq!(health.observe(observation, FAST, CALM), expected, "{observation:?}");
        }
    }

    #[test]
    fn ten_answers_of_ten_seconds_in_a_row_open_the_breaker() {
        let mut health = Health::default();
        for number in 1..=10 {
            assert!(!health.is_open(), "{number}");
            health.observe(Observation::Answered, TOO_SLOW, CALM);
        }
        assert!(health.is_open());
        // An answer that takes `TOO_SLOW` does not count towards closing the breaker.
        assert_eq!(health.observe(Observation::Answered, TOO_SLOW, CALM), Transition::Confirmed(BreakerState::Open));
        let mut ours = Health::default();
        for _ in 0..20 {
            ours.observe(Observation::Answered, TOO_SLOW, Duration::from_secs(1));
        }
        assert!(!ours.is_open(), "the scheduler lag explains the latency");
    }

    #[test]
    fn a_state_of_another_dispatcher_is_adopted() {
        let mut health = Health::default();
        health.adopt(BreakerState::Open);
        assert!(health.is_open());
        assert_eq!(health.observe(Observation::Answered, FAST, CALM), Transition::To(BreakerState::HalfOpen));
        health.adopt(BreakerState::Closed);
        assert!(!health.is_open());
        health.observe(Observation::TimedOut, FAST, CALM);
        assert!(!health.is_open(), "strikes start at zero");
    }

    #[test]
    fn an_endpoint_is_slow_by_latency_alone_and_recovers_with_hysteresis() {
        let mut health = Health::default();
        health.observe(Observation::Answered, Duration::from_millis(1_500), CALM);
        assert!(health.is_slow() && !health.is_open());
        while health.latency().unwrap() > Duration::from_millis(900) {
            health.observe(Observation::Answered, Duration::from_millis(500), CALM);
        }
        assert!(health.is_slow());
        for _ in 0..20 {
            health.observe(Observation::Answered, Duration::from_millis(100), CALM);
        }
        assert!(!health.is_slow());
    }

    #[test]
    fn scheduler_lag_makes_no_endpoint_slow() {
        let mut health = Health::default();
        health.observe(Observation::Answered, Duration::from_millis(1_500), Duration::from_millis(50));
        assert!(!health.is_slow());
        health.observe(Observation::Answered, Duration::from_millis(3_500), Duration::from_millis(30));
        assert!(health.is_slow());
    }

    #[test]
    fn one_timeout_among_fast_answers_makes_no_endpoint_slow() {
        let mut health = Health::default();
        for _ in 0..50 {
            health.observe(Observation::Answered, FAST, CALM);
        }
        health.observe(Observation::TimedOut, Duration::from_secs(30), CALM);
        assert!(!health.is_slow());
    }

    #[test]
    fn the_first_answer_after_an_outage_resets_the_latency() {
        let mut health = Health::default();
        for _ in 0..5 {
            health.observe(Observation::TimedOut, Duration::from_secs(15), CALM);
        }
        assert!(health.is_slow());
        health.observe(Observation::Answered, FAST, CALM);
        assert_eq!(health.latency(), Some(FAST));
        (1..PROOFS_CLOSE).for_each(|_| assert_ne!(health.observe(Observation::Answered, FAST, CALM), Transition::None));
        assert!(!health.is_slow());
    }
}
