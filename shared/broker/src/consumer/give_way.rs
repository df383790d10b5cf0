//! Giving way: what is not urgent leaves the processors to what is.
//!
//! Bursts go to lanes of their own, but lanes share the machine: a thousand attempts that begin at once keep it busy for as long as they take,
//! and the urgent wait. So the consumer of such a lane takes a few, and pauses for as long as the urgent members that came meanwhile are
//! likely to need. Without any, it pauses for a moment only.

use std::sync::Arc;
use std::time::Duration;

use crate::depth::Consumed;

/// Members taken between two pauses: what a full bundle holds.
const PAUSE_AFTER: usize = 32;
/// Shortest pause, for what is urgent and not here yet.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// What an urgent member is given: about what it takes of a machine with two processors, all services, broker and database included.
const PAUSE_FOR_EACH: Duration = Duration::from_micros(800);
/// Longest pause. However much is urgent, 32 members are taken this often.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Which consumer gives way to which.
pub(super) struct GivesWay {
    urgent: Arc<Consumed>,
    /// What had been taken of the urgent at the last pause.
    seen: u64,
    /// Members taken since.
    taken: usize,
}

impl GivesWay {
    pub(super) fn to(urgent: Arc<Consumed>) -> Self {
        Self { seen: urgent.members(), urgent, taken: 0 }
    }

    /// So many members were taken: pauses if they are enough.
    pub(super) async fn took(&mut self, members: usize) {
        self.taken += members;
        if self.taken < PAUSE_AFTER {
            return;
        }
        self.taken = 0;
        let urgent = self.urgent.members();
        let since = urgent - std::mem::replace(&mut self.seen, urgent);
        tokio::time::sleep(pause_for(since)).await;
    }
}

/// How long to pause when so many urgent members were taken since the last pause.
fn pause_for(urgent: u64) -> Duration {
    let each = PAUSE_FOR_EACH.saturating_mul(u32::try_from(urgent).unwrap_or(u32::MAX));
    PAUSE_MIN.saturating_add(each).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members a second that are taken beside so many urgent ones a second: each pause is as long as the one before made it.
    fn pace_beside(urgent_per_second: f64) -> f64 {
        let mut pause = PAUSE_MIN;
        for _ in 0..1_000 {
            pause = pause_for((pause.as_secs_f64() * urgent_per_second) as u64);
        }
        PAUSE_AFTER as f64 / pause.as_secs_f64()
    }

    #[test]
    fn the_more_is_urgent_the_less_is_taken_and_never_nothing() {
        assert_eq!(pace_beside(0.0), 16_000.0);
        assert_eq!(pace_beside(100.0), 16_000.0);
        let (some, much) = (pace_beside(800.0), pace_beside(3_000.0));
        assert!((5_000.0..12_000.0).contains(&some), "{some}");
        assert_eq!(much, 320.0);
        assert_eq!(pause_for(u64::MAX), PAUSE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_bundle_is_followed_by_a_pause_which_is_long_where_much_is_urgent() {
        let urgent = Arc::new(Consumed::new(::metrics::Counter::noop()));
        let mut gives_way = GivesWay::to(Arc::clone(&urgent));
        let begun = tokio::time::Instant::now();
        gives_way.took(PAUSE_AFTER - 1).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        gives_way.took(1).await;
        assert_eq!(begun.elapsed(), PAUSE_MIN);
        urgent.took(1_000);
        gives_way.took(PAUSE_AFTER).await;
        assert_eq!(begun.elapsed(), PAUSE_MIN + PAUSE_MAX);
        gives_way.took(PAUSE_AFTER).await;
        assert_eq!(begun.elapsed(), PAUSE_MIN + PAUSE_MAX + PAUSE_MIN);
    }
}
