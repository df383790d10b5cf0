//! Consuming: four ways to take messages, one engine.
//!
//! - [`Broker::consume_members`](crate::Broker::consume_members): each member is handled on its own (the dispatcher).
//! - [`Broker::consume_bundles`](crate::Broker::consume_bundles): a bundle at a time (the fan-out).
//! - [`Broker::consume_raw`](crate::Broker::consume_raw): messages to be batched across bundles (the recorder).
//! - [`Broker::consume_producer_messages`](crate::Broker::consume_producer_messages): what producers wrote, which is no bundle (ingest).
//!
//! What all promise: a message is acked only after everything in it was settled; a lost connection, a cancelled or a killed
//! consumer means that its unacked messages come back; subscribing again is tried for ever. Messages and bytes
//! in hand are bounded by [`ConsumeOptions`].
//!
//! A member that cannot be handled, or whose handler panics, goes to the dead letters alone. A bundle that was seen
//! more than once is taken apart into single messages first, so that whatever kills the process does so alone; a single that was
//! returned thirty times is a dead letter.
//!
//! Stopping drains: cancel, forget what was prefetched and not begun (it comes back elsewhere), finish what is in
//! hand, ack, close.

mod acker;
mod bundles;
mod dead_letter;
pub(crate) mod engine;
mod members;
mod priority;
mod producer_messages;
mod raw;

use crate::error::PublishError;
use crate::metrics;
use crate::topology::Queue;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use bundles::BundleOutcome;
pub use raw::{RawConsumer, RawHeaders, RawMessage};

/// A bundle that was returned this often is taken apart.
const EXPLODE_AT: u32 = 2;
/// A single member that was returned this often is a dead letter. Being prefetched by a process that stops counts too, so this
/// must be well above the replicas that a rolling restart stops one after the other.
const GIVE_UP_AT: u32 = 30;

/// How much a consumer takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumeOptions {
    /// Messages that the broker sends ahead.
    pub prefetch: u16,
    /// Members in hand at most.
    pub members_max: usize,
    /// Bytes of messages in hand at most; one larger message is taken all the same.
    pub bytes_max: usize,
    /// The queue that members of this one give way to, where the same process consumes both: after every 32 of them nothing is taken
    /// for 2 ms, and for up to 100 ms while much is taken from the other and this one is not behind. `None` (the default): they give
    /// way to nobody. Bundles and raw messages never do.
    pub yields_to: Option<Queue>,
}

impl Default for ConsumeOptions {
    fn default() -> Self {
        Self { prefetch: 200, members_max: 4_096, bytes_max: 64 * 1024 * 1024, yields_to: None }
    }
}

/// What the broker says about the message a member came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberContext {
    /// It was given to a consumer before.
    pub redelivered: bool,
    /// How often it was returned to its queue.
    pub delivery_count: u32,
}

/// A member that this build cannot process, now or ever.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Poison {
    /// Why, for the operator.
    pub reason: String,
}

impl Poison {
    /// A poison for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Why a member was not settled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsettled {
    /// It cannot be processed: to the dead letters, alone.
    #[error("poison: {0}")]
    Poison(#[from] Poison),
    /// It could not be processed now (a publisher has ended): its message goes back to the queue.
    #[error("given back: {0}")]
    Requeue(String),
}

impl From<PublishError> for Unsettled {
    fn from(error: PublishError) -> Self {
        Self::Requeue(error.to_string())
    }
}

/// Runs one member's work so that a panic is a [`Poison`] instead of the end of its neighbours.
///
/// # Errors
/// The panic's message, as a poison.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Poison> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| from_panic(panic.as_ref()))
}

/// Counts what goes back to its queue because it could not be handled now.
fn given_back(queue: Queue, reason: &str) {
    metrics::count(metrics::GIVEN_BACK, "queue", queue.name().to_owned(), 1);
    tracing::debug!(queue = queue.name(), reason, "gave a message back to its queue");
}

fn from_panic(panic: &(dyn Any + Send)) -> Poison {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "of an unknown kind".to_owned());
    Poison::new(format!("panic: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_poison_with_its_message() {
        assert_eq!(catch_panic(|| 1), Ok(1));
        let number = 7;
        assert_eq!(
            catch_panic(|| panic!("member {number} is odd")),
            Err::<(), _>(Poison::new("panic: member 7 is odd"))
        );
    }
}
