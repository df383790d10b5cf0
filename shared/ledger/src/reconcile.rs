//! The rules of reconciling: which overdue deliveries count as lost, and how they are repaired.

use bytes::Bytes;
use postrider_model::delivery::{DiscardReason, Lane, Trigger};
use postrider_model::ids::{DeliveryId, Generation};
use postrider_model::time::{Day, UnixMillis};
use postrider_store::reconcile::{DueDelivery, LostDelivery, Repair, Repaired, UndecidedEvent};
use postrider_store::{Store, StoreError};
use postrider_wire::messages::{AcceptedEvent, DeliveryTask};

use crate::attempt::next_attempt;

/// Decides which overdue deliveries count as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// A delivery that was due before this time is lost, unless it counts as held.
    pub before: UnixMillis,
    /// A delivery that was due before this time is lost, even if it counts as held.
    pub at_latest: UnixMillis,
    /// Maximum number of held deliveries. Of the deliveries that were due before `before`, the latest ones count as held, up to
    /// this number.
    pub held_max: usize,
}

/// Repairs up to `limit` lost deliveries of a delivery day: puts each into the outbox with a new epoch, or discards it if its
/// payload or endpoint is missing. Returns `None` if another recorder is reconciling.
///
/// # Errors
/// An error of the database; then nothing was changed.
pub async fn repair_overdue(
    store: &Store,
    day: Day,
    overdue: Overdue,
    limit: usize,
) -> Result<Option<Repaired>, StoreError> {
    let read = overdue.held_max.saturating_add(limit);
    store.repair_overdue(day, overdue.before, read, |due| lost(due, overdue, limit), repair).await
}

/// Selects the lost deliveries among the first `limit` deliveries in `due`, which is sorted longest overdue first; see
/// [`Overdue`].
fn lost(due: &[DueDelivery], overdue: Overdue, limit: usize) -> Vec<DeliveryId> {
    let beyond_held = due.len().saturating_sub(overdue.held_max);
    let is_lost =
        |(index, due): &(usize, &DueDelivery)| *index < beyond_held || due.next_attempt_at < overdue.at_latest;
    due.iter().take(limit).enumerate().filter(is_lost).map(|(_, due)| due.id).collect()
}

fn repair(lost: &LostDelivery, now: UnixMillis) -> Repair {
    match lost {
        LostDelivery { has_endpoint: false, .. } => Repair::Discard(DiscardReason::EndpointDeleted),
        // An expired delivery with a payload goes to a dispatcher, which discards it after it has compared its own clock too.
        LostDelivery { has_payload: false, row, .. } if row.expires_at <= now => {
            Repair::Discard(DiscardReason::Expired)
        }
        LostDelivery { has_payload: false, .. } => Repair::Discard(DiscardReason::Expunged),
        _ => Repair::Publish(Box::new(next_task(lost))),
    }
}

/// The attempt that a lost delivery waits for, as a copy in the delivery's next epoch.
pub(crate) fn next_task(lost: &LostDelivery) -> DeliveryTask {
    let LostDelivery { row, occurred_at, lane, extra, .. } = lost;
    let own_lane = lane.unwrap_or_default();
    let generation = row.delivery.generation;
    let (trigger, lane) = match generation {
        _ if row.number > 0 => (Trigger::Retry, own_lane),
        Generation::First => (Trigger::First, own_lane),
        Generation::Replay(_) => (Trigger::Replay, Lane::Bulk),
        Generation::Retry(_) | Generation::Test(_) => (Trigger::Manual, Lane::Live),
    };
    // A delivery that an event caused uses the endpoint's version of the decision; a retry or replay uses the current version.
    let decided = lost.decided_version.filter(|_| generation == Generation::First);
    let task = next_attempt(row, *extra, trigger, lane, decided.unwrap_or(lost.current_version));
    let occurred_at = occurred_at.unwrap_or(row.delivery.accepted_at);
    DeliveryTask { occurred_at, turn: lost.turn.clone(), ..task }
}

/// The message that sends an undecided event to fan-out again, and its payload.
pub fn accepted_again(undecided: UndecidedEvent) -> (AcceptedEvent, Bytes) {
    let UndecidedEvent { summary, metadata, data, instance, sequence, epoch } = undecided;
    let event = summary.event_ref();
    let event = AcceptedEvent {
        occurred_at: summary.occurred_at,
        origin: summary.origin,
        attributes: summary.attributes,
        metadata,
        lane: summary.lane,
        deliver_at: summary.deliver_at,
        expires_at: summary.expires_at,
        epoch,
        ..AcceptedEvent::new(event, instance, sequence)
    };
    (event, data)
}
