//! The interventions that apply to deliveries in flight. A dispatcher drops the stale copies of a delivery.
//!
//! All interventions arrive through the configuration feed and are kept in memory. While the database is unavailable, new
//! interventions do not arrive: a delivery that was cancelled in the meantime is still sent.

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

/// Time for which an intervention is kept: one day longer than the maximum lifetime of a delivery.
const KEEP: Duration = DELIVERY_LIFETIME.saturating_add(Duration::from_secs(86_400));

/// What to do with a stale copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    /// Drop the copy, because a newer copy is in flight.
    Superseded,
    /// Drop the copy, and report that the delivery ended with this status and reason.
    Ended(DeliveryStatus, Option<DiscardReason>),
}

#[derive(Debug, Clone, Copy)]
struct MinimumEpoch {
    /// The day of the event that the intervention is about, if known.
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

/// All current interventions.
#[derive(Debug, Default)]
pub(crate) struct Interventions {
    table: RwLock<Table>,
    /// Whether an intervention exists. If none exists, a check needs no lock.
    any: AtomicBool,
}

impl Interventions {
    /// Replaces all interventions.
    pub(crate) fn replace(&self, all: Vec<Intervention>, now: UnixMillis) {
        let mut table = self.table.write();
        *table = Table::default();
        self.merge(&mut table, all, now);
    }

    /// Adds interventions, and removes expired ones.
    pub(crate) fn add(&self, new: Vec<Intervention>, now: UnixMillis) {
        self.merge(&mut self.table.write(), new, now);
    }

    fn merge(&self, table: &mut Table, new: Vec<Intervention>, now: UnixMillis) {
        for Intervention { target, event_day, least_epoch, reason, created_at, .. } in new {
            let minimum = MinimumEpoch { event_day, epoch: least_epoch, reason, created_at };
            match target {
                InterventionTarget::Delivery(id) => raise(&mut table.deliveries, id, minimum),
                InterventionTarget::Replay(id) => raise(&mut table.replays, id, minimum),
                InterventionTarget::Event(tenant, id) => raise(table.events.entry(tenant).or_default(), id, minimum),
            }
        }
        let is_current = |minimum: &MinimumEpoch| minimum.created_at.until(now) <= KEEP;
        table.deliveries.retain(|_, minimum| is_current(minimum));
        table.replays.retain(|_, minimum| is_current(minimum));
        table.events.retain(|_, events| {
            events.retain(|_, minimum| is_current(minimum));
            !events.is_empty()
        });
        let none = table.deliveries.is_empty() && table.replays.is_empty() && table.events.is_empty();
        self.any.store(!none, Ordering::Release);
    }

    /// Returns what to do with this copy if it is stale, else `None`.
    pub(crate) fn check(&self, task: &DeliveryTask) -> Option<Stale> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let table = self.table.read();
        let delivery = &task.delivery;
        let of_replay = match &delivery.generation {
            Generation::Replay(id) => table.replays.get(id),
            _ => None,
        };
        let of_event = || table.events.get(&delivery.tenant).and_then(|events| events.get(&delivery.event));
        // An intervention with another day is about an earlier event that had this id.
        let same_event = |minimum: &MinimumEpoch| minimum.event_day.is_none_or(|day| day == delivery.event_day);
        let stale = |minimum: &&MinimumEpoch| task.epoch < minimum.epoch && same_event(minimum);
        // A newer fan-out decision supersedes only the deliveries of the event itself, not retries, replays or tests. It
        // publishes no second copy of a delivery that is in a line.
        let concerns = |minimum: &&MinimumEpoch| {
            minimum.reason != InterventionReason::Superseded
                || (delivery.generation == Generation::First && task.turn.is_none())
        };
        // The most specific intervention applies: the delivery's, otherwise the replay's, otherwise the event's.
        let minimum = table
            .deliveries
            .get(&delivery.id)
            .filter(stale)
            .or_else(|| of_replay.filter(stale))
            .or_else(|| of_event().filter(stale).filter(concerns))?;
        Some(match minimum.reason.reports() {
            None => Stale::Superseded,
            Some(status) => {
                let expunged = (status == DeliveryStatus::Discarded).then_some(DiscardReason::Expunged);
                Stale::Ended(status, expunged)
            }
        })
    }
}

fn raise<K: std::hash::Hash + Eq>(map: &mut HashMap<K, MinimumEpoch>, key: K, minimum: MinimumEpoch) {
    let known = map.entry(key).or_insert(minimum);
    if minimum.epoch >= known.epoch || minimum.event_day != known.event_day {
        *known = minimum;
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
    fn only_a_copy_below_the_minimum_epoch_is_stale() {
        let task = testing::task();
        let of = InterventionTarget::Delivery(task.delivery.id);
        let interventions = Interventions::default();
        assert_eq!(interventions.check(&task), None);
        interventions.replace(vec![intervention(of, 2, InterventionReason::Superseded)], testing::NOW);
        assert_eq!(interventions.check(&task), Some(Stale::Superseded));
        assert_eq!(interventions.check(&DeliveryTask { epoch: 1, ..task.clone() }), Some(Stale::Superseded));
        assert_eq!(interventions.check(&DeliveryTask { epoch: 2, ..task }), None);
        assert_eq!(interventions.check(&testing::task()), None);
    }

    #[test]
    fn interventions_end_the_deliveries_of_their_target() {
        let replay = ReplayId::generate();
        let mut task = testing::task();
        let check = |target: InterventionTarget, reason, task: &DeliveryTask, expected| {
            let interventions = Interventions::default();
            interventions.replace(vec![intervention(target, 1, reason)], testing::NOW);
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
    fn a_new_decision_supersedes_only_first_deliveries() {
        let mut task = testing::task();
        let event = InterventionTarget::Event(task.delivery.tenant, task.delivery.event.clone());
        let interventions = Interventions::default();
        interventions.replace(vec![intervention(event, 1, InterventionReason::Superseded)], testing::NOW);
        assert_eq!(interventions.check(&task), Some(Stale::Superseded));
        assert_eq!(interventions.check(&DeliveryTask { epoch: 1, ..task.clone() }), None);
        task.delivery.generation = Generation::Retry(RetryId::generate());
        assert_eq!(interventions.check(&task), None);
    }

    #[test]
    fn an_intervention_does_not_concern_a_later_event_with_the_same_id() {
        let task = testing::task();
        let (id, day) = (task.delivery.event.clone(), task.delivery.event_day);
        let targets =
            [InterventionTarget::Delivery(task.delivery.id), InterventionTarget::Event(task.delivery.tenant, id)];
        for target in targets {
            let about = |event_day| {
                let interventions = Interventions::default();
                let made = intervention(target.clone(), 1, InterventionReason::Cancelled);
                interventions.replace(vec![Intervention { event_day, ..made }], testing::NOW);
                interventions.check(&task).is_some()
            };
            assert!(about(None) && about(Some(day)), "{target:?}");
            assert!(!about(Some(day.plus_days(-40))), "{target:?}");
        }
    }

    #[test]
    fn a_snapshot_replaces_all_and_expired_ones_are_removed() {
        let task = testing::task();
        let of = |epoch| {
            let target = InterventionTarget::Delivery(task.delivery.id);
            vec![intervention(target, epoch, InterventionReason::Cancelled)]
        };
        let interventions = Interventions::default();
        interventions.replace(of(3), testing::NOW);
        interventions.add(of(1), testing::NOW);
        assert!(interventions.check(&DeliveryTask { epoch: 2, ..task.clone() }).is_some(), "an epoch never decreases");
        interventions.replace(Vec::new(), testing::NOW);
        assert_eq!(interventions.check(&task), None);
        interventions.add(of(1), testing::NOW);
        interventions.add(Vec::new(), testing::NOW.plus(KEEP + Duration::from_secs(1)));
        assert_eq!(interventions.check(&task), None);
    }
}
