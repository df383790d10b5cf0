//! Spreads the parked deliveries of one endpoint over time, by means of a virtual queue. These deliveries wait on the ladder
//! because of the endpoint's concurrency.

use std::time::{Duration, Instant};

use postrider_model::limits::HOLD_MAX;

/// Minimum time on the ladder: the delay of the shortest rung.
pub(crate) const PARK_MIN: Duration = Duration::from_millis(250);
/// Maximum time until a granted slot.
const SLOT_MAX: Duration = Duration::from_secs(86_400);

/// The rate at which parked deliveries check, before their slots, whether they may be attempted. Frequent checks find free
/// capacity sooner, but each check without success is work for the broker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RecheckRate {
    /// Checks per second, over all parked deliveries of the endpoint.
    per_second: f64,
    /// Minimum time before a delivery checks again.
    at_least: Duration,
}

impl RecheckRate {
    /// The rate for an endpoint that is slow or broken.
    pub(crate) const SLOW: Self = Self { per_second: 10.0, at_least: Duration::from_secs(5) };
    const PER_SECOND_MAX: f64 = 2_000.0;

    /// The rate for a healthy endpoint that accepts this number of deliveries per second when its window has the maximum size.
    pub(crate) fn at_speed(deliveries_per_second: f64) -> Self {
        let per_second = deliveries_per_second.clamp(Self::SLOW.per_second, Self::PER_SECOND_MAX);
        Self { per_second, at_least: PARK_MIN * 2 }
    }
}

/// The slot of a parked delivery, and its next check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParkedPosition {
    /// Time until the delivery's slot.
    pub(crate) slot_in: Duration,
    /// Time until the delivery checks again: at most `slot_in`.
    pub(crate) park_for: Duration,
}

/// Estimates the number of parked deliveries, with a count that decreases at the speed of the endpoint. The estimate is wrong
/// after a restart, and when another dispatcher consumes some of the deliveries. A wrong estimate only spreads the deliveries
/// less evenly.
#[derive(Debug)]
pub(crate) struct Parked {
    count: f64,
    at: Instant,
}

impl Parked {
    pub(crate) fn new(now: Instant) -> Self {
        Self { count: 0.0, at: now }
    }

    /// Returns the estimated number of parked deliveries at `now`, if one delivery is admitted every `spacing`.
    pub(crate) fn count(&mut self, now: Instant, spacing: Duration) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.count = (self.count - passed / spacing.as_secs_f64().max(1e-6)).max(0.0);
        self.at = self.at.max(now);
        self.count
    }

    /// Parks `new` more deliveries at one position, behind the parked deliveries and the `waiting` deliveries in memory.
    pub(crate) fn park(
        &mut self,
        now: Instant,
        spacing: Duration,
        waiting: u32,
        rate: RecheckRate,
        new: u32,
    ) -> ParkedPosition {
        let ahead = self.count(now, spacing) + f64::from(waiting) + 1.0;
        self.count += f64::from(new);
        let slot_in = Duration::try_from_secs_f64(spacing.as_secs_f64() * ahead).unwrap_or(SLOT_MAX);
        let slot_in = slot_in.clamp(PARK_MIN, SLOT_MAX);
        ParkedPosition { slot_in, park_for: self.park_for(slot_in, rate) }
    }

    /// Returns the time until the next check of a delivery whose slot is `slot_in` from now.
    pub(crate) fn park_for(&self, slot_in: Duration, rate: RecheckRate) -> Duration {
        let recheck = Duration::try_from_secs_f64(self.count / rate.per_second).unwrap_or(HOLD_MAX);
        slot_in.min(recheck.clamp(rate.at_least, HOLD_MAX))
    }

    /// Forgets the parked deliveries, because the endpoint has recovered and no delivery needs to queue behind them.
    pub(crate) fn clear(&mut self) {
        self.count = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn parked_deliveries_are_spread_at_the_endpoints_speed() {
        let now = Instant::now();
        let mut parked = Parked::new(now);
        let slots: Vec<u64> =
            (0..4).map(|_| parked.park(now, SECOND * 15, 0, RecheckRate::SLOW, 1).slot_in.as_secs()).collect();
        assert_eq!(slots, [15, 30, 45, 60]);
        assert_eq!(parked.park(now, SECOND * 15, 4, RecheckRate::SLOW, 1).slot_in.as_secs(), 15 * 9);
    }

    #[test]
    fn the_count_drains_with_time_and_never_below_zero() {
        let now = Instant::now();
        let mut parked = Parked::new(now);
        for _ in 0..10 {
            parked.park(now, SECOND, 0, RecheckRate::SLOW, 1);
        }
        assert!((parked.count(now + SECOND * 4, SECOND) - 6.0).abs() < 1e-6);
        assert!(parked.count(now + SECOND * 60, SECOND) < 1e-6);
        assert!(parked.park(now + SECOND * 60, SECOND, 0, RecheckRate::SLOW, 1).slot_in >= SECOND);
    }

    #[test]
    fn a_delivery_is_parked_for_at_least_a_rung_and_at_most_hold_max() {
        let now = Instant::now();
        let mut parked = Parked::new(now);
        assert_eq!(parked.park(now, Duration::from_millis(1), 0, RecheckRate::SLOW, 1).slot_in, PARK_MIN);
        for _ in 0..100_000 {
            let position = parked.park(now, SECOND * 30, 0, RecheckRate::SLOW, 1);
            assert!(position.park_for <= HOLD_MAX && position.park_for <= position.slot_in);
        }
        assert_eq!(parked.park(now, SECOND * 30, 0, RecheckRate::SLOW, 1).park_for, HOLD_MAX);
    }

    #[test]
    fn a_short_line_looks_again_soon() {
        let now = Instant::now();
        let mut parked = Parked::new(now);
        let last = (0..40).map(|_| parked.park(now, SECOND * 15, 0, RecheckRate::SLOW, 1)).last().unwrap();
        assert_eq!(last.slot_in, SECOND * 600);
        assert_eq!(last.park_for, RecheckRate::SLOW.at_least);
    }

    #[test]
    fn a_line_of_a_healthy_endpoint_looks_again_as_fast_as_it_could_drain() {
        let now = Instant::now();
        let mut parked = Parked::new(now);
        let rate = RecheckRate::at_speed(1_000.0);
        let park_for: Vec<_> = (0..4_000).map(|_| parked.park(now, SECOND, 0, rate, 1).park_for).collect();
        assert_eq!(park_for[0], PARK_MIN * 2);
        assert_eq!(park_for[3_999], SECOND * 4);
    }
}
