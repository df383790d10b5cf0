//! The rules of retries that a person requests: which attempt follows, or why the retry is refused.

use postrider_model::delivery::{EndpointStatus, Lane, Trigger};
use postrider_model::ids::{DeliveryId, Generation, RetryId, TenantId};
use postrider_model::limits::{ATTEMPT_TIMEOUT_MAX, DELIVERY_LIFETIME};
use postrider_model::time::UnixMillis;
use postrider_store::manual_retry::{EndpointState, Retried, RetryPlan, RetryState};
use postrider_store::outbox::SourceMissing;
use postrider_store::{Store, StoreError};
use postrider_wire::messages::{DeliveryRef, DeliveryTask};

use crate::attempt::next_attempt;

/// Why a delivery cannot be retried.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The store failed, or the delivery does not exist.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event, its payload or the endpoint is missing.
    #[error(transparent)]
    Missing(#[from] SourceMissing),
    /// The endpoint is not active, so the delivery would be discarded.
    #[error("the endpoint is {status}{}: {} it first", reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default(),
        if *status == EndpointStatus::Paused { "resume" } else { "activate" })]
    EndpointOff {
        /// Its status.
        status: EndpointStatus,
        /// The reason, if Postrider disabled it.
        reason: Option<String>,
    },
}

/// Retries a delivery. For a terminal delivery, a delivery of a new generation is created; the returned task contains its id. A
/// pending delivery is attempted immediately, in a new epoch that makes the waiting copy stale. If an attempt is already due,
/// nothing changes.
///
/// The caller publishes the result. If it crashes before that, the outbox relay publishes the result.
///
/// # Errors
/// See [`RetryError`]. A delivery of another tenant is [`StoreError::NotFound`].
pub async fn retry_delivery(
    store: &Store,
    tenant: Option<TenantId>,
    id: DeliveryId,
    lane: Lane,
) -> Result<Retried, RetryError> {
    store.retry_delivery(tenant, id, |state| decide(state, lane)).await
}

/// Retries different deliveries in one edit, each as [`retry_delivery`] does. The results are in the order of `ids`; a delivery
/// that is refused does not affect the others.
///
/// # Errors
/// An error of the database; then no delivery is retried.
pub async fn retry_deliveries(
    store: &Store,
    tenant: Option<TenantId>,
    ids: &[DeliveryId],
    lane: Lane,
) -> Result<Vec<Result<Retried, RetryError>>, RetryError> {
    store.retry_deliveries(tenant, ids, |state| decide(state, lane)).await
}

fn decide(state: &RetryState, lane: Lane) -> Result<RetryPlan, RetryError> {
    let source = state.source.as_ref().map_err(|missing| *missing)?;
    match &state.endpoint {
        None => return Err(SourceMissing::EndpointDeleted.into()),
        Some(EndpointState { status: EndpointStatus::Active, .. }) => {}
        Some(EndpointState { status, disabled_reason }) => {
            return Err(RetryError::EndpointOff { status: *status, reason: disabled_reason.clone() });
        }
    }
    // A delivery behind others in a line waits for its turn.
    if state.is_behind {
        return Ok(RetryPlan::UnderWay(state.row.delivery.id));
    }
    if let Some(id) = under_way(state) {
        return Ok(RetryPlan::UnderWay(id));
    }
    let RetryState { row, now, .. } = state;
    let extra = state.extra.saturating_add(u16::from(row.number > 0));
    let mut task = next_attempt(row, extra, Trigger::Manual, lane, state.config_version);
    if row.status.is_terminal() || state.holds_line {
        let generation = Generation::Retry(RetryId::generate());
        let again = DeliveryRef::new(row.delivery.event_ref(), row.delivery.endpoint, generation, *now);
        task.delivery = DeliveryRef { repeats: Some(row.delivery.id), ..again };
        (task.number, task.extra, task.epoch) = (1, 0, 0);
        task.expires_at = now.plus(DELIVERY_LIFETIME);
    } else {
        task.turn.clone_from(&state.turn);
    }
    let task = DeliveryTask { occurred_at: source.event.summary.occurred_at, ..task };
    Ok(RetryPlan::Attempt(Box::new(task)))
}

/// Returns the delivery whose pending attempt a retry would duplicate: this delivery if its attempt became due less than one
/// attempt timeout ago, or a retry of this delivery that has not been attempted yet.
fn under_way(state: &RetryState) -> Option<DeliveryId> {
    if state.row.status.is_terminal() || state.holds_line {
        return state.unattempted_retry;
    }
    // A recorder may be publishing it at this moment, in the epoch that the retry would have.
    if state.row.set_aside_bytes.is_some() {
        return Some(state.row.delivery.id);
    }
    // A delivery that is overdue by more than the maximum timeout of an attempt is waiting, not being attempted.
    let is_due = |due: UnixMillis| due <= state.now && state.now < due.plus(ATTEMPT_TIMEOUT_MAX);
    state.row.next_attempt_at.is_some_and(is_due).then_some(state.row.delivery.id)
}
