//! The rate of one endpoint: a generic cell rate algorithm that grants slots, one interval apart.

use std::time::{Duration, Instant};

/// Maximum interval between two slots. A rate that would need a longer interval is raised.
const INTERVAL_MAX: Duration = Duration::from_secs(86_400);

/// Maximum time until a slot after an edit of the rate.
const SLOT_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Returns the interval between slots of one dispatcher when `dispatchers` share `rate_per_second`. Returns `None` if there is
/// no positive rate.
pub(crate) fn interval(rate_per_second: Option<f64>, dispatchers: u32) -> Option<Duration> {
    let rate = rate_per_second.filter(|rate| rate.is_finite() && *rate > 0.0)?;
    let seconds = f64::from(dispatchers.max(1)) / rate;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(INTERVAL_MAX).min(INTERVAL_MAX))
}

/// Returns the new time until a slot after an edit changed the interval from `before` to `interval`. The number of slots before
/// this slot does not change.
pub(crate) fn rescaled(ahead: Duration, before: Duration, interval: Duration) -> Duration {
    if before.is_zero() || before == interval {
        return ahead;
    }
    let slots = ahead.as_secs_f64() / before.as_secs_f64();
    Duration::try_from_secs_f64(slots * interval.as_secs_f64()).unwrap_or(SLOT_MAX).min(SLOT_MAX)
}

/// The time of the next free slot. There are no bursts: `n` dispatchers together admit at most `rate + n` attempts in any
/// second.
#[derive(Debug, Default)]
pub(crate) struct Gcra {
    next: Option<Instant>,
    /// The interval between slots at the time when `next` was set.
    interval: Duration,
}

impl Gcra {
    /// Uses the next slot and returns the time until that slot. If the interval has changed, the next slot moves in the same
    /// way as the slots that deliveries already have (see [`rescaled`]).
    pub(crate) fn charge(&mut self, now: Instant, interval: Duration) -> Duration {
        let slot = now + self.wait(now, interval);
        self.next = Some(slot + interval);
        self.interval = interval;
        slot.saturating_duration_since(now)
    }

    /// Returns the time until the next slot and does not use the slot.
    pub(crate) fn wait(&self, now: Instant, interval: Duration) -> Duration {
        let ahead = self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now));
        rescaled(ahead, self.interval, interval)
    }

    /// Charges for a slot that another process granted and that a delivery uses now. Later slots move back by one interval.
    pub(crate) fn charge_foreign(&mut self, now: Instant, interval: Duration) {
        self.charge(now, interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn slots_are_an_interval_apart_and_unused_ones_are_not_saved_up() {
        let (mut gcra, start) = (Gcra::default(), Instant::now());
        let interval = interval(Some(10.0), 1).unwrap();
        let waits: Vec<u128> = (0..4).map(|_| gcra.charge(start, interval).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 300]);
        let later = start + SECOND * 60;
        let waits: Vec<u128> = (0..3).map(|_| gcra.charge(later, interval).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200]);
    }

    #[test]
    fn any_second_admits_at_most_the_rate_plus_one() {
        let (mut gcra, start) = (Gcra::default(), Instant::now());
        let interval = interval(Some(25.0), 1).unwrap();
        let slots: Vec<Duration> = (0..200)
            .map(|n| {
                let asked = Duration::from_millis(n * 7);
                asked + gcra.charge(start + asked, interval)
            })
            .collect();
        for from in &slots {
            let within = slots.iter().filter(|slot| (*from..*from + SECOND).contains(*slot)).count();
            assert!(within <= 26, "{within}");
        }
    }

    #[test]
    fn the_rate_is_shared_by_the_dispatchers() {
        assert_eq!(interval(Some(10.0), 4), Some(Duration::from_millis(400)));
        assert_eq!(interval(Some(10.0), 0), Some(Duration::from_millis(100)));
        assert_eq!(interval(None, 4), None);
        for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(interval(Some(nonsense), 1), None);
        }
        assert_eq!(interval(Some(1e-300), 1), Some(INTERVAL_MAX));
    }

    #[test]
    fn an_edit_of_the_rate_moves_future_slots() {
        let (mut gcra, now) = (Gcra::default(), Instant::now());
        for _ in 0..10 {
            gcra.charge(now, SECOND * 4);
        }
        assert_eq!(gcra.charge(now, SECOND / 100), SECOND / 10);
        assert_eq!(gcra.charge(now, SECOND * 2), SECOND * 22);
        assert_eq!(rescaled(SECOND * 60, SECOND * 4, SECOND), SECOND * 15);
        assert_eq!(rescaled(SECOND * 60, Duration::ZERO, SECOND), SECOND * 60);
        assert_eq!(rescaled(Duration::MAX, Duration::from_nanos(1), INTERVAL_MAX), SLOT_MAX);
    }

    #[test]
    fn a_foreign_slot_delays_the_next_slot() {
        let (mut gcra, now) = (Gcra::default(), Instant::now());
        gcra.charge_foreign(now, SECOND);
        assert_eq!(gcra.charge(now, SECOND), SECOND);
    }
}
