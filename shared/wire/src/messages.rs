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
    /// When it happened: the producer's time, or the time of acceptance if the producer gave none.
    pub occurred_at: UnixMillis,
    /// When ingest accepted it.
    pub accepted_at: UnixMillis,
    /// The day of `accepted_at`. The event is stored in the partition of this day.
    pub event_day: Day,
    /// Whether an API call or the dashboard caused it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub origin: Origin,
    /// The attributes by which it can be filtered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attributes: Attributes,
    /// A JSON object that the product sends next to `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    /// The lane of its deliveries.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lane: Lane,
    /// The configuration version that ingest used. Fan-out waits until it has this version or a later one, so that it has
    /// received the tenant before the first event of a new tenant.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub config_version: i64,
    /// The ingest process that accepted it, as a random number that the process draws at its start.
    pub instance: u64,
    /// The event's number in that process, counted without gaps. [`NumbersReport`] contains the numbers that were given up.
    pub sequence: u64,
    /// Number of times that the event was published to fan-out again. Its deliveries start with this epoch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// A hash of the content, such as `c1.…`, if the producer supplied an id or idempotency key. Hashes with different prefixes
    /// are not comparable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// Whether ingest claimed the id for this content before it published the event. If `content_hash` is set but the id is not
    /// claimed, the database did not answer, and the recorder claims the id.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub claimed: bool,
    /// W3C trace context of the publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl AcceptedEvent {
    /// An event without attributes and metadata that happened when it was accepted. `number` is its sequence number in the
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

    /// The fields that identify the event.
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

/// Identifies an event in the messages about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRef {
    /// The event.
    pub id: EventId,
    /// The day of its partition.
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

/// Ingest -> recorder: the sequence numbers of a process that are confirmed or given up. The message follows the events with
/// these numbers in the same queue. No payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumbersReport {
    /// The process: the `instance` of its events.
    pub instance: u64,
    /// Every number below this number was confirmed, or was reported as given up.
    pub settled_below: u64,
    /// Numbers given up since the last report: their producers got a 503 or no answer. The broker may nevertheless have these
    /// events.
    pub given_up: Vec<u64>,
    /// When the report was made.
    pub reported_at: UnixMillis,
}

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
    /// Number of attempts of the pending delivery that are manual retries, including this attempt. The retry schedule does not
    /// count them.
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
    /// When the attempt is due according to the retry schedule.
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

/// Fan-out -> recorder: the decision about an event. There is one decision per event, even if nothing matched. No payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The event.
    pub event: EventId,
    /// The day of the event's partition.
    pub event_day: Day,
    /// The event's tenant.
    pub tenant: TenantId,
    /// The event's type.
    pub event_type: EventType,
    /// When the event was accepted.
    pub accepted_at: UnixMillis,
    /// When fan-out decided. The deliveries have this time as their `created_at`.
    pub decided_at: UnixMillis,
    /// The configuration version that fan-out used for the decision.
    pub config_version: i64,
    /// The epoch with which the deliveries start: the event's epoch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// The endpoints that matched. [`DeliveryId::derive`] with [`Generation::First`] computes the ids of their deliveries.
    /// Their `delivery_day` is `event_day`, and their `created_at` is `decided_at`.
    pub matched: Vec<EndpointId>,
    /// When the deliveries are discarded.
    pub expires_at: UnixMillis,
}

/// One HTTP request, its response and its outcome.
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
    /// Number of milliseconds for which the delivery was held before this attempt, by rate, concurrency or a slow endpoint.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_ms: u64,
    /// Why the delivery was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_reason: Option<HeldReason>,
    /// Number of milliseconds between the due time and the start of the attempt; retries only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<u64>,
    /// The URL of the request.
    pub url: String,
    /// The response's status code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// Why the attempt failed, or which part of the response is missing, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Headers of the request, in order. The endpoint's own headers and token values are masked.
    pub request_headers: HeaderList,
    /// Headers of the response, up to a limit.
    #[serde(default, skip_serializing_if = "HeaderList::is_empty")]
    pub response_headers: HeaderList,
}

/// Dispatcher -> recorder: the state of a delivery after an attempt, or after it was dropped without an attempt. Payload: an
/// excerpt of the response's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutcomeReport {
    /// The delivery.
    pub delivery: DeliveryRef,
    /// The delivery's epoch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// The attempt, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptRecord>,
    /// The delivery's new status.
    pub status: DeliveryStatus,
    /// When this status was reported.
    pub at: UnixMillis,
    /// When the next attempt is due, if the delivery is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<UnixMillis>,
    /// Why the delivery was discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discard_reason: Option<DiscardReason>,
    /// Whether the response requires that the endpoint is disabled (410, in profiles with that rule).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disable_endpoint: bool,
    /// When the delivery is discarded.
    pub expires_at: UnixMillis,
    /// W3C trace context of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// API -> dispatcher over RPC: a request to make this attempt now and to answer with its [`OutcomeReport`]. Payload: the
/// rendered body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCall {
    /// The attempt to make. Its generation is [`Generation::Test`].
    pub task: DeliveryTask,
    /// When the caller stops waiting for the answer.
    pub answer_by: UnixMillis,
}

/// Services -> every running process, through the hints exchange. No payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// Statements of a dispatcher about breakers.
    Breakers(Vec<BreakerStatement>),
    /// A process has just subscribed and asks the other processes to send all of their hints again.
    Ask,
    /// The configuration version that one role of one process has applied.
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

/// The configuration version that one role of one process has applied. The hint is sent after each change and every second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedVersion {
    /// The name of the process, as `GET /v1/system` lists it.
    pub instance: String,
    /// The role in that process.
    pub role: ServiceRole,
    /// The configuration version.
    pub version: i64,
}
