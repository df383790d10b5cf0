//! Chooses how a delivery waits for the `deliver_at` of its event. Does no IO.

use std::time::Duration;

use postrider_broker::{Rung, ladder};
use postrider_model::delivery::Trigger;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::DeliveryTask;

/// Up to this delay the rungs are at most 1 s apart, so that a wait on the next longer rung is at most 1 s late.
const EXACT_MAX: Duration = Duration::from_secs(20);

/// Returns the rung on which a first attempt waits next, or `None` if it is due.
///
/// A long wait takes several rungs, each at most as long as the remaining time: the longest rung is about a day, and rungs
/// above 20 s are up to 5% apart. Only the last rung may be longer than the remaining time, so the attempt is never early and
/// starts at most about a second late.
pub(crate) fn next_rung(task: &DeliveryTask, now: UnixMillis) -> Option<Rung> {
    // A retry is due when it returns from its rung: its delay does not depend on this process's clock.
    let due_at = task.due_at.filter(|_| task.number == 1 && task.trigger == Trigger::First)?;
    let left = now.until(due_at);
    if left.is_zero() {
        return None;
    }
    let floor = ladder::rung_at_most(left).filter(|_| left > EXACT_MAX);
    Some(floor.unwrap_or_else(|| ladder::rung_at_least(left)))
}

#[cfg(test)]
mod tests {
    use postrider_model::limits::DELIVER_AT_AHEAD_MAX;

    use super::*;
    use crate::testing;

    fn scheduled(left: Duration) -> DeliveryTask {
        DeliveryTask { due_at: Some(testing::NOW.plus(left)), ..testing::task() }
    }

    #[test]
    fn only_a_first_attempt_before_its_time_waits() {
        let wait = Duration::from_secs(10);
        let millis = |task: &DeliveryTask, now| next_rung(task, now).map(Rung::millis);
        assert_eq!(millis(&testing::task(), testing::NOW), None);
        assert_eq!(millis(&scheduled(wait), testing::NOW), Some(10_000));
        assert_eq!(millis(&scheduled(wait), testing::NOW.plus(wait)), None);
        assert_eq!(millis(&scheduled(wait), testing::NOW.plus(wait).minus(Duration::from_millis(1))), Some(250));
        let retry = DeliveryTask { number: 2, trigger: Trigger::Retry, ..scheduled(wait) };
        assert_eq!(millis(&retry, testing::NOW), None);
        let manual = DeliveryTask { trigger: Trigger::Manual, ..scheduled(wait) };
        assert_eq!(millis(&manual, testing::NOW), None);
    }

    #[test]
    fn a_wait_is_never_early_at_most_a_second_late_and_takes_few_rungs() {
        let longest = u64::try_from(DELIVER_AT_AHEAD_MAX.as_millis()).unwrap();
        // Short waits in steps of 7 ms, long ones in steps of about 9 minutes.
        for left in (1..=60_000).step_by(7).chain((60_000..=longest).step_by(541_009)).chain([longest]) {
            let left = Duration::from_millis(left);
            let task = scheduled(left);
            let (mut now, mut rungs) = (testing::NOW, 0);
            while let Some(rung) = next_rung(&task, now) {
                now = now.plus(rung.delay());
                rungs += 1;
            }
            let waited = testing::NOW.until(now);
            assert!(waited >= left && waited <= left + Duration::from_secs(1), "{waited:?} of {left:?}");
            assert!(rungs <= 12, "{rungs} rungs for {left:?}");
        }
    }
}
