//! Messages about outcomes: what became of a delivery.

use postrider_model::attempt::Outcome;
use postrider_model::batch::BatchPlace;
use postrider_model::delivery::{DeliveryStatus, DiscardReason, HeldReason, Trigger};
use postrider_model::ids::SendId;
use postrider_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

use super::{DeliveryRef, is_zero};
use crate::headers::HeaderList;

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
    /// Number of milliseconds between the due time and the start of the attempt; only for retries, and for first attempts of
    /// events with a `deliver_at`.
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
    /// The batch in which the delivery was sent, if its endpoint is batched. The members of a batch have equal attempts, each
    /// with an id and a number of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchPlace>,
}

/// A delivery that a dispatcher set aside because its endpoint is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// The number of the attempt that was due.
    pub number: u16,
    /// Number of bytes of the delivery's body.
    pub bytes: u32,
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
    /// Set if the delivery was set aside. A recorder of a release without this member takes the delivery for one that is due at
    /// `next_attempt_at`, and its reconciler publishes the delivery again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<SetAside>,
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
