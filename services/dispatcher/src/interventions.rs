//! What people decided about deliveries that are already on their way: a copy that is stale is dropped when it surfaces.
//!
//! Kept whole in memory, fed by the configuration feed. While the database is away it is as old as the feed: a delivery
//! that was cancelled meanwhile goes out. A duplicate beats a loss.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use postrider_model::delivery::{DeliveryStatus, DiscardReason};
use postrider_model::ids::{DeliveryId, EventId, Generation, ReplayId, TenantId};
use postrider_model::limits::DELIVERY_LIFETIME;
use postrider_model::time::{Day, UnixMillis};
use postrider_store::intervention::{Intervention, InterventionReason, InterventionTarget};
use postrider_wire::messages::DeliveryTask;

/// An intervention is forgotten when no delivery that it is about can be pending any more, and a day later.
const KEEP: Duration = DELIVERY_LIFETIME.saturating_add(Duration::from_secs(86_400));

/// What becomes of a stale copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    /// A newer copy is on its way: drop it without a word.
    Superseded,
    /// Drop it and report that it ended so.
    Ended(DeliveryStatus, Option<DiscardReason>),
}

#[derive(Debug, Clone, Copy)]
struct MinimumEpoch {
    /// The event's day, where that is known.
    event_day: Option<Day>,
    epoch: u32,
    reason: InterventionReason,
    created_at: UnixMillis,
}

#[derive(Debug, Default)]
struct Table {
    deliveries: HashMap<DeliveryId, MinimumEpoch>,
    replays: HashMap<ReplayId, MinimumEpoch>,
    events: HashMap<TenantId, HashMap<EventId, MinimumEpoch>>,
}

/// Every intervention that still matters.
#[derive(Debug, Default)]
pub(crate) struct Interventions {
    known: RwLock<Table>,
    /// Whether there is any, so that most deliveries need no lock.
    some: AtomicBool,
}

impl Interventions {
    /// Takes what the feed said; `snapshot`: it is everything.
    pub(crate) fn apply(&self, changes: Vec<Intervention>, snapshot: bool, now: UnixMillis) {
        let mut known = self.known.write();
        if snapshot {
            *known = Table::default();
        }
        for Intervention { target, event_day, least_epoch, reason, created_at, .. } in changes {
            let least = MinimumEpoch { event_day, epoch: least_epoch, reason, created_at };
            match target {
                InterventionTarget::Delivery(id) => raise(&mut known.deliveries, id, least),
                InterventionTarget::Replay(id) => raise(&mut known.replays, id, least),
                InterventionTarget::Event(tenant, id) => raise(known.events.entry(tenant).or_default(), id, least),
            }
        }
        let matters = |least: &MinimumEpoch| least.created_at.until(now) <= KEEP;
        known.deliveries.retain(|_, least| matters(least));
        known.replays.retain(|_, least| matters(least));
        known.events.retain(|_, events| {
            events.retain(|_, least| matters(least));
            !events.is_empty()
        });
        let none = known.deliveries.is_empty() && known.replays.is_empty() && known.events.is_empty();
        self.some.store(!none, Ordering::Release);
    }

    /// Whether this copy is stale, and what becomes of it then.
    pub(crate) fn check(&self, task: &DeliveryTask) -> Option<Stale> {
        if !self.some.load(Ordering::Acquire) {
            return None;
        }
        let known = self.known.read();
        let delivery = &task.delivery;
        let of_replay = match &delivery.generation {
            Generation::Replay(id) => known.replays.get(id),
            _ => None,
        };
        let of_event = || known.events.get(&delivery.tenant).and_then(|events| events.get(&delivery.event));
        // What is about an earlier event of the same id is not about this one.
        let same_event = |least: &MinimumEpoch| least.event_day.is_none_or(|day| day == delivery.event_day);
        let stale = |least: &&MinimumEpoch| task.epoch < least.epoch && same_event(least);
        // What supersedes an event's deliveries is a newer decision about it, which later generations have nothing to do with.
        let concerns = |least: &&MinimumEpoch| {
            least.reason != InterventionReason::Superseded || delivery.generation == Generation::First
        };
        // The nearest decision counts: a delivery that was cancelled is cancelled whatever else happened to its event.
        let least = known
            .deliveries
            .get(&delivery.id)
            .filter(stale)
            .or_else(|| of_replay.filter(stale))
            .or_else(|| of_event().filter(stale).filter(concerns))?;
        Some(match least.reason.reports() {
            None => Stale::Superseded,
            Some(status) => {
                let expunged = (status == DeliveryStatus::Discarded).then_some(DiscardReason::Expunged);
                Stale::Ended(status, expunged)
            }
        })
    }
}

fn raise<K: std::hash::Hash + Eq>(map: &mut HashMap<K, MinimumEpoch>, key: K, least: MinimumEpoch) {
    let known = map.entry(key).or_insert(least);
    if least.epoch >= known.epoch || least.event_day != known.event_day {
        *known = least;
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::ids::RetryId;

    use super::*;
    use crate::testing;

    fn intervention(target: InterventionTarget, least_epoch: u32, reason: InterventionReason) -> Intervention {
        Intervention { target, event_day: None, least_epoch, reason, created_at: testing::NOW, version: 1 }
    }

    #[test]
    fn a_copy_below_the_least_epoch_is_stale_and_others_are_not() {
        let task = testing::task();
        let of = InterventionTarget::Delivery(task.delivery.id);
        let interventions = Interventions::default();
        assert_eq!(interventions.check(&task), None);
        interventions.apply(vec![intervention(of, 2, InterventionReason::Superseded)], true, testing::NOW);
        assert_eq!(interventions.check(&task), Some(Stale::Superseded));
        assert_eq!(interventions.check(&DeliveryTask { epoch: 1, ..task.clone() }), Some(Stale::Superseded));
        assert_eq!(interventions.check(&DeliveryTask { epoch: 2, ..task }), None);
        assert_eq!(interventions.check(&testing::task()), None);
    }

    #[test]
    fn each_target_reaches_its_deliveries_and_each_reason_has_its_end() {
        let replay = ReplayId::generate();
        let mut task = testing::task();
        let check = |target: InterventionTarget, reason, task: &DeliveryTask, expected| {
            let interventions = Interventions::default();
            interventions.apply(vec![intervention(target, 1, reason)], true, testing::NOW);
            assert_eq!(interventions.check(task), expected);
        };
        use InterventionReason::{Cancelled, Expunged};
        let cancelled = Some(Stale::Ended(DeliveryStatus::Cancelled, None));
        let expunged = Some(Stale::Ended(DeliveryStatus::Discarded, Some(DiscardReason::Expunged)));
        let event = InterventionTarget::Event(task.delivery.tenant, task.delivery.event.clone());
        check(InterventionTarget::Delivery(task.delivery.id), Cancelled, &task, cancelled);
        check(event.clone(), Expunged, &task, expunged);
        let elsewhere = InterventionTarget::Event(TenantId::generate(), task.delivery.event.clone());
        check(elsewhere, Expunged, &task, None);
        check(InterventionTarget::Replay(replay), Cancelled, &task, None);
        task.delivery.generation = Generation::Replay(replay);
        check(InterventionTarget::Replay(replay), Cancelled, &task, cancelled);
        check(event, Expunged, &task, expunged);
        task.delivery.generation = Generation::Retry(RetryId::generate());
        check(InterventionTarget::Replay(replay), Cancelled, &task, None);
    }

    #[test]
    fn an_event_that_is_decided_again_supersedes_its_first_deliveries_alone() {
        let mut task = testing::task();
        let event = InterventionTarget::Event(task.delivery.tenant, task.delivery.event.clone());
        let interventions = Interventions::default();
        interventions.apply(vec![intervention(event, 1, InterventionReason::Superseded)], true, testing::NOW);
        assert_eq!(interventions.check(&task), Some(Stale::Superseded));
        assert_eq!(interventions.check(&DeliveryTask { epoch: 1, ..task.clone() }), None);
        task.delivery.generation = Generation::Retry(RetryId::generate());
        assert_eq!(interventions.check(&task), None);
    }

    #[test]
    fn an_intervention_about_an_earlier_event_of_the_same_id_is_not_about_a_later_one() {
        let task = testing::task();
        let (id, day) = (task.delivery.event.clone(), task.delivery.event_day);
        let targets =
            [InterventionTarget::Delivery(task.delivery.id), InterventionTarget::Event(task.delivery.tenant, id)];
        for target in targets {
            let about = |event_day| {
                let interventions = Interventions::default();
                let made = intervention(target.clone(), 1, InterventionReason::Cancelled);
                interventions.apply(vec![Intervention { event_day, ..made }], true, testing::NOW);
                interventions.check(&task).is_some()
            };
            assert!(about(None) && about(Some(day)), "{target:?}");
            assert!(!about(Some(day.plus_days(-40))), "{target:?}");
        }
    }

    #[test]
    fn a_snapshot_replaces_and_what_no_longer_matters_is_forgotten() {
        let task = testing::task();
        let of = |epoch| {
            let target = InterventionTarget::Delivery(task.delivery.id);
            vec![intervention(target, epoch, InterventionReason::Cancelled)]
        };
        let interventions = Interventions::default();
        interventions.apply(of(3), true, testing::NOW);
        interventions.apply(of(1), false, testing::NOW);
        assert!(interventions.check(&DeliveryTask { epoch: 2, ..task.clone() }).is_some(), "epochs never fall");
        interventions.apply(Vec::new(), true, testing::NOW);
        assert_eq!(interventions.check(&task), None);
        interventions.apply(of(1), false, testing::NOW);
        interventions.apply(Vec::new(), false, testing::NOW.plus(KEEP + Duration::from_secs(1)));
        assert_eq!(interventions.check(&task), None);
    }
}
