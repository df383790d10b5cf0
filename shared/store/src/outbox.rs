//! The outbox: what was committed here and is still to be published by whoever committed it, or by the sweeper after a
//! crash in between. Publishing twice is harmless, the ids are the same.

use std::time::Duration;

use bytes::Bytes;
use postrider_model::delivery::Lane;
use postrider_model::ids::{DeliveryId, TenantId};
use postrider_wire::messages::DeliveryTask;

use crate::config::EndpointDocument;
use crate::error::StoreError;
use crate::log::EventRow;
use crate::pool::Store;

/// One entry's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxId(pub i64);

/// A delivery to be published to its lane: render the event for the document, publish, then [`Store::outbox_done`].
#[derive(Debug, Clone)]
pub struct PendingDelivery {
    /// The entry.
    pub outbox: OutboxId,
    /// The head of the message.
    pub task: DeliveryTask,
    /// The event to be rendered.
    pub event: EventRow,
    /// The endpoint as the delivery was decided by (not as it is now).
    pub document: EndpointDocument,
    /// The profile of the tenant now.
    pub profile: String,
}

/// An operational event to be published to the operator's own tenant.
#[derive(Debug, Clone)]
pub struct OperationalEvent {
    /// The entry; the event's id is made from it, so that publishing twice is one event.
    pub outbox: OutboxId,
    /// The tenant that it is about.
    pub about: TenantId,
    /// Its type, such as `endpoint.disabled`.
    pub event_type: String,
    /// Its `data`, JSON.
    pub data: Bytes,
}

/// What is in the outbox.
#[derive(Debug, Clone)]
pub enum OutboxEntry {
    /// A delivery.
    Delivery(Box<PendingDelivery>),
    /// An operational event.
    Event(OperationalEvent),
}

/// Why a delivery cannot be tried again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The store failed, or there is no such delivery.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event's payload was expunged: there is nothing to send.
    #[error("the event's payload was expunged")]
    Expunged,
    /// The event is not on record (not yet, or its day was dropped).
    #[error("the event is not on record")]
    NoEvent,
    /// The endpoint was deleted.
    #[error("the endpoint was deleted")]
    EndpointDeleted,
}

impl From<tokio_postgres::Error> for RetryError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Asks for a delivery again. Terminal: a new generation, pending, whose id is in the answer's task. Pending: the
    /// same delivery at once, by a new epoch that makes the waiting copy stale.
    ///
    /// The answer is committed: publish it, then call [`Store::outbox_done`]; after a crash the sweeper does.
    ///
    /// # Errors
    /// See [`RetryError`]; [`StoreError::NotFound`] also for another tenant's.
    pub async fn retry_delivery(
        &self,
        tenant: Option<TenantId>,
        id: DeliveryId,
        lane: Lane,
    ) -> Result<PendingDelivery, RetryError> {
        let _ = (tenant, id, lane);
        todo!()
    }

    /// Entries that nobody published for `older_than`, claimed for a minute so that two sweepers do not do the same.
    ///
    /// # Errors
    /// The database's.
    pub async fn outbox_claim(&self, limit: u32, older_than: Duration) -> Result<Vec<OutboxEntry>, StoreError> {
        let _ = (limit, older_than);
        todo!()
    }

    /// The entries were published (or never can be): forget them.
    ///
    /// # Errors
    /// The database's.
    pub async fn outbox_done(&self, ids: &[OutboxId]) -> Result<(), StoreError> {
        let _ = ids;
        todo!()
    }
}
