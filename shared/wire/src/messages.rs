//! The heads of the members, one type a hop. Field names are part of the format (snapshot-tested).

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
    /// Whose.
    pub tenant: TenantId,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When it happened, as the producer says, else when it was accepted.
    pub occurred_at: UnixMillis,
    /// When ingest accepted it.
    pub accepted_at: UnixMillis,
    /// The day of `accepted_at`: its partition.
    pub event_day: Day,
    /// Where it was caused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub origin: Origin,
    /// What it can be filtered by.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attributes: Attributes,
    /// What the product puts beside `data`, a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    /// The lane its deliveries take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lane: Lane,
    /// The configuration that ingest knew: fan-out waits until it knows as much, so that a new tenant's first event
    /// never meets a fan-out that has not heard of the tenant.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub config_version: i64,
    /// Which ingest process accepted it: random per process start.
    pub instance: u64,
    /// Its number in that process, without gaps but for those that ingest reports.
    pub sequence: u64,
    /// 0, and one more each time that it had to be given to fan-out again: its deliveries' first epoch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// What the event says, as a hash, for producers that name an id or a key: `c1.…`, or of older releases 32 hex digits. Hashes
    /// of two forms cannot be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// Whether ingest claimed the id for this content before it published the event. `false` with a `content_hash`: the
    /// database did not answer, and the recorder claims it.
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

/// Ingest -> recorder, behind the events that it tells of: which of a process's numbers are settled. No payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumbersReport {
    /// The process, as its events name it.
    pub instance: u64,
    /// Every number below this one was confirmed, or was given up and is reported so.
    pub settled_below: u64,
    /// Numbers that were given up since the last report: their producers were told 503, or nothing. The broker may have them all
    /// the same.
    pub given_up: Vec<u64>,
    /// When this was reported.
    pub reported_at: UnixMillis,
}

/// What identifies a delivery in every message about it: enough to write its row without having seen any other message.
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
    /// Whose.
    pub tenant: TenantId,
    /// For which endpoint.
    pub endpoint: EndpointId,
    /// The delivery's own partition. For [`Generation::First`] it is the event's day, so that a decision repeated after
    /// midnight names the same row; else the day of `created_at`.
    pub delivery_day: Day,
    /// When fan-out (or a retry, replay or test) made it.
    pub created_at: UnixMillis,
    /// When the event was accepted: the start of the promise "accepted to first attempt".
    pub accepted_at: UnixMillis,
    /// Which round of delivering this event to this endpoint.
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

/// The terms of a granted slot. The slot itself is a moment of the wall clock; these keep it right when that clock is set, and
/// when the endpoint's rate is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotTerms {
    /// How far away the slot is when the delivery comes back from the ladder; it is no further away then, whatever the clock says.
    pub left_ms: u64,
    /// The distance of two slots by the rate that it was granted at, microseconds; 0 for a slot that no rate granted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval_us: u64,
}

/// Fan-out, API and dispatcher -> lanes and ladder: an attempt to be made. Payload: the rendered body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryTask {
    /// The delivery.
    pub delivery: DeliveryRef,
    /// When the event happened (headers of some profiles carry it).
    pub occurred_at: UnixMillis,
    /// The number of the attempt to be made; the first is 1.
    pub number: u16,
    /// How many of its attempts, this one included, people asked for while it was pending. They use up none of the retry
    /// schedule.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extra: u16,
    /// What causes it.
    pub trigger: Trigger,
    /// Copies with an epoch below the least valid one of an intervention are dropped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// The lane it belongs to.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lane: Lane,
    /// Least configuration version that knows the endpoint as it was matched.
    pub config_version: i64,
    /// After this it is discarded.
    pub expires_at: UnixMillis,
    /// When the attempt is due: retries, by the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<UnixMillis>,
    /// The moment that the endpoint's rate or concurrency granted, when it is held for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_at: Option<UnixMillis>,
    /// What `slot_at` was granted for: it holds as long as that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_terms: Option<SlotTerms>,
    /// When holding it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<UnixMillis>,
    /// Why it was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_reason: Option<HeldReason>,
    /// How often it was republished without an attempt (the broker's own count restarts with each).
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

/// Dispatcher -> ladder: a delivery whose body is too large to wait there. No payload: whoever makes the attempt renders the event
/// again. Not a [`DeliveryTask`] with a field more, so that a release that does not know it cannot take it for one with an empty body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedTask {
    /// The attempt to be made.
    pub task: Box<DeliveryTask>,
    /// The rendered body.
    pub body: BodyReference,
}

/// Names bytes without holding them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyReference {
    /// How many they are.
    pub bytes: u32,
    /// Their SHA-256, in lowercase hex.
    pub sha256: String,
}

impl BodyReference {
    /// Names these bytes.
    pub fn of(body: &[u8]) -> Self {
        use std::fmt::Write;
        let mut sha256 = String::with_capacity(64);
        for byte in Sha256::digest(body) {
            // Writing to a string cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Self { bytes: u32::try_from(body.len()).unwrap_or(u32::MAX), sha256 }
    }

    /// Whether it names these bytes.
    pub fn names(&self, body: &[u8]) -> bool {
        body.len() == self.bytes as usize && Self::of(body) == *self
    }
}

/// Fan-out -> recorder: what was decided about an event. One per event, even when nothing matched. No payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The event.
    pub event: EventId,
    /// Its partition.
    pub event_day: Day,
    /// Whose.
    pub tenant: TenantId,
    /// Its type.
    pub event_type: EventType,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// When this was decided; the deliveries' `created_at`.
    pub decided_at: UnixMillis,
    /// The configuration that it was decided by.
    pub config_version: i64,
    /// The epoch that the deliveries begin with: the event's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// The endpoints that matched. Their delivery ids follow from [`DeliveryId::derive`] with [`Generation::First`];
    /// their `delivery_day` is `event_day`, their `created_at` is `decided_at`.
    pub matched: Vec<EndpointId>,
    /// After this the deliveries are discarded.
    pub expires_at: UnixMillis,
}

/// The record of one POST.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Its number in the delivery; the first is 1.
    pub number: u16,
    /// This very POST.
    pub send_id: SendId,
    /// What caused it.
    pub trigger: Trigger,
    /// When it began.
    pub started_at: UnixMillis,
    /// From its beginning to the end of the answer's body, microseconds.
    pub duration_us: u64,
    /// From its beginning to the answer's status line, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<u64>,
    /// How long it was held before, by rate, concurrency or a slow endpoint, milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_ms: u64,
    /// Why it was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_reason: Option<HeldReason>,
    /// How much later than due it began, milliseconds (retries only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<u64>,
    /// Where it was sent.
    pub url: String,
    /// The answer's status code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed, or what is missing of its answer, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Headers of the request in the order they were written; the endpoint's own and token values are masked.
    pub request_headers: HeaderList,
    /// Headers of the answer, bounded.
    #[serde(default, skip_serializing_if = "HeaderList::is_empty")]
    pub response_headers: HeaderList,
}

/// Dispatcher -> recorder: where a delivery stands after an attempt, or after it was dropped without one.
/// Payload: the excerpt of the response's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutcomeReport {
    /// The delivery.
    pub delivery: DeliveryRef,
    /// Its epoch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// The attempt, when one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptRecord>,
    /// Where the delivery stands now.
    pub status: DeliveryStatus,
    /// When it was reported.
    pub at: UnixMillis,
    /// When the next attempt is due, while pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<UnixMillis>,
    /// Why it was discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discard_reason: Option<DiscardReason>,
    /// The answer asks for the endpoint to be switched off (410 in profiles that say so).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disable_endpoint: bool,
    /// After this the delivery is discarded.
    pub expires_at: UnixMillis,
    /// W3C trace context of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// API -> dispatcher over RPC: make this attempt now and answer with its report. Payload: the rendered body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCall {
    /// The attempt to be made; its generation is [`Generation::Test`].
    pub task: DeliveryTask,
    /// After this nobody waits for the answer.
    pub answer_by: UnixMillis,
}

/// Services -> services, by the hints exchange: told to whoever runs now, lost to whoever does not. No payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// What dispatchers know about breakers.
    Breakers(Vec<BreakerStatement>),
    /// Somebody has just begun to listen: tell everything.
    Ask,
    /// Which configuration version a role of a process has applied.
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

/// The configuration version that one role of one process works with. Sent when it changes, and repeated every second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedVersion {
    /// The process, under the name that `GET /v1/system` lists.
    pub instance: String,
    /// The role in that process.
    pub role: ServiceRole,
    /// The configuration version.
    pub version: i64,
}
