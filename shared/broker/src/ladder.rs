//! The delay ladder: a fixed list of delays. Each delay is a queue whose expired messages return to their lane.
//!
//! Rungs are whole seconds, plus two rungs below a second. Neighbouring rungs are at most 1 s or 5% apart, whichever is larger.
//! Every delay that a profile may promise is exactly a rung. A delay starts at the publish, continues during crashes and down
//! time, and is **never early**. Rounding makes it late by at most 1 s or 5%, whichever is larger. Gathering before the publish
//! adds up to 10 ms, or 100 ms for rungs of the slow lane. The broker adds milliseconds while it is up.
//!
//! A retry uses [`rung_at_least`]. A delivery that is held uses [`rung_at_most`], so that it returns before its slot.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

/// Delays that profiles promise, in seconds. Each of them is exactly a rung.
const PROMISED_SECONDS: [u64; 10] = [60, 300, 900, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// The longest rung: a day, plus the 10% of jitter that a schedule may add.
const LONGEST_SECONDS: u64 = 95_040;

static RUNGS: LazyLock<Vec<Rung>> = LazyLock::new(build);

fn build() -> Vec<Rung> {
    let mut seconds: Vec<u64> = (1..=20).collect();
    let mut last = 20u64;
    while last < LONGEST_SECONDS {
        // The step is rounded down, because a delay between two rungs that are more than 5% apart would be more than 5% late.
        last = (last + (last / 20).max(1)).min(LONGEST_SECONDS);
        seconds.push(last);
    }
    seconds.extend(PROMISED_SECONDS);
    seconds.sort_unstable();
    seconds.dedup();
    [250, 500].into_iter().chain(seconds.into_iter().map(|s| s * 1_000)).map(Rung).collect()
}

/// One delay of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rung(u64);

impl Rung {
    /// The delay in milliseconds, as in the queue's name and routing keys.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// The delay.
    pub fn delay(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Every rung, shortest first.
pub fn rungs() -> &'static [Rung] {
    &RUNGS
}

/// The shortest rung that is not shorter than `delay`; the longest rung if every rung is shorter.
pub fn rung_at_least(delay: Duration) -> Rung {
    let rungs = rungs();
    let at = rungs.partition_point(|rung| rung.delay() < delay);
    rungs.get(at).or(rungs.last()).copied().unwrap_or(Rung(250))
}

/// The longest rung that is not longer than `delay`; `None` below 250 ms, where the caller waits in memory instead.
pub fn rung_at_most(delay: Duration) -> Option<Rung> {
    let rungs = rungs();
    rungs.partition_point(|rung| rung.delay() <= delay).checked_sub(1).and_then(|at| rungs.get(at)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn promised_delays_and_short_retries_are_exact() {
        for seconds in PROMISED_SECONDS.into_iter().chain([1, 2, 4, 8, 16, 20]) {
            assert_eq!(rung_at_least(Duration::from_secs(seconds)).delay(), Duration::from_secs(seconds));
        }
        assert_eq!(rung_at_least(Duration::from_millis(250)).millis(), 250);
        assert_eq!(rung_at_least(Duration::ZERO).millis(), 250);
        assert_eq!(rung_at_least(Duration::from_secs(1_000_000)).delay(), Duration::from_secs(LONGEST_SECONDS));
    }

    #[test]
    fn the_ladder_has_about_two_hundred_rungs() {
        assert!((150..=260).contains(&rungs().len()), "{}", rungs().len());
        assert!(rungs().is_sorted());
    }

    #[test]
    fn a_hold_under_250_ms_has_no_rung() {
        assert_eq!(rung_at_most(Duration::from_millis(249)), None);
        assert_eq!(rung_at_most(Duration::from_millis(999)).map(Rung::millis), Some(500));
        assert_eq!(rung_at_most(Duration::from_secs(600)).map(|r| r.delay() <= Duration::from_secs(600)), Some(true));
    }

    proptest! {
        #[test]
        fn never_early_and_at_most_a_second_or_five_percent_late(millis in 0u64..=95_040_000) {
            let wanted = Duration::from_millis(millis);
            let got = rung_at_least(wanted).delay();
            prop_assert!(got >= wanted);
            prop_assert!(got - wanted <= Duration::from_secs(1).max(wanted.mul_f64(0.05)), "{wanted:?} -> {got:?}");
        }

        #[test]
        fn a_held_delivery_returns_shortly_before_its_slot(millis in 250u64..=600_000) {
            let slot = Duration::from_millis(millis);
            let got = rung_at_most(slot).unwrap().delay();
            prop_assert!(got <= slot);
            prop_assert!(slot - got <= Duration::from_secs(1).max(slot.mul_f64(0.05)), "{slot:?} -> {got:?}");
        }
    }
}
