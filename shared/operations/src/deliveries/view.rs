//! Deliveries and attempts as answers show them.
//!
//! These types differ from the store's rows, which have other units (microseconds), headers as JSON text, and fields that only
//! the pipeline needs, such as the epoch and the day of the partition.

use bytes::Bytes;
use postrider_model::attempt::Outcome;
use postrider_model::batch::BatchPlace;
use postrider_model::delivery::{DeliveryStatus, DiscardReason, HeldReason, Trigger};
use postrider_model::delivery_phase::DeliveryPhase;
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, SendId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_store::history::{AttemptRow, DeliveryRow};
use postrider_store::lines::PlaceInLine as StoredPlace;
use postrider_wire::headers::HeaderList;
use serde::Serialize;
use utoipa::ToSchema;

use super::next_attempt::NextAttemptReason;

/// A delivery: one event for one endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its event.
    pub event_id: EventId,
    /// Its endpoint.
    pub endpoint_id: EndpointId,
    /// The event's type.
    #[serde(rename = "type")]
    #[schema(example = "email.bounced")]
    pub event_type: String,
    /// Its status.
    pub status: DeliveryStatus,
    /// What the delivery waits for, while it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<DeliveryPhase>,
    /// What holds the delivery back in the phase `held`: `breaker` or `rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_reason: Option<HeldReason>,
    /// Why it was discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discard_reason: Option<DiscardReason>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the next attempt is due, while the delivery is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The time at which the delivery is discarded if it is still pending.
    pub expires_at: Timestamp,
    /// Why the delivery exists: `first`, `retry:<id>`, `replay:<id>` or `test:<id>`.
    #[schema(value_type = String, example = "first")]
    pub generation: Generation,
    /// The delivery that this one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_id: Option<DeliveryId>,
    /// Whether it belongs to a test call.
    pub test: bool,
    /// The number of attempts so far.
    pub attempt_count: u16,
    /// Status code of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// How the last attempt ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// A delivery with its attempts and its body.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryDetail {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// Its place among the deliveries with the same key, while it is pending or holds its key, if the endpoint is ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<PlaceInLine>,
    /// Its attempts.
    pub attempts: Vec<Attempt>,
    /// The body, rendered again for this answer; `null` if the event's payload was expunged or has expired.
    #[schema(required = true, example = "{\"type\":\"email.bounced\"}")]
    pub body: Option<String>,
}

/// The place of a delivery of an ordered endpoint among the deliveries with the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PlaceInLine {
    /// The key of its event.
    #[schema(example = "subscriber-17")]
    pub key: String,
    /// The number of deliveries before it, which have not ended.
    pub ahead: u64,
    /// The number of deliveries behind it.
    pub behind: u64,
    /// The first delivery of the key, for which the others wait.
    pub first_delivery_id: DeliveryId,
    /// Whether the first delivery failed, and a person must decide before the others are attempted.
    pub held: bool,
}

impl From<StoredPlace> for PlaceInLine {
    fn from(place: StoredPlace) -> Self {
        let StoredPlace { key, first, ahead, behind, is_held, .. } = place;
        Self { key, ahead, behind, first_delivery_id: first, held: is_held }
    }
}

/// An attempt: one HTTP request.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attempt {
    /// Its number in the delivery; the first is 1.
    pub number: u16,
    /// The id of this request.
    pub send_id: SendId,
    /// What caused the attempt.
    pub trigger: Trigger,
    /// When it started.
    pub started_at: Timestamp,
    /// The time from the start of the attempt to the end of the response body, in milliseconds.
    pub duration_ms: f64,
    /// Parts of the duration.
    pub timing: Timing,
    /// For how long the delivery was held before the attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_ms: Option<u64>,
    /// Why the delivery was held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_reason: Option<HeldReason>,
    /// The URL that the request was sent to.
    #[schema(example = "https://example.com/hooks")]
    pub url: String,
    /// The response's status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why the attempt failed, for people. If the response was cut off after its status line, `outcome` is the outcome of the
    /// status code, and this text begins with `answer incomplete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The headers of the request, in the order and spelling in which they were sent. Values of the endpoint's own headers and
    /// tokens are replaced by `***`.
    pub request_headers: Vec<Header>,
    /// Headers of the response.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<Header>,
    /// The first 4 KiB of the response body, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_excerpt: Option<String>,
    /// When the next attempt was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// Why the next attempt was due at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_reason: Option<NextAttemptReason>,
    /// The batch in which the event was sent; absent if it had a request of its own. The headers and the response are those of
    /// the whole batch; `body` of the delivery is the event's own part of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchPlace>,
}

/// A header.
#[derive(Debug, Serialize, ToSchema)]
pub struct Header {
    /// Its name.
    #[schema(example = "content-type")]
    pub name: String,
    /// Its value.
    #[schema(example = "application/json")]
    pub value: String,
}

/// Parts of an attempt's duration.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timing {
    /// The time from the start of the attempt to the response's headers, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// How late a retry started, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<u64>,
}

impl Delivery {
    /// Converts a row to a delivery as answers show it. `holds` is why the endpoint may hold the delivery back.
    pub(super) fn new(row: DeliveryRow, holds: Option<HeldReason>, now: UnixMillis) -> Self {
        let pending = !row.status.is_terminal();
        let phase = pending.then(|| match row.set_aside_bytes {
            Some(_) => DeliveryPhase::Paused,
            None => DeliveryPhase::of(row.number, row.next_attempt_at, now, holds),
        });
        let of = row.delivery;
        Self {
            phase,
            held_reason: holds.filter(|_| phase == Some(DeliveryPhase::Held)),
            test: matches!(of.generation, Generation::Test(_)),
            id: of.id,
            tenant_id: of.tenant,
            event_id: of.event,
            endpoint_id: of.endpoint,
            event_type: of.event_type.to_string(),
            status: row.status,
            discard_reason: row.discard_reason,
            created_at: of.created_at.into(),
            next_attempt_at: row.next_attempt_at.map(Timestamp),
            finished_at: row.finished_at.map(Timestamp),
            expires_at: row.expires_at.into(),
            generation: of.generation,
            origin_id: of.repeats,
            attempt_count: row.number,
            status_code: row.status_code,
            outcome: row.outcome,
        }
    }

    /// Returns a pending delivery that waits behind others with the same key.
    pub(super) fn in_line(self) -> Self {
        Self { phase: Some(DeliveryPhase::InLine), held_reason: None, next_attempt_at: None, ..self }
    }
}

fn headers(list: &HeaderList) -> Vec<Header> {
    list.pairs().into_iter().map(|(name, value)| Header { name, value }).collect()
}

/// The excerpt of a response as text; `None` if it is empty.
fn excerpt(bytes: &Bytes) -> Option<String> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// Converts microseconds to milliseconds.
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

impl From<AttemptRow> for Attempt {
    fn from(AttemptRow { attempt, response_excerpt, next_attempt_at }: AttemptRow) -> Self {
        Self {
            next_attempt_reason: NextAttemptReason::of(&attempt, next_attempt_at),
            number: attempt.number,
            send_id: attempt.send_id,
            trigger: attempt.trigger,
            started_at: attempt.started_at.into(),
            duration_ms: millis(attempt.duration_us),
            timing: Timing { first_byte_ms: attempt.first_byte_us.map(millis), late_ms: attempt.late_ms },
            held_ms: attempt.held_reason.map(|_| attempt.held_ms),
            held_reason: attempt.held_reason,
            url: attempt.url,
            status_code: attempt.status_code,
            outcome: attempt.outcome,
            error: attempt.error,
            request_headers: headers(&attempt.request_headers),
            response_headers: headers(&attempt.response_headers),
            response_excerpt: excerpt(&response_excerpt),
            next_attempt_at: next_attempt_at.map(Timestamp),
            batch: attempt.batch,
        }
    }
}
