//! The heads of members, one type per hop. Field names are part of the format and tested against golden files.

use postrider_model::attempt::Outcome;
use postrider_model::breaker::BreakerStatement;
use postrider_model::delivery::{DeliveryStatus, DiscardReason, HeldReason, Lane, Trigger};
use postrider_model::event::{Attributes, EventType, Origin};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, SendId, TenantId};
use postrider_model::limits::DELIVERY_LIFETIME;
use postrider_model::time::{Day, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::headers::HeaderList;

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Ingest -> fan-out and event-log: an event that was accepted. Payload: `data`, the producer's bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AcceptedEvent {
    /// The event.
    pub id: EventId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When it happened: the producer's time, otherwise the time of acceptance.
    pub occurred_at: UnixMillis,
    /// When ingest accepted it.
    pub accepted_at: UnixMillis,
    /// The day of `accepted_at`, which is its partition.
    pub event_day: Day,
    /// Where it was caused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub origin: Origin,
    /// What it can be filtered by.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attributes: Attributes,
    /// A JSON object of the product, next to `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    /// The lane of its deliveries.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lane: Lane,
    /// The configuration version that ingest knew. Fan-out waits until it has it too, so that it knows the tenant of a new
    /// tenant's first event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub config_version: i64,
    /// The ingest process that accepted it: a random number per process start.
    pub instance: u64,
    /// Its number in that process, without gaps other than the reported ones.
    pub sequence: u64,
    /// How often it was given to fan-out again: the first epoch of its deliveries.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// A hash of the content, for events with an id or key of the producer: `c1.…`. Hashes with different prefixes are not
    /// comparable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// Whether ingest claimed the id for this content before publishing. `false` with a `content_hash`: the database did not
    /// answer, so the recorder claims it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub claimed: bool,
    /// W3C trace context of the publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl AcceptedEvent {
    /// An event without attributes and metadata that happened when it was accepted: `number` is its sequence number in the
    /// process `instance`.
    pub fn new(event: EventRef, instance: u64, number: u64) -> Self {
        let EventRef { id, day, event_type, tenant, accepted_at } = event;
        Self {
            id,
            tenant,
            event_type,
            occurred_at: accepted_at,
            accepted_at,
            event_day: day,
            origin: Origin::default(),
            attributes: Attributes::default(),
            metadata: None,
            lane: Lane::default(),
            config_version: 0,
            instance,
            sequence: number,
            epoch: 0,
            content_hash: None,
            claimed: false,
            traceparent: None,
        }
    }

    /// What identifies it.
    pub fn event_ref(&self) -> EventRef {
        EventRef {
            id: self.id.clone(),
            day: self.event_day,
            event_type: self.event_type.clone(),
            tenant: self.tenant,
            accepted_at: self.accepted_at,
        }
    }
}

/// What every message about an event says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRef {
    /// The event.
    pub id: EventId,
    /// Its partition.
    pub day: Day,
    /// Its type.
    pub event_type: EventType,
    /// Its tenant.
    pub tenant: TenantId,
    /// When ingest accepted it.
    pub accepted_at: UnixMillis,
}

impl EventRef {
    /// An event accepted at this time.
    pub fn new(tenant: TenantId, id: EventId, event_type: EventType, accepted_at: UnixMillis) -> Self {
        Self { id, day: accepted_at.day(), event_type, tenant, accepted_at }
    }
}

/// Ingest -> recorder, after the events that it covers: which sequence numbers of a process are settled. No payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumbersReport {
    /// The process, as its events name it.
    pub instance: u64,
    /// Every number below this one was confirmed, or reported as given up.
    pub settled_below: u64,
    /// Numbers given up since the last report: their producers got a 503 or no answer. The broker may have these events.
    pub given_up: Vec<u64>,
    /// When this was reported.
    pub reported_at: UnixMillis,
}

/// Identifies a delivery in every message about it. Enough to write its row without any other message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRef {
    /// The delivery.
    pub id: DeliveryId,
    /// Its event.
    pub event: EventId,
    /// The event's partition.
    pub event_day: Day,
    /// The event's type.
    pub event_type: EventType,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Its own partition. For [`Generation::First`] the event's day, so that a decision repeated after midnight names the same
    /// row; otherwise the day of `created_at`.
    pub delivery_day: Day,
    /// When fan-out, or a retry, replay or test, created it.
    pub created_at: UnixMillis,
    /// When the event was accepted. The latency to the first attempt counts from here.
    pub accepted_at: UnixMillis,
    /// Its generation.
    pub generation: Generation,
    /// The delivery that this one repeats, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<DeliveryId>,
}

impl DeliveryRef {
    /// The delivery of an event to an endpoint in this generation, which repeats no other delivery.
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
            origin: None,
        }
    }

    /// What identifies its event.
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

/// The terms of a granted slot. The slot is a time of the wall clock; these keep it right when that clock is changed, or the
/// endpoint's rate is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotTerms {
    /// The time left until the slot when the delivery returns from the ladder: an upper bound, independent of the clock.
    pub left_ms: u64,
    /// The interval between slots at the rate that granted it, in microseconds; 0 for a slot not granted by a rate.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval_us: u64,
}

/// Fan-out, API and dispatcher -> lanes and ladder: an attempt to make. Payload: the rendered body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryTask {
    /// The delivery.
    pub delivery: DeliveryRef,
    /// When the event happened; some profiles have it in a header.
    pub occurred_at: UnixMillis,
    /// The number of the attempt, starting with 1.
    pub number: u16,
    /// How many attempts up to this one were manual retries of the pending delivery. They do not count for the retry schedule.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extra: u16,
    /// The cause of the attempt.
    pub trigger: Trigger,
    /// Copies with an epoch below the minimum of an intervention are dropped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// Its own lane.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lane: Lane,
    /// The first configuration version that has the endpoint as it was matched.
    pub config_version: i64,
    /// When it is discarded.
    pub expires_at: UnixMillis,
    /// When the attempt is due by the retry schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<UnixMillis>,
    /// The slot that the endpoint's rate or concurrency limit granted, if it is held for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_at: Option<UnixMillis>,
    /// The terms of `slot_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_terms: Option<SlotTerms>,
    /// When it was first held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<UnixMillis>,
    /// Why it was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_reason: Option<HeldReason>,
    /// How often it was republished without an attempt; the broker's count restarts each time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub moves: u16,
    /// W3C trace context of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
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
            delivery,
        }
    }
}

/// Dispatcher -> ladder: a delivery whose body is too large to wait there. No payload: the event is rendered again for the attempt.
/// A type of its own, so that a service that does not know it cannot mistake it for a [`DeliveryTask`] with an empty body.
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
    /// Their number.
    pub bytes: u32,
    /// Their SHA-256, in lowercase hex.
    pub sha256: String,
}

impl BodyReference {
    /// The reference of these bytes.
    pub fn of(body: &[u8]) -> Self {
        use std::fmt::Write;
        let mut sha256 = String::with_capacity(64);
        for byte in Sha256::digest(body) {
            let _ = write!(sha256, "{byte:02x}");
        }
        Self { bytes: u32::try_from(body.len()).unwrap_or(u32::MAX), sha256 }
    }

    /// Whether these are the bytes.
    pub fn names(&self, body: &[u8]) -> bool {
        body.len() == self.bytes as usize && Self::of(body) == *self
    }
}

/// Fan-out -> recorder: the decision about an event. One per event, even if nothing matched. No payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The event.
    pub event: EventId,
    /// Its partition.
    pub event_day: Day,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its type.
    pub event_type: EventType,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// When it was decided; the `created_at` of the deliveries.
    pub decided_at: UnixMillis,
    /// The configuration version that it was decided with.
    pub config_version: i64,
    /// The first epoch of the deliveries: the event's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// The endpoints that matched. Their delivery ids follow from [`DeliveryId::derive`] with [`Generation::First`];
    /// their `delivery_day` is `event_day`, their `created_at` is `decided_at`.
    pub matched: Vec<EndpointId>,
    /// When the deliveries are discarded.
    pub expires_at: UnixMillis,
}

/// The record of one HTTP request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Its number in the delivery, starting with 1.
    pub number: u16,
    /// The id of this request.
    pub send_id: SendId,
    /// The cause of the attempt.
    pub trigger: Trigger,
    /// When it started.
    pub started_at: UnixMillis,
    /// Microseconds from the start to the end of the response's body.
    pub duration_us: u64,
    /// Microseconds from the start to the response's status line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<u64>,
    /// Milliseconds that it was held before, by rate, concurrency or a slow endpoint.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_ms: u64,
    /// Why it was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_reason: Option<HeldReason>,
    /// Milliseconds that it started after it was due; retries only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<u64>,
    /// The URL of the request.
    pub url: String,
    /// The response's status code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed, or which part of the response is missing, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Headers of the request, in order. The endpoint's own headers and token values are masked.
    pub request_headers: HeaderList,
    /// Headers of the response, bounded.
    #[serde(default, skip_serializing_if = "HeaderList::is_empty")]
    pub response_headers: HeaderList,
}

/// Dispatcher -> recorder: the state of a delivery after an attempt, or after it was dropped without one. Payload: an excerpt of the
/// response's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutcomeReport {
    /// The delivery.
    pub delivery: DeliveryRef,
    /// Its epoch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// The attempt, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptRecord>,
    /// The delivery's status now.
    pub status: DeliveryStatus,
    /// When it was reported.
    pub at: UnixMillis,
    /// When the next attempt is due, while pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<UnixMillis>,
    /// Why it was discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discard_reason: Option<DiscardReason>,
    /// The response asks for the endpoint to be disabled (410, in profiles with that rule).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disable_endpoint: bool,
    /// When the delivery is discarded.
    pub expires_at: UnixMillis,
    /// W3C trace context of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// API -> dispatcher over RPC: make this attempt now and answer with its [`OutcomeReport`]. Payload: the rendered body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCall {
    /// The attempt to make; its generation is [`Generation::Test`].
    pub task: DeliveryTask,
    /// When the caller stops waiting for the answer.
    pub answer_by: UnixMillis,
}

/// Services -> services, through the hints exchange: reaches the processes that run now. No payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// Statements of a dispatcher about breakers.
    Breakers(Vec<BreakerStatement>),
    /// A process has just subscribed: send everything again.
    Ask,
    /// The configuration version that a role of a process has applied.
    Applied(AppliedVersion),
}

/// A service that keeps a copy of the configuration in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceRole {
    /// Accepts events.
    Ingest,
    /// Matches events with subscriptions.
    Fanout,
    /// Sends deliveries.
    Dispatcher,
    /// Serves the management API.
    Api,
}

/// The configuration version that one role of one process works with. Sent when it changes and every second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedVersion {
    /// The process, under the name that `GET /v1/system` lists.
    pub instance: String,
    /// The role in that process.
    pub role: ServiceRole,
    /// The configuration version.
    pub version: i64,
}
