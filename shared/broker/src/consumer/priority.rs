//! Pauses by which the consumers of less urgent lanes leave processor time to the urgent lane.
//!
//! Bursts go to separate lanes, but all lanes share the machine: a thousand attempts that start at the same time keep it busy,
//! and urgent deliveries wait. So the consumer of a less urgent lane takes a few members and then pauses. The pause is about as
//! long as the processing of the urgent members that arrived since the previous pause. Without urgent members the pause is
//! minimal.
//!
//! The pauses spread a burst, but must not starve a steady load. The longer a lane has a backlog, the shorter its pauses
//! become, until the backlog shrinks. Without a backlog the pauses become longer again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::depth::QueueTally;

/// Number of members taken between two pauses: a full bundle.
const PAUSE_AFTER: usize = 32;
/// Minimum pause: time for urgent members to arrive.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// Pause for each urgent member: about the processing time of one member on a machine with two processors that runs all
/// services, the broker and the database.
const PAUSE_FOR_EACH: Duration = Duration::from_micros(800);
/// Maximum pause of a lane without backlog: it spreads a thousand members over three seconds.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// The maximum pause halves for every 15 s that the lane has been backlogged.
const HALVES_IN: Duration = Duration::from_secs(15);
/// Maximum time of a backlog that counts. At this time the maximum pause has fallen below [`PAUSE_MIN`].
const BACKLOG_MAX: Duration = Duration::from_secs(90);
/// A lane without a member for this time has no backlog.
const RUNS_EMPTY: Duration = Duration::from_millis(5);

/// Makes the consumer of one queue yield to the consumer of another.
pub(super) struct PriorityYield {
    urgent: Arc<QueueTally>,
    /// Number of urgent members that this process had taken at the last pause.
    urgent_before: u64,
    /// Number of members of this lane taken since the last pause.
    taken: usize,
    /// The time of backlog: grows while the lane has a backlog, and shrinks at the same rate while the lane has none.
    backlogged: Duration,
    took_at: Instant,
    /// When the last call of [`PriorityYield::after`] ended.
    free_at: Instant,
}

impl PriorityYield {
    pub(super) fn to(urgent: Arc<QueueTally>) -> Self {
        let now = Instant::now();
        Self {
            urgent_before: urgent.members(),
            urgent,
            taken: 0,
            backlogged: Duration::ZERO,
            took_at: now,
            free_at: now,
        }
    }

    /// Call this function after taking `members`. It pauses if [`PAUSE_AFTER`] members were taken since the last pause.
    pub(super) async fn after(&mut self, members: usize) {
        self.measure_backlog(Instant::now());
        self.taken += members;
        if self.taken >= PAUSE_AFTER {
            self.taken = 0;
            let urgent = self.urgent.members();
            let since = urgent - std::mem::replace(&mut self.urgent_before, urgent);
            tokio::time::sleep(pause_for(since, self.backlogged)).await;
        }
        self.free_at = Instant::now();
    }

    /// Adds the time since the previous members to the backlog, or subtracts it if the lane was empty in between.
    fn measure_backlog(&mut self, now: Instant) {
        let (passed, waited) = (now - self.took_at, now - self.free_at);
        self.backlogged = if waited < RUNS_EMPTY {
            (self.backlogged + passed).min(BACKLOG_MAX)
        } else {
            self.backlogged.saturating_sub(passed)
        };
        self.took_at = now;
    }
}

/// The pause if `urgent` members were taken since the last pause.
fn pause_for(urgent: u64, backlogged: Duration) -> Duration {
    let each = PAUSE_FOR_EACH.saturating_mul(u32::try_from(urgent).unwrap_or(u32::MAX));
    let longest = PAUSE_MAX.div_f64((backlogged.as_secs_f64() / HALVES_IN.as_secs_f64()).exp2());
    PAUSE_MIN.saturating_add(each).min(longest).max(PAUSE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urgent() -> Arc<QueueTally> {
        Arc::new(QueueTally::new(::metrics::Counter::noop()))
    }

    /// Members per second that the lane takes while the urgent lane takes `urgent_per_second`, once the pauses are stable.
    fn pace(urgent_per_second: f64, backlogged: Duration) -> f64 {
        let mut pause = PAUSE_MIN;
        for _ in 0..1_000 {
            pause = pause_for((pause.as_secs_f64() * urgent_per_second) as u64, backlogged);
        }
        PAUSE_AFTER as f64 / pause.as_secs_f64()
    }

    #[test]
    fn more_urgent_members_slow_the_lane_down_but_never_stop_it() {
        let pace = |urgent_per_second| pace(urgent_per_second, Duration::ZERO);
        assert_eq!(pace(0.0), 16_000.0);
        assert_eq!(pace(100.0), 16_000.0);
        let (some, much) = (pace(800.0), pace(3_000.0));
        assert!((5_000.0..12_000.0).contains(&some), "{some}");
        assert_eq!(much, 320.0);
        assert_eq!(pause_for(u64::MAX, Duration::ZERO), PAUSE_MAX);
    }

    #[test]
    fn a_longer_backlog_speeds_the_lane_up() {
        let pace = |seconds| pace(3_000.0, Duration::from_secs(seconds));
        assert_eq!([0, 15, 30, 45].map(pace), [320.0, 640.0, 1_280.0, 2_560.0]);
        assert_eq!(pace(BACKLOG_MAX.as_secs()), 16_000.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_bundle_is_followed_by_a_pause_that_grows_with_urgent_members() {
        let urgent = urgent();
        let mut priority = PriorityYield::to(Arc::clone(&urgent));
        let start = Instant::now();
        priority.after(PAUSE_AFTER - 1).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        priority.after(1).await;
        assert_eq!(start.elapsed(), PAUSE_MIN);
        urgent.record(1_000, 0);
        priority.after(PAUSE_AFTER).await;
        let long = start.elapsed() - PAUSE_MIN;
        assert!((PAUSE_MAX - PAUSE_MIN..=PAUSE_MAX).contains(&long), "{long:?}");
        let before = start.elapsed();
        priority.after(PAUSE_AFTER).await;
        assert_eq!(start.elapsed() - before, PAUSE_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backlogged_lane_catches_up_and_yields_again_afterwards() {
        const URGENT_EACH_SECOND: f64 = 3_000.0;
        let urgent = urgent();
        let mut priority = PriorityYield::to(Arc::clone(&urgent));
        let mut pause = async || {
            let start = Instant::now();
            priority.after(PAUSE_AFTER).await;
            urgent.record((start.elapsed().as_secs_f64() * URGENT_EACH_SECOND) as usize, 0);
            start.elapsed()
        };
        let start = Instant::now();
        let mut taken = 0;
        while start.elapsed() < 2 * BACKLOG_MAX {
            pause().await;
            taken += PAUSE_AFTER;
        }
        assert!(taken > 180 * 4_000, "{taken} in three minutes");
        tokio::time::sleep(BACKLOG_MAX).await;
        urgent.record(1_000, 0);
        assert_eq!(pause().await, PAUSE_MAX);
    }
}
