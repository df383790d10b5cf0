//! The deliveries of one endpoint that wait on the ladder for its concurrency: a virtual clock that spreads them.

use std::time::{Duration, Instant};

use postrider_model::limits::HOLD_MAX;

/// Nothing is parked for less: the ladder's first rung.
pub(crate) const PARK_MIN: Duration = Duration::from_millis(250);
/// How often those look again whose slots are further away: what an endpoint that takes more than was thought waits for,
/// against what the broker does in vain meanwhile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Looks {
    /// Deliveries of the endpoint that look again in a second, altogether.
    per_second: f64,
    /// Shortest time after which one looks again.
    at_least: Duration,
}

impl Looks {
    /// At an endpoint that is known slow or broken.
    pub(crate) const RARE: Self = Self { per_second: 10.0, at_least: Duration::from_secs(5) };
    /// More a second than this are worth nobody's while.
    const PER_SECOND_MAX: f64 = 2_000.0;

    /// At an endpoint that answers, and could take so many deliveries a second with its window wide open.
    pub(crate) fn at_speed(deliveries_per_second: f64) -> Self {
        let per_second = deliveries_per_second.clamp(Self::RARE.per_second, Self::PER_SECOND_MAX);
        Self { per_second, at_least: PARK_MIN * 2 }
    }
}

/// Furthest slot that is promised.
const SLOT_MAX: Duration = Duration::from_secs(86_400);

/// Where a parked delivery stands in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its slot, from now.
    pub(crate) slot_in: Duration,
    /// How long it stays away before it looks again, at most until its slot.
    pub(crate) park_for: Duration,
}

/// How many deliveries are parked: a count that drains at the speed at which the endpoint takes them. It is a model: what
/// was parked may surface otherwise (another dispatcher, a restart); it only decides how they are spread.
#[derive(Debug)]
pub(crate) struct Parked {
    count: f64,
    at: Instant,
}

impl Parked {
    pub(crate) fn new(now: Instant) -> Self {
        Self { count: 0.0, at: now }
    }

    /// How many are parked, when one is let through every `spacing`.
    pub(crate) fn count(&mut self, now: Instant, spacing: Duration) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.count = (self.count - passed / spacing.as_secs_f64().max(1e-6)).max(0.0);
        self.at = self.at.max(now);
        self.count
    }

    /// Parks one more, behind `waiting` that wait in memory.
    pub(crate) fn park(&mut self, now: Instant, spacing: Duration, waiting: u32, looks: Looks) -> Place {
        let ahead = self.count(now, spacing) + f64::from(waiting) + 1.0;
        self.count += 1.0;
        let slot_in = Duration::try_from_secs_f64(spacing.as_secs_f64() * ahead).unwrap_or(SLOT_MAX);
        let slot_in = slot_in.clamp(PARK_MIN, SLOT_MAX);
        Place { slot_in, park_for: self.park_for(slot_in, looks) }
    }

    /// How long a delivery whose slot is `slot_in` away stays away before it looks again.
    pub(crate) fn park_for(&self, slot_in: Duration, looks: Looks) -> Duration {
        let look_again = Duration::try_from_secs_f64(self.count / looks.per_second).unwrap_or(HOLD_MAX);
        slot_in.min(look_again.clamp(looks.at_least, HOLD_MAX))
    }

    /// The endpoint recovered: nobody has to queue behind what is parked.
    pub(crate) fn forget(&mut self) {
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
        let slots: Vec<u64> = (0..4).map(|_| parked.park(now, SECOND * 15, 0, Looks::RARE).slot_in.as_secs()).collect();
        assert_eq!(slots, [15, 30, 45, 60]);
        assert_eq!(parked.park(now, SECOND * 15, 4, Looks::RARE).slot_in.as_secs(), 15 * 9);
    }

    #[test]
    fn the_line_drains_with_time_and_never_below_empty() {
        let now = Instant::now();
        let mut parked = Parked::new(now);
        for _ in 0..10 {
            parked.park(now, SECOND, 0, Looks::RARE);
        }
        assert!((parked.count(now + SECOND * 4, SECOND) - 6.0).abs() < 1e-6);
        assert!(parked.count(now + SECOND * 60, SECOND) < 1e-6);
        assert!(parked.park(now + SECOND * 60, SECOND, 0, Looks::RARE).slot_in >= SECOND);
    }

    #[test]
    fn nothing_is_parked_for_less_than_a_rung_or_longer_than_the_longest_hold() {
        let now = Instant::now();
        let mut parked = Parked::new(now);
        assert_eq!(parked.park(now, Duration::from_millis(1), 0, Looks::RARE).slot_in, PARK_MIN);
        for _ in 0..100_000 {
            let place = parked.park(now, SECOND * 30, 0, Looks::RARE);
            assert!(place.park_for <= HOLD_MAX && place.park_for <= place.slot_in);
        }
        assert_eq!(parked.park(now, SECOND * 30, 0, Looks::RARE).park_for, HOLD_MAX);
    }

    #[test]
    fn a_short_line_looks_again_soon() {
        let now = Instant::now();
        let mut parked = Parked::new(now);
        let last = (0..40).map(|_| parked.park(now, SECOND * 15, 0, Looks::RARE)).last().unwrap();
        assert_eq!(last.slot_in, SECOND * 600);
        assert_eq!(last.park_for, Looks::RARE.at_least);
    }

    #[test]
    fn a_line_before_an_endpoint_that_answers_looks_again_as_fast_as_it_could_drain() {
        let now = Instant::now();
        let mut parked = Parked::new(now);
        let looks = Looks::at_speed(1_000.0);
        let park_for: Vec<_> = (0..4_000).map(|_| parked.park(now, SECOND, 0, looks).park_for).collect();
        assert_eq!(park_for[0], PARK_MIN * 2);
        assert_eq!(park_for[3_999], SECOND * 4);
    }
}
