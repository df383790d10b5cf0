//! Erasures: orders to erase a value from a tenant's history. This module stores them, chooses the next one to work on, reads the
//! rows of a step and commits what a step found. `postrider-ledger` decides which rows hold the value.
//!
//! A step is read without a lock. Its commit checks that no other process committed a step of the same erasure in the meantime, so
//! a step that two processes read is committed once. After a crash another process continues at the last committed step.
//!
//! The value is sealed with the master key while the erasure is open, and removed when it ends. So only a process with the master
//! key can work on erasures.

mod claim;
mod commit;
mod erase;
mod read;
mod rows;

use postrider_model::erasure::{ErasureStage, ErasureStatus};
use postrider_model::ids::{DeliveryId, ErasureId, EventId, SendId, TenantId};
use postrider_model::time::{Day, UnixMillis};
use zeroize::Zeroizing;

pub use self::read::{AnswerRow, AnswerStep, LetterRow, LetterStep};
pub(crate) use self::rows::reseal;

/// Maximum number of ids of events that an erasure keeps as examples.
pub const EXAMPLES_MAX: usize = 10;

/// An erasure to create.
#[derive(Debug, Clone)]
pub struct NewErasure {
    /// The field, as in a payload filter; `None`: every field.
    pub field: Option<String>,
    /// The value.
    pub value: Zeroizing<String>,
    /// Whether a part of a text is enough.
    pub anywhere: bool,
    /// Only events accepted at or after this time.
    pub since: Option<UnixMillis>,
    /// Only events accepted before this time, which is not in the future.
    pub until: UnixMillis,
    /// Whether it only counts.
    pub dry_run: bool,
}

/// An erasure and its progress. It does not contain the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub id: ErasureId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its status.
    pub status: ErasureStatus,
    /// Whether it only counts.
    pub dry_run: bool,
    /// The field; `None`: every field.
    pub field: Option<String>,
    /// Whether a part of a text is enough.
    pub anywhere: bool,
    /// Only events accepted at or after this time.
    pub since: Option<UnixMillis>,
    /// Only events accepted before this time.
    pub until: UnixMillis,
    /// The keyed hash of the value.
    pub value_hash: String,
    /// What it searches, or searched last.
    pub stage: ErasureStage,
    /// When the stage began.
    pub stage_at: UnixMillis,
    /// When the last examined event was accepted.
    pub reached_at: Option<UnixMillis>,
    /// What it has examined.
    pub examined: Examined,
    /// What it has found.
    pub found: Found,
    /// The ids of the first events that it found.
    pub examples: Vec<EventId>,
    /// Why it failed.
    pub failure: Option<String>,
    /// When it was requested.
    pub created_at: UnixMillis,
    /// When it last changed.
    pub updated_at: UnixMillis,
    /// When it ended.
    pub finished_at: Option<UnixMillis>,
}

/// Numbers of rows that an erasure, or one step of it, has examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Examined {
    /// Events.
    pub events: u64,
    /// Deliveries, with all of their attempts.
    pub deliveries: u64,
    /// Dead letters that name the tenant.
    pub letters: u64,
}

/// Numbers of rows that hold the value. Unless the erasure is a dry run, they are erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Events.
    pub events: u64,
    /// Pending deliveries of these events, which are discarded.
    pub deliveries: u64,
    /// Test calls with edited data.
    pub test_calls: u64,
    /// Attempts whose answer or request headers hold the value, and all attempts of the events with an answer.
    pub attempts: u64,
    /// Dead letters.
    pub letters: u64,
    /// Dead letters that hold the value and also name another tenant. They are not erased.
    pub letters_shared: u64,
}

/// An erasure of which the caller makes the next step.
#[derive(Debug)]
pub struct ClaimedErasure {
    /// The erasure.
    pub erasure: Erasure,
    /// The value.
    pub value: Zeroizing<String>,
    /// Where the step begins; `None`: at the start of the stage.
    pub position: Option<String>,
    /// Number of steps committed so far.
    steps: i64,
}

/// The result of a claim.
#[derive(Debug)]
pub enum Claim {
    /// The caller makes a step of this erasure.
    Step(Box<ClaimedErasure>),
    /// The erasure failed, because its value cannot be opened.
    Failed(ErasureId),
}

/// An event that holds the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHit {
    /// Its id.
    pub id: EventId,
    /// Its day.
    pub day: Day,
    /// The attributes that hold the value.
    pub attributes: Vec<Box<str>>,
}

/// An attempt that holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptHit {
    /// Its delivery.
    pub delivery: DeliveryId,
    /// The delivery's day.
    pub delivery_day: Day,
    /// Its number of the POST.
    pub send_id: SendId,
    /// Whether the headers of the request hold the value.
    pub in_request: bool,
}

/// What a step found.
#[derive(Debug)]
pub enum Hits {
    /// Events.
    Events(Vec<EventHit>),
    /// Test calls, by their deliveries.
    TestCalls(Vec<DeliveryId>),
    /// Attempts.
    Attempts(Vec<AttemptHit>),
    /// Dead letters, and the number of those that also name another tenant.
    Letters(Vec<i64>, u64),
}

/// Where a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEnd {
    /// The next step of the stage begins here.
    Continue(Option<String>),
    /// The next step of the stage begins here, and not before this time.
    Wait(Option<String>, UnixMillis),
    /// The stage is complete.
    Stage(ErasureStage),
    /// The erasure is complete.
    Finish,
    /// The erasure ends early, for this reason.
    Fail(String),
}

/// A step to commit.
#[derive(Debug)]
pub struct ErasureStep {
    /// What it found.
    pub hits: Hits,
    /// What it examined.
    pub examined: Examined,
    /// When the last examined event was accepted.
    pub reached_at: Option<UnixMillis>,
    /// Where it ended.
    pub end: StepEnd,
}
