//! Whether a delivery has expired, by a clock that may be set wrong for a while.
//!
//! A discarded delivery is gone for good, so a wall clock that jumps for a moment must not discard any. A jump is believed only
//! when it has lasted for [`BELIEVED_AFTER`]; until then, the earlier of the two times counts. What this cannot know: that the
//! clock was wrong when the process started.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_model::time::UnixMillis;

/// A difference from the expected time that is no jump: clocks are slewed by such amounts.
const SLEW_MAX: Duration = Duration::from_secs(60);
/// How long a jump has to last.
const BELIEVED_AFTER: Duration = Duration::from_secs(900);

/// A wall clock that follows jumps late.
#[derive(Debug)]
pub(crate) struct SteadyClock(Mutex<Steady>);

#[derive(Debug)]
struct Steady {
    /// What the wall clock showed at a moment, and that moment.
    wall: UnixMillis,
    at: Instant,
    /// Since when the wall clock has shown another time.
    jumped_at: Option<Instant>,
}

impl SteadyClock {
    /// A clock that begins with this time.
    pub(crate) fn new(wall: UnixMillis) -> Self {
        Self(Mutex::new(Steady { wall, at: Instant::now(), jumped_at: None }))
    }

    /// Whether `deadline` has passed, when the wall clock shows `wall`.
    pub(crate) fn has_passed(&self, deadline: UnixMillis, wall: UnixMillis) -> bool {
        deadline <= wall && deadline <= self.0.lock().look(Instant::now(), wall)
    }
}

impl Steady {
    /// The steady time, which follows `wall` where it moved as the monotonic clock did.
    fn look(&mut self, now: Instant, wall: UnixMillis) -> UnixMillis {
        let expected = self.wall.plus(now.saturating_duration_since(self.at));
        let is_jump = expected.until(wall).max(wall.until(expected)) > SLEW_MAX;
        let lasts = is_jump.then(|| *self.jumped_at.get_or_insert(now));
        match lasts {
            Some(since) if now.saturating_duration_since(since) < BELIEVED_AFTER => expected,
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
    fn a_jump_of_a_moment_changes_nothing_and_one_that_lasts_is_believed() {
        let begun = Instant::now();
        let mut steady = Steady { wall: START, at: begun, jumped_at: None };
        assert_eq!(steady.look(begun + SECOND * 10, START.plus(SECOND * 10)), START.plus(SECOND * 10));
        // Eight days ahead for six seconds.
        for second in 11..17 {
            let shown = steady.look(begun + SECOND * second, START.plus(DAY * 8));
            assert_eq!(shown, START.plus(SECOND * second));
        }
        assert_eq!(steady.look(begun + SECOND * 17, START.plus(SECOND * 17)), START.plus(SECOND * 17));
        // The next jump begins anew, and lasts.
        let ahead = |second: u32| START.plus(DAY * 8 + SECOND * second);
        assert_eq!(steady.look(begun + SECOND * 1_000, ahead(1_000)), START.plus(SECOND * 1_000));
        assert_eq!(steady.look(begun + SECOND * 1_899, ahead(1_899)), START.plus(SECOND * 1_899));
        assert_eq!(steady.look(begun + SECOND * 1_900, ahead(1_900)), ahead(1_900));
        assert_eq!(steady.look(begun + SECOND * 1_901, ahead(1_901)), ahead(1_901));
    }

    #[test]
    fn nothing_expires_that_one_of_the_clocks_does_not_call_expired() {
        let clock = SteadyClock::new(START);
        assert!(clock.has_passed(START, START));
        assert!(!clock.has_passed(START.plus(DAY), START.plus(DAY * 2)));
        let wrong_at_start = SteadyClock::new(START.plus(DAY * 8));
        assert!(!wrong_at_start.has_passed(START.plus(DAY), START));
    }
}
