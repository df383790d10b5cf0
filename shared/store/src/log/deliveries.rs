//! Deliveries and their attempts.

use bytes::Bytes;
use postrider_model::attempt::Outcome;
use postrider_model::delivery::{DeliveryStatus, DiscardReason, HeldReason, Trigger};
use postrider_model::event::EventType;
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, SendId, TenantId};
use postrider_model::time::{Day, UnixMillis};

use super::{Page, PageRequest};
use crate::error::StoreError;
use crate::pool::Store;

/// Which deliveries a caller wants; what is `None` does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryFilter {
    /// For this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Of this event.
    pub event: Option<EventId>,
    /// In this state.
    pub status: Option<DeliveryStatus>,
    /// Whose last attempt was answered with this code.
    pub status_code: Option<u16>,
    /// Of events of this type.
    pub event_type: Option<EventType>,
    /// Made at or after this.
    pub from: Option<UnixMillis>,
    /// Made before this.
    pub to: Option<UnixMillis>,
    /// Tests only, or none of them.
    pub test: Option<bool>,
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its id.
    pub id: DeliveryId,
    /// Its partition.
    pub delivery_day: Day,
    /// Its event.
    pub event: EventId,
    /// The event's partition.
    pub event_day: Day,
    /// The event's type.
    pub event_type: EventType,
    /// Whose.
    pub tenant: TenantId,
    /// For which endpoint.
    pub endpoint: EndpointId,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Why it was discarded.
    pub discard_reason: Option<DiscardReason>,
    /// Which round of delivering the event to the endpoint.
    pub generation: Generation,
    /// The delivery that it repeats.
    pub origin: Option<DeliveryId>,
    /// Its epoch.
    pub epoch: u32,
    /// Number of its last attempt; 0 before the first.
    pub number: u16,
    /// Status code of its last attempt.
    pub status_code: Option<u16>,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When its event was accepted.
    pub accepted_at: UnixMillis,
    /// When the next attempt is due, while pending.
    pub next_attempt_at: Option<UnixMillis>,
    /// When its first attempt ended.
    pub first_attempt_at: Option<UnixMillis>,
    /// When it came to its end.
    pub finished_at: Option<UnixMillis>,
    /// After this it is discarded.
    pub expires_at: UnixMillis,
}

impl DeliveryRow {
    /// Whether it is a test call's.
    pub fn is_test(&self) -> bool {
        matches!(self.generation, Generation::Test(_))
    }
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Its number in the delivery.
    pub number: u16,
    /// The POST.
    pub send_id: SendId,
    /// What caused it.
    pub trigger: Trigger,
    /// When it began.
    pub started_at: UnixMillis,
    /// From its beginning to the end of the answer, microseconds.
    pub duration_us: u64,
    /// From its beginning to the answer's headers, microseconds.
    pub first_byte_us: Option<u64>,
    /// How long it was held before, milliseconds.
    pub held_ms: u64,
    /// Why it was held.
    pub held_reason: Option<HeldReason>,
    /// How much later than due it began, milliseconds.
    pub late_ms: Option<u64>,
    /// Where it was sent.
    pub url: String,
    /// The answer's status code.
    pub status_code: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed, for people.
    pub error: Option<String>,
    /// Headers of the request.
    pub request_headers: Vec<(String, String)>,
    /// Headers of the answer.
    pub response_headers: Vec<(String, String)>,
    /// The beginning of the answer's body.
    pub response_excerpt: Bytes,
    /// When the next attempt was due after this one.
    pub next_attempt_at: Option<UnixMillis>,
}

impl Store {
    /// Deliveries, newest first. `tenant` `None`: every tenant's.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or the database's.
    pub async fn list_deliveries(
        &self,
        tenant: Option<TenantId>,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>, StoreError> {
        let _ = (tenant, filter, page);
        todo!()
    }

    /// One delivery; `None` also when it is another tenant's than `tenant` (`None`: anyone's).
    ///
    /// # Errors
    /// The database's.
    pub async fn get_delivery(
        &self,
        tenant: Option<TenantId>,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRow>, StoreError> {
        let _ = (tenant, id);
        todo!()
    }

    /// The attempts of a delivery, in their order.
    ///
    /// # Errors
    /// The database's.
    pub async fn attempts(&self, id: DeliveryId, day: Day) -> Result<Vec<AttemptRow>, StoreError> {
        let _ = (id, day);
        todo!()
    }
}
