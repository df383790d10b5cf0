//! Replays: created, steered and read here; `plan` selects the deliveries of a page, `feed` publishes page after page.
//!
//! # What it promises
//! - An idempotency key creates one replay, however often it is sent.
//! - A replay's row is locked while a page of it is fed, so that two replayers never feed one replay at once. The lock ends with
//!   its transaction. A page that was published but not committed is published again with the same ids.

mod feed;
mod plan;
mod rows;

pub use feed::{Fed, FeedError, PageLimits, ReplayPage, ReplayedEvent};
pub use plan::{Counted, DryRunLimits};
use postrider_model::ids::{ReplayId, TenantId};
use postrider_model::replay::{ReplaySelection, ReplayStatus};
use postrider_model::time::UnixMillis;
pub use rows::ReplayRequest;

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
