//! Replays. `rows` creates, lists, pauses and cancels replays; `page` reads the events of a page; `earlier` reads the decisions
//! and earlier deliveries of these events; `feed` commits page after page. The caller decides which deliveries a page creates.
//!
//! # What it promises
//! - Requests with the same idempotency key create one replay. An endpoint has at most one unfinished recovery.
//! - The row of a replay is locked while a page is fed, so that two replayers never feed one replay at the same time. The lock
//!   ends with its transaction. A page that was published but not committed is published again, with the same ids.

mod earlier;
mod feed;
mod page;
mod rows;

use std::collections::HashMap;

pub use feed::{Fed, PublishedPage, ReplayInput};
pub use page::ReplayStep;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{EndpointId, ReplayId, TenantId};
use postrider_model::replay::{ReplaySelection, ReplayStatus};
use postrider_model::time::UnixMillis;
pub use rows::ReplayRequest;

use crate::config::{EndpointDocument, EndpointVersion};
use crate::history::{DeliveryRow, EventRow};

/// A replay with its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The events to deliver again, and the endpoints.
    pub selection: ReplaySelection,
    /// Its status.
    pub status: ReplayStatus,
    /// Its progress.
    pub progress: Progress,
    /// When it was created.
    pub created_at: UnixMillis,
    /// When a page was last fed, or its status changed.
    pub updated_at: UnixMillis,
    /// When its last delivery was created, or when it was cancelled.
    pub finished_at: Option<UnixMillis>,
}

/// The progress of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Events read.
    pub walked: u64,
    /// Number of events read for which at least one delivery was created.
    pub events: u64,
    /// Deliveries created, or attempted immediately by a recovery.
    pub deliveries: u64,
    /// Number of the `deliveries` that were already pending and were attempted immediately.
    pub hurried: u64,
    /// Time of acceptance of the last event read. Events are read in the order of this time.
    pub reached_at: Option<UnixMillis>,
}

/// The endpoints to which a replay may deliver.
#[derive(Debug)]
pub struct ReplayTargets {
    /// The tenant's current profile.
    pub profile: String,
    /// Active and paused endpoints.
    pub endpoints: Vec<(EndpointId, EndpointDocument)>,
    /// Every version of the endpoint of a recovery, oldest first. Empty for other replays.
    pub versions: Vec<EndpointVersion>,
}

/// A page of the events that a replay selects, oldest first.
#[derive(Debug)]
pub struct ReplayPage {
    /// The events.
    pub candidates: Vec<ReplayCandidate>,
    /// Whether this page contains the last event.
    pub is_last: bool,
}

/// An event that a replay selects.
#[derive(Debug)]
pub struct ReplayCandidate {
    /// The event.
    pub event: EventRow,
    /// The configuration version of the decision about the event; `None`: no decision is on record.
    pub config_version: Option<i64>,
    /// The endpoints in that decision.
    pub decided: Vec<EndpointId>,
    /// The statuses of the earlier deliveries of the event, by endpoint.
    pub earlier: HashMap<EndpointId, Vec<DeliveryStatus>>,
    /// For a recovery, the event's pending deliveries to the recovery's endpoint, newest first.
    pub pending: Vec<PendingRetry>,
}

/// A pending delivery that a recovery may attempt now.
#[derive(Debug, Clone)]
pub struct PendingRetry {
    /// The delivery.
    pub row: DeliveryRow,
    /// Number of the delivery's attempts that people requested. Does not include the first attempt.
    pub extra: u16,
}

/// A requested change of a replay's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayAction {
    /// Create no further deliveries until it is resumed.
    Pause,
    /// Continue to create deliveries.
    Resume,
    /// Create no further deliveries, and cancel the pending ones.
    Cancel,
}
