//! Whether an endpoint is slow or broken: its breaker, and how long it takes to answer.

use std::time::Duration;

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
/// The breaker opens at so many strikes without a success between them.
const STRIKES_OPEN: u32 = 20;

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
    fn strikes(self) -> u32 {
        match self {
            Self::Answered => 0,
            Self::Unwell => 1,
            Self::Unreachable => 5,
            Self::TimedOut => 10,
        }
    }
}

/// What a POST changed about the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// Nothing.
    None,
    /// It opened: from now on one POST at a time, in the slow lane.
    Opened,
    /// It closed.
    Closed,
}

/// The health of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Health {
    strikes: u32,
    open: bool,
    slow: bool,
    latency: Option<Duration>,
}

impl Health {
    /// Whether the breaker is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the endpoint belongs to the slow lane.
    pub(crate) fn is_slow(&self) -> bool {
        self.open || self.slow
    }

    /// How long a POST takes on average, when there was one.
    pub(crate) fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// A POST ended after `latency`. `lag`: how late this process itself is.
    pub(crate) fn see(&mut self, seen: Seen, latency: Duration, lag: Duration) -> Transition {
        let was_open = self.open;
        if seen == Seen::Answered {
            (self.strikes, self.open) = (0, false);
        } else {
            self.strikes = self.strikes.saturating_add(seen.strikes());
            self.open = self.open || self.strikes >= STRIKES_OPEN;
        }
        let sample = latency.min(SAMPLE_MAX);
        let average = match self.latency {
            // What it was like while it was broken says nothing about what it is like now.
            Some(before) if !was_open || self.open => before.mul_f64(1.0 - WEIGHT) + sample.mul_f64(WEIGHT),
            _ => sample,
        };
        self.latency = Some(average);
        let theirs = average.saturating_sub(lag * LAG_FORGIVEN);
        self.slow = theirs > SLOW_ABOVE || (self.slow && theirs > FAST_BELOW);
        match (was_open, self.open) {
            (false, true) => Transition::Opened,
            (true, false) => Transition::Closed,
            _ => Transition::None,
        }
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
        check(&[TimedOut, TimedOut, Answered], false);
        check(&[TimedOut, TimedOut, Unwell], true);
    }

    #[test]
    fn opening_and_closing_are_told_once() {
        let mut health = Health::default();
        let told: Vec<Transition> = [Seen::TimedOut, Seen::TimedOut, Seen::TimedOut, Seen::Answered, Seen::Answered]
            .into_iter()
            .map(|seen| health.see(seen, FAST, CALM))
            .collect();
        use Transition::{Closed, None, Opened};
        assert_eq!(told, [None, Opened, None, Closed, None]);
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
        assert!(!health.is_slow());
        assert_eq!(health.latency(), Some(FAST));
    }
}
