//! Messages about events: an event that was accepted, the decision about it, and the numbers of ingest's events.

use postrider_model::delivery::Lane;
use postrider_model::delivery_window::DeliveryWindow;
use postrider_model::event::{Attributes, EventType, Origin};
use postrider_model::ids::{EndpointId, EventId, TenantId};
use postrider_model::time::{Day, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::is_zero;

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
    /// When the first attempts of its deliveries are due; `None`: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<UnixMillis>,
    /// No attempt of its deliveries starts at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixMillis>,
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
            deliver_at: None,
            expires_at: None,
            config_version: 0,
            instance,
            sequence: number,
            epoch: 0,
            content_hash: None,
            claimed: false,
            traceparent: None,
        }
    }

    /// When its deliveries may be attempted.
    pub fn window(&self) -> DeliveryWindow {
        DeliveryWindow { deliver_at: self.deliver_at, expires_at: self.expires_at }
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
    /// The endpoints that matched. [`DeliveryId::derive`](postrider_model::ids::DeliveryId::derive) with
    /// [`Generation::First`](postrider_model::ids::Generation::First) computes the ids of their deliveries. Their `delivery_day`
    /// is `event_day`, and their `created_at` is `decided_at`.
    pub matched: Vec<EndpointId>,
    /// When the first attempts are due, if that is after `decided_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<UnixMillis>,
    /// The endpoints of `matched` that are paused. Fan-out publishes no delivery to them: their deliveries are set aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paused: Vec<EndpointId>,
    /// Number of bytes of the event's payload, if `paused` is not empty.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub payload_bytes: u32,
    /// When the deliveries are discarded.
    pub expires_at: UnixMillis,
}
