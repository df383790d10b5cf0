//! Whether an endpoint is slow or broken: its breaker, and how long it takes to answer.
//!
//! The breaker opens on strikes without an answer between them, more for worse failures, and some for answers that take
//! [`TOO_SLOW`]. An answer makes it half open, and so many of them in a row ([`PROOFS_CLOSE`]) close it. What is merely slow
//! (on average over a second) belongs to the slow lane, with its breaker closed.

use std::time::Duration;

use postrider_model::breaker::BreakerState;

/// An endpoint that answers slower than this on average belongs to the slow lane …
const SLOW_ABOVE: Duration = Duration::from_millis(1_000);
/// … until it answers faster than this.
const FAST_BELOW: Duration = Duration::from_millis(700);
/// When this process itself is late, everything takes longer by several times that; so much is forgiven.
const LAG_FORGIVEN: u32 = 16;
/// Weight of the newest answer in the average.
const WEIGHT: f64 = 1.0 / 8.0;
/// One answer counts as no slower than this, so that a single timeout among many answers does not look like a slow endpoint.
const SAMPLE_MAX: Duration = Duration::from_secs(4);
/// An answer that takes so long speaks against its endpoint: with many of them in flight the slow lane would be its alone.
const TOO_SLOW: Duration = Duration::from_secs(10);
/// What such an answer counts: ten in a row open the breaker.
const STRIKES_TOO_SLOW: u32 = 2;
/// The breaker opens at so many strikes without an answer between them.
const STRIKES_OPEN: u32 = 20;
/// A half-open breaker closes after so many answers in a row.
const PROOFS_CLOSE: u32 = 3;

/// What one POST said about its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It answered, and not with a fault of its own: success, redirects, 4xx but 429.
    Answered,
    /// It answered that it cannot: 5xx, 429.
    Unwell,
    /// There was no connection, no name, no TLS, or no HTTP.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
}

impl Seen {
    fn strikes(self, too_slow: bool) -> u32 {
        match self {
            Self::Answered if too_slow => STRIKES_TOO_SLOW,
            Self::Answered => 0,
            Self::Unwell => 1,
            Self::Unreachable => 5,
            Self::TimedOut => 10,
        }
    }
}

/// What a POST meant for the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing: it is closed and stays so.
    None,
    /// It is not closed, and stays as it is, by one more POST.
    Confirmed(BreakerState),
    /// It is now in this state.
    To(BreakerState),
}

/// The health of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Health {
    strikes: u32,
    /// Answers in a row since the breaker is half open.
    proofs: u32,
    breaker: BreakerState,
    slow: bool,
    latency: Option<Duration>,
}

impl Health {
    /// Whether the breaker lets only one POST at a time through.
    pub(crate) fn is_open(&self) -> bool {
        self.breaker != BreakerState::Closed
    }

    /// Whether the endpoint belongs to the slow lane.
    pub(crate) fn is_slow(&self) -> bool {
        self.is_open() || self.slow
    }

    /// How long a POST takes on average, when there was one.
    pub(crate) fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// A POST ended after `latency`. `lag`: how late this process itself is.
    pub(crate) fn see(&mut self, seen: Seen, latency: Duration, lag: Duration) -> Turn {
        let before = self.breaker;
        let strikes = seen.strikes(latency.saturating_sub(lag * LAG_FORGIVEN) >= TOO_SLOW);
        if strikes == 0 {
            self.answered();
        } else {
            self.struck(strikes);
        }
        let sample = latency.min(SAMPLE_MAX);
        let average = match self.latency {
            // What it was like while it was broken says nothing about what it is like now.
            Some(_) if before == BreakerState::Open && self.breaker != BreakerState::Open => sample,
            Some(average) => average.mul_f64(1.0 - WEIGHT) + sample.mul_f64(WEIGHT),
            None => sample,
        };
        self.latency = Some(average);
        let theirs = average.saturating_sub(lag * LAG_FORGIVEN);
        self.slow = theirs > SLOW_ABOVE || (self.slow && theirs > FAST_BELOW);
        match self.breaker {
            now if now != before => Turn::To(now),
            BreakerState::Closed => Turn::None,
            now => Turn::Confirmed(now),
        }
    }

    fn answered(&mut self) {
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

    fn struck(&mut self, strikes: u32) {
        self.strikes = self.strikes.saturating_add(strikes);
        if self.is_open() || self.strikes >= STRIKES_OPEN {
            self.breaker = BreakerState::Open;
        }
    }

    /// Another dispatcher knows better.
    pub(crate) fn adopt(&mut self, breaker: BreakerState) {
        (self.breaker, self.strikes, self.proofs) = (breaker, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Duration = Duration::ZERO;
    const FAST: Duration = Duration::from_millis(20);

    fn check(seen: &[Seen], open: bool) {
        let mut health = Health::default();
        for seen in seen {
            health.see(*seen, FAST, CALM);
        }
        assert_eq!(health.is_open(), open, "{seen:?}");
    }

    #[test]
    fn the_breaker_opens_on_failures_in_a_row_the_sooner_the_worse_they_are() {
        use Seen::{Answered, TimedOut, Unreachable, Unwell};
        check(&[TimedOut], false);
        check(&[TimedOut; 2], true);
        check(&[Unreachable; 3], false);
        check(&[Unreachable; 4], true);
        check(&[Unwell; 19], false);
        check(&[Unwell; 20], true);
        check(&[TimedOut, Answered, TimedOut], false);
        check(&[Answered; 50], false);
        check(&[TimedOut, TimedOut, Answered, Answered], true);
        check(&[TimedOut, TimedOut, Answered, Answered, Answered], false);
        check(&[TimedOut, TimedOut, Unwell], true);
    }

    #[test]
    fn three_answers_in_a_row_close_it_and_a_failure_between_them_opens_it_again() {
        use BreakerState::{Closed, HalfOpen, Open};
        use Seen::{Answered, TimedOut, Unwell};
        use Turn::{Confirmed, None, To};
        let mut health = Health::default();
        for (seen, expected) in [
            (TimedOut, None),
            (TimedOut, To(Open)),
            (TimedOut, Confirmed(Open)),
            (Answered, To(HalfOpen)),
            (Answered, Confirmed(HalfOpen)),
            (Unwell, To(Open)),
            (Answered, To(HalfOpen)),
            (Answered, Confirmed(HalfOpen)),
            (Answered, To(Closed)),
            (Answered, None),
            (Unwell, None),
        ] {
            assert_eq!(health.see(seen, FAST, CALM), expected, "{seen:?}");
        }
    }

    #[test]
    fn ten_answers_in_a_row_that_take_ten_seconds_open_it_and_nine_do_not() {
        let mut health = Health::default();
        for number in 1..=10 {
            assert!(!health.is_open(), "{number}");
            health.see(Seen::Answered, TOO_SLOW, CALM);
        }
        assert!(health.is_open());
        // Such an answer is no proof either.
        assert_eq!(health.see(Seen::Answered, TOO_SLOW, CALM), Turn::Confirmed(BreakerState::Open));
        let mut ours = Health::default();
        for _ in 0..20 {
            ours.see(Seen::Answered, TOO_SLOW, Duration::from_secs(1));
        }
        assert!(!ours.is_open(), "this process itself was late");
    }

    #[test]
    fn what_another_dispatcher_knows_is_taken_over() {
        let mut health = Health::default();
        health.adopt(BreakerState::Open);
        assert!(health.is_open());
        assert_eq!(health.see(Seen::Answered, FAST, CALM), Turn::To(BreakerState::HalfOpen));
        health.adopt(BreakerState::Closed);
        assert!(!health.is_open());
        health.see(Seen::TimedOut, FAST, CALM);
        assert!(!health.is_open(), "it begins anew");
    }

    #[test]
    fn a_slow_endpoint_is_slow_without_any_failure_and_recovers_with_hysteresis() {
        let mut health = Health::default();
        health.see(Seen::Answered, Duration::from_millis(1_500), CALM);
        assert!(health.is_slow() && !health.is_open());
        while health.latency().unwrap() > Duration::from_millis(900) {
            health.see(Seen::Answered, Duration::from_millis(500), CALM);
        }
        assert!(health.is_slow());
        for _ in 0..20 {
            health.see(Seen::Answered, Duration::from_millis(100), CALM);
        }
        assert!(!health.is_slow());
    }

    #[test]
    fn no_endpoint_is_slow_because_this_process_is_late() {
        let mut health = Health::default();
        health.see(Seen::Answered, Duration::from_millis(1_500), Duration::from_millis(50));
        assert!(!health.is_slow());
        health.see(Seen::Answered, Duration::from_millis(3_500), Duration::from_millis(30));
        assert!(health.is_slow());
    }

    #[test]
    fn one_timeout_among_fast_answers_is_no_slow_endpoint() {
        let mut health = Health::default();
        for _ in 0..50 {
            health.see(Seen::Answered, FAST, CALM);
        }
        health.see(Seen::TimedOut, Duration::from_secs(30), CALM);
        assert!(!health.is_slow());
    }

    #[test]
    fn the_first_success_after_an_outage_forgets_its_latency() {
        let mut health = Health::default();
        for _ in 0..5 {
            health.see(Seen::TimedOut, Duration::from_secs(15), CALM);
        }
        assert!(health.is_slow());
        health.see(Seen::Answered, FAST, CALM);
        assert_eq!(health.latency(), Some(FAST));
        (1..PROOFS_CLOSE).for_each(|_| assert_ne!(health.see(Seen::Answered, FAST, CALM), Turn::None));
        assert!(!health.is_slow());
    }
}
