//! Replays: asked for, steered and watched here; what a page of one holds is in `plan`, walking through it in `feed`.
//!
//! # What it promises
//! - An idempotency key makes one replay, however often it comes.
//! - A replay's row is locked while a page of it is fed, so that two replayers never feed one replay at once; the lock
//!   goes with its holder. A page that was published and not committed is published again under the same ids.

mod feed;
mod plan;
mod rows;

pub use feed::{Fed, FeedError, PageLimits, ReplayPage, ReplayedEvent};
pub use plan::{Counted, DryRunLimits};
use postrider_model::ids::{ReplayId, TenantId};
use postrider_model::replay::{ReplaySelection, ReplayStatus};
use postrider_model::time::UnixMillis;
pub use rows::ReplayRequest;

/// A replay as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Whose.
    pub tenant: TenantId,
    /// What is replayed.
    pub selection: ReplaySelection,
    /// Where it stands.
    pub status: ReplayStatus,
    /// How far it has come.
    pub progress: Progress,
    /// When it was asked for.
    pub created_at: UnixMillis,
    /// When it was last fed or steered.
    pub updated_at: UnixMillis,
    /// When its last delivery was made, or it was cancelled.
    pub finished_at: Option<UnixMillis>,
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Events that were looked at.
    pub walked: u64,
    /// Of these, events with at least one new delivery.
    pub events: u64,
    /// Deliveries that were made and published.
    pub deliveries: u64,
    /// When the last event that was looked at was accepted; events are walked in this order.
    pub reached_at: Option<UnixMillis>,
}

/// What a person wants of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayAction {
    /// Make no further deliveries for now.
    Pause,
    /// Go on.
    Resume,
    /// Create no further deliveries, and cancel the pending ones.
    Cancel,
}
