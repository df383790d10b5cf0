//! Replays: created, steered and read; `page` reads the rows of a page, `feed` commits page after page. Which deliveries a page
//! creates is the caller's decision.
//!
//! # What it promises
//! - An idempotency key creates one replay, however often it is sent.
//! - A replay's row is locked while a page of it is fed, so that two replayers never feed one replay at once. The lock ends with
//!   its transaction. A page that was published but not committed is published again with the same ids.

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

use crate::config::EndpointDocument;
use crate::history::EventRow;

/// A replay with its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What is replayed.
    pub selection: ReplaySelection,
    /// Its status.
    pub status: ReplayStatus,
    /// Its progress.
    pub progress: Progress,
    /// When it was created.
    pub created_at: UnixMillis,
    /// When it was last fed or steered.
    pub updated_at: UnixMillis,
    /// When its last delivery was created, or it was cancelled.
    pub finished_at: Option<UnixMillis>,
}

/// The progress of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Events read.
    pub walked: u64,
    /// Events read that got at least one new delivery.
    pub events: u64,
    /// Deliveries created and published.
    pub deliveries: u64,
    /// Acceptance time of the last event read. Events are read in this order.
    pub reached_at: Option<UnixMillis>,
}

/// The endpoints that a replay may deliver to.
#[derive(Debug)]
pub struct ReplayTargets {
    /// The tenant's current profile.
    pub profile: String,
    /// Active endpoints.
    pub endpoints: Vec<(EndpointId, EndpointDocument)>,
}

/// Events that a replay selects, oldest first.
#[derive(Debug)]
pub struct ReplayPage {
    /// The events.
    pub candidates: Vec<ReplayCandidate>,
    /// No further event follows.
    pub is_last: bool,
}

/// An event that a replay selects.
#[derive(Debug)]
pub struct ReplayCandidate {
    /// The event.
    pub event: EventRow,
    /// The endpoints in its decision.
    pub decided: Vec<EndpointId>,
    /// The status of its earlier deliveries, by endpoint.
    pub earlier: HashMap<EndpointId, Vec<DeliveryStatus>>,
}

/// A requested change of a replay's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayAction {
    /// Create no further deliveries until it is resumed.
    Pause,
    /// Continue.
    Resume,
    /// Create no further deliveries, and cancel the pending ones.
    Cancel,
}
