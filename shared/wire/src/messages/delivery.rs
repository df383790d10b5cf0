//! Messages about deliveries: the attempts to make.

use postrider_model::delivery::{HeldReason, Lane, Trigger};
use postrider_model::event::EventType;
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, TenantId};
use postrider_model::limits::DELIVERY_LIFETIME;
use postrider_model::time::{Day, UnixMillis};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{EventRef, Turn, is_zero};

/// Identifies a delivery in every message about it. The fields are sufficient to write the delivery's row without another
/// message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRef {
    /// The delivery.
    pub id: DeliveryId,
    /// Its event.
    pub event: EventId,
    /// The day of the event's partition.
    pub event_day: Day,
    /// The event's type.
    pub event_type: EventType,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// The day of the delivery's partition. For [`Generation::First`] it is the event's day, so that a decision that is
    /// repeated after midnight refers to the same row; otherwise it is the day of `created_at`.
    pub delivery_day: Day,
    /// When the delivery was created by fan-out, a retry, a replay or a test.
    pub created_at: UnixMillis,
    /// When the event was accepted. The latency to the first attempt is measured from this time.
    pub accepted_at: UnixMillis,
    /// Its generation.
    pub generation: Generation,
    /// The delivery that this delivery repeats, if any.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "origin")]
    pub repeats: Option<DeliveryId>,
}

impl DeliveryRef {
    /// A delivery of this generation, of an event to an endpoint. It repeats no other delivery.
    pub fn new(event: EventRef, endpoint: EndpointId, generation: Generation, created_at: UnixMillis) -> Self {
        Self {
            id: DeliveryId::derive(event.tenant, &event.id, endpoint, &generation),
            event: event.id,
            event_day: event.day,
            event_type: event.event_type,
            tenant: event.tenant,
            endpoint,
            delivery_day: if generation == Generation::First { event.day } else { created_at.day() },
            created_at,
            accepted_at: event.accepted_at,
            generation,
            repeats: None,
        }
    }

    /// The fields that identify its event.
    pub fn event_ref(&self) -> EventRef {
        EventRef {
            id: self.event.clone(),
            day: self.event_day,
            event_type: self.event_type.clone(),
            tenant: self.tenant,
            accepted_at: self.accepted_at,
        }
    }
}

/// How a slot was granted. The slot is a time of the wall clock. With these values the slot can be corrected if that clock is
/// changed, or if the endpoint's rate is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotTerms {
    /// Maximum number of milliseconds until the slot at the time when the delivery returns from the ladder, even if the clock
    /// was set back.
    pub left_ms: u64,
    /// The microseconds between slots at the rate that granted this slot; 0 if no rate granted it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval_us: u64,
}

/// Fan-out, API and dispatcher -> lanes and ladder: an attempt to make. Payload: the rendered body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryTask {
    /// The delivery.
    pub delivery: DeliveryRef,
    /// When the event happened. Some profiles send this time in a header.
    pub occurred_at: UnixMillis,
    /// The number of the attempt, starting with 1.
    pub number: u16,
    /// Number of attempts of the pending delivery that the retry schedule does not count, including this attempt: manual
    /// retries, and the attempts after a batch that was too large.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extra: u16,
    /// The cause of the attempt.
    pub trigger: Trigger,
    /// The delivery's epoch. A copy is dropped if its epoch is below the minimum that an intervention sets.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// The lane to which the delivery belongs. It may be in the slow lane instead while its endpoint is slow or broken.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lane: Lane,
    /// The configuration version of the decision. The dispatcher needs the endpoint at this version or a later one.
    pub config_version: i64,
    /// When the delivery is discarded.
    pub expires_at: UnixMillis,
    /// When the attempt is due: according to the retry schedule, or for a first attempt at the event's `deliver_at`. A first
    /// attempt waits on the ladder until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<UnixMillis>,
    /// The slot that the endpoint's rate or concurrency limit granted, if the delivery is held for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_at: Option<UnixMillis>,
    /// How `slot_at` was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_terms: Option<SlotTerms>,
    /// When the delivery was first held for this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<UnixMillis>,
    /// Why the delivery was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_reason: Option<HeldReason>,
    /// Number of times that the delivery was republished without an attempt. The broker's own count starts again at each
    /// publish.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub moves: u16,
    /// W3C trace context of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Its turn, if it belongs to a line of an ordered endpoint. The dispatcher then reports its end to the sequencer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
}

impl DeliveryTask {
    /// The first attempt of a new delivery, in the live lane.
    pub fn first_attempt(
        delivery: DeliveryRef,
        trigger: Trigger,
        occurred_at: UnixMillis,
        config_version: i64,
    ) -> Self {
        Self {
            occurred_at,
            number: 1,
            extra: 0,
            trigger,
            epoch: 0,
            lane: Lane::default(),
            config_version,
            expires_at: delivery.created_at.plus(DELIVERY_LIFETIME),
            due_at: None,
            slot_at: None,
            slot_terms: None,
            held_since: None,
            held_reason: None,
            moves: 0,
            traceparent: None,
            turn: None,
            delivery,
        }
    }
}

/// Dispatcher -> ladder: a delivery whose body is too large to wait on the ladder. No payload: the event is rendered again for
/// the attempt. A service of a release without this type cannot mistake it for a [`DeliveryTask`] with an empty body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedTask {
    /// The attempt to make.
    pub task: Box<DeliveryTask>,
    /// The rendered body.
    pub body: BodyReference,
}

/// Identifies bytes by length and hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyReference {
    /// The number of bytes.
    pub bytes: u32,
    /// The SHA-256 of the bytes, in lowercase hex.
    pub sha256: String,
}

impl BodyReference {
    /// The length and hash of these bytes.
    pub fn of(body: &[u8]) -> Self {
        use std::fmt::Write;
        let mut sha256 = String::with_capacity(64);
        for byte in Sha256::digest(body) {
            let _ = write!(sha256, "{byte:02x}");
        }
        Self { bytes: u32::try_from(body.len()).unwrap_or(u32::MAX), sha256 }
    }

    /// Whether `body` has this length and hash.
    pub fn names(&self, body: &[u8]) -> bool {
        body.len() == self.bytes as usize && Self::of(body) == *self
    }
}

/// API -> dispatcher over RPC: a request to make this attempt now and to answer with its [`OutcomeReport`](super::OutcomeReport). Payload: the
/// rendered body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCall {
    /// The attempt to make. Its generation is [`Generation::Test`].
    pub task: DeliveryTask,
    /// When the caller stops waiting for the answer.
    pub answer_by: UnixMillis,
}
