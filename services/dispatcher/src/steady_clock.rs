//! A clock that ignores brief jumps of the wall clock, to decide whether a delivery has expired.
//!
//! A discarded delivery is lost, so a brief jump of the wall clock must not cause deliveries to expire. A jump is accepted
//! after it has lasted for [`ACCEPTED_AFTER`]. Until then, a delivery expires only if its deadline has passed both by the wall
//! clock and by the expected time. A wall clock that is already wrong when the process starts is not detected.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_model::time::UnixMillis;

/// A larger difference from the expected time counts as a jump. A smaller difference counts as a gradual correction.
const SLEW_MAX: Duration = Duration::from_secs(60);
/// Duration after which a jump is accepted.
const ACCEPTED_AFTER: Duration = Duration::from_secs(900);

/// A clock that follows the wall clock. It follows a jump only after [`ACCEPTED_AFTER`].
#[derive(Debug)]
pub(crate) struct SteadyClock(Mutex<Steady>);

#[derive(Debug)]
struct Steady {
    /// The last accepted time of the wall clock.
    wall: UnixMillis,
    /// The time of the monotonic clock at the same moment as `wall`.
    at: Instant,
    /// The time at which the current jump began.
    jumped_at: Option<Instant>,
}

impl SteadyClock {
    /// Creates a clock that starts at the time `wall`.
    pub(crate) fn new(wall: UnixMillis) -> Self {
        Self(Mutex::new(Steady { wall, at: Instant::now(), jumped_at: None }))
    }

    /// Whether `deadline` has passed. `wall` is the current time of the wall clock.
    pub(crate) fn has_passed(&self, deadline: UnixMillis, wall: UnixMillis) -> bool {
        deadline <= wall && deadline <= self.0.lock().observe(Instant::now(), wall)
    }
}

impl Steady {
    /// Returns `wall`, or the expected time if a jump is not accepted yet.
    fn observe(&mut self, now: Instant, wall: UnixMillis) -> UnixMillis {
        let expected = self.wall.plus(now.saturating_duration_since(self.at));
        let is_jump = expected.until(wall).max(wall.until(expected)) > SLEW_MAX;
        let lasts = is_jump.then(|| *self.jumped_at.get_or_insert(now));
        match lasts {
            Some(since) if now.saturating_duration_since(since) < ACCEPTED_AFTER => expected,
            _ => {
                *self = Self { wall, at: now, jumped_at: None };
                wall
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_secs(86_400);
    const START: UnixMillis = UnixMillis(1_800_000_000_000);

    #[test]
    fn a_brief_jump_is_ignored_and_a_lasting_one_is_accepted() {
        let start = Instant::now();
        let mut steady = Steady { wall: START, at: start, jumped_at: None };
        assert_eq!(steady.observe(start + SECOND * 10, START.plus(SECOND * 10)), START.plus(SECOND * 10));
        // The clock is eight days ahead for six seconds.
        for second in 11..17 {
            let shown = steady.observe(start + SECOND * second, START.plus(DAY * 8));
            assert_eq!(shown, START.plus(SECOND * second));
        }
        assert_eq!(steady.observe(start + SECOND * 17, START.plus(SECOND * 17)), START.plus(SECOND * 17));
        // The second jump lasts long enough to be accepted.
        let ahead = |second: u32| START.plus(DAY * 8 + SECOND * second);
        assert_eq!(steady.observe(start + SECOND * 1_000, ahead(1_000)), START.plus(SECOND * 1_000));
        assert_eq!(steady.observe(start + SECOND * 1_899, ahead(1_899)), START.plus(SECOND * 1_899));
        assert_eq!(steady.observe(start + SECOND * 1_900, ahead(1_900)), ahead(1_900));
        assert_eq!(steady.observe(start + SECOND * 1_901, ahead(1_901)), ahead(1_901));
    }

    #[test]
    fn a_delivery_expires_only_if_both_clocks_agree() {
        let clock = SteadyClock::new(START);
        assert!(clock.has_passed(START, START));
        assert!(!clock.has_passed(START.plus(DAY), START.plus(DAY * 2)));
        let wrong_at_start = SteadyClock::new(START.plus(DAY * 8));
        assert!(!wrong_at_start.has_passed(START.plus(DAY), START));
    }
}
