//! Giving way: what is not urgent leaves the processors to what is.
//!
//! Bursts go to lanes of their own, but lanes share the machine: a thousand attempts that begin at once keep it busy for as long as they take,
//! and the urgent wait. So the consumer of such a lane takes a few, and pauses for as long as the urgent members that came meanwhile are
//! likely to need. Without any, it pauses for a moment only.
//!
//! That spreads a burst; it must not starve what comes all the time. A lane that never runs empty pauses less and less, until it keeps up
//! (and takes its part of the processors as everybody does), and more again when it does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::depth::QueueTally;

/// Members taken between two pauses: what a full bundle holds.
const PAUSE_AFTER: usize = 32;
/// Shortest pause, for what is urgent and not here yet.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// What an urgent member is given: about what it takes of a machine with two processors, all services, broker and database included.
const PAUSE_FOR_EACH: Duration = Duration::from_micros(800);
/// Longest pause of a lane that keeps up: a thousand members are spread over three seconds.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// The longest pause halves with every so long that the lane is behind.
const HALVES_IN: Duration = Duration::from_secs(15);
/// Nothing more than this can be behind: the longest pause is shorter than the shortest by then.
const BEHIND_MAX: Duration = Duration::from_secs(90);
/// A lane that gave nothing for so long is not behind.
const RUNS_EMPTY: Duration = Duration::from_millis(5);

/// Which consumer gives way to which.
pub(super) struct PriorityYield {
    urgent: Arc<QueueTally>,
    /// What had been taken of the urgent at the last pause.
    seen: u64,
    /// Members taken since.
    taken: usize,
    /// For how long the lane never ran empty, less the time that it did since.
    behind: Duration,
    /// When the last members were taken, and when that and its pause were over.
    took_at: Instant,
    free_at: Instant,
}

impl PriorityYield {
    pub(super) fn to(urgent: Arc<QueueTally>) -> Self {
        let now = Instant::now();
        Self { seen: urgent.members(), urgent, taken: 0, behind: Duration::ZERO, took_at: now, free_at: now }
    }

    /// So many members were taken: pauses if they are enough.
    pub(super) async fn took(&mut self, members: usize) {
        self.look(Instant::now());
        self.taken += members;
        if self.taken >= PAUSE_AFTER {
            self.taken = 0;
            let urgent = self.urgent.members();
            let since = urgent - std::mem::replace(&mut self.seen, urgent);
            tokio::time::sleep(pause_for(since, self.behind)).await;
        }
        self.free_at = Instant::now();
    }

    /// Whether the lane had members ready or ran empty since the last were taken.
    fn look(&mut self, now: Instant) {
        let (passed, waited) = (now - self.took_at, now - self.free_at);
        self.behind = if waited < RUNS_EMPTY {
            (self.behind + passed).min(BEHIND_MAX)
        } else {
            self.behind.saturating_sub(passed)
        };
        self.took_at = now;
    }
}

/// How long to pause when so many urgent members were taken since the last pause.
fn pause_for(urgent: u64, behind: Duration) -> Duration {
    let each = PAUSE_FOR_EACH.saturating_mul(u32::try_from(urgent).unwrap_or(u32::MAX));
    let halved = PAUSE_MAX.div_f64((behind.as_secs_f64() / HALVES_IN.as_secs_f64()).exp2());
    PAUSE_MIN.saturating_add(each).min(halved).max(PAUSE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urgent() -> Arc<QueueTally> {
        Arc::new(QueueTally::new(::metrics::Counter::noop()))
    }

    /// Members a second that are taken beside so many urgent ones a second: each pause is as long as the one before made it.
    fn pace_beside(urgent_per_second: f64, behind: Duration) -> f64 {
        let mut pause = PAUSE_MIN;
        for _ in 0..1_000 {
            pause = pause_for((pause.as_secs_f64() * urgent_per_second) as u64, behind);
        }
        PAUSE_AFTER as f64 / pause.as_secs_f64()
    }

    #[test]
    fn the_more_is_urgent_the_less_is_taken_and_never_nothing() {
        let pace = |urgent_per_second| pace_beside(urgent_per_second, Duration::ZERO);
        assert_eq!(pace(0.0), 16_000.0);
        assert_eq!(pace(100.0), 16_000.0);
        let (some, much) = (pace(800.0), pace(3_000.0));
        assert!((5_000.0..12_000.0).contains(&some), "{some}");
        assert_eq!(much, 320.0);
        assert_eq!(pause_for(u64::MAX, Duration::ZERO), PAUSE_MAX);
    }

    #[test]
    fn the_longer_a_lane_is_behind_the_more_is_taken() {
        let pace = |seconds| pace_beside(3_000.0, Duration::from_secs(seconds));
        assert_eq!([0, 15, 30, 45].map(pace), [320.0, 640.0, 1_280.0, 2_560.0]);
        assert_eq!(pace(BEHIND_MAX.as_secs()), 16_000.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_bundle_is_followed_by_a_pause_which_is_long_where_much_is_urgent() {
        let urgent = urgent();
        let mut gives_way = PriorityYield::to(Arc::clone(&urgent));
        let begun = Instant::now();
        gives_way.took(PAUSE_AFTER - 1).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        gives_way.took(1).await;
        assert_eq!(begun.elapsed(), PAUSE_MIN);
        urgent.took(1_000, 0);
        gives_way.took(PAUSE_AFTER).await;
        let long = begun.elapsed() - PAUSE_MIN;
        assert!((PAUSE_MAX - PAUSE_MIN..=PAUSE_MAX).contains(&long), "{long:?}");
        let before = begun.elapsed();
        gives_way.took(PAUSE_AFTER).await;
        assert_eq!(begun.elapsed() - before, PAUSE_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_never_runs_empty_is_soon_taken_as_fast_as_it_comes_and_gives_way_again_once_it_kept_up() {
        const URGENT_EACH_SECOND: f64 = 3_000.0;
        let urgent = urgent();
        let mut gives_way = PriorityYield::to(Arc::clone(&urgent));
        let mut pause = async || {
            let begun = Instant::now();
            gives_way.took(PAUSE_AFTER).await;
            urgent.took((begun.elapsed().as_secs_f64() * URGENT_EACH_SECOND) as usize, 0);
            begun.elapsed()
        };
        let begun = Instant::now();
        let mut taken = 0;
        while begun.elapsed() < 2 * BEHIND_MAX {
            pause().await;
            taken += PAUSE_AFTER;
        }
        assert!(taken > 180 * 4_000, "{taken} in three minutes");
        tokio::time::sleep(BEHIND_MAX).await;
        urgent.took(1_000, 0);
        assert_eq!(pause().await, PAUSE_MAX);
    }
}
