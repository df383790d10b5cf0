//! Consuming: four ways to take messages, over one engine.
//!
//! - [`Broker::consume_members`](crate::Broker::consume_members): each member is handled on its own (the dispatcher).
//! - [`Broker::consume_bundles`](crate::Broker::consume_bundles): a bundle at a time (the fan-out).
//! - [`Broker::consume_raw`](crate::Broker::consume_raw): messages that are batched across bundles (the recorder).
//! - [`Broker::consume_producer_messages`](crate::Broker::consume_producer_messages): messages of producers, which are not
//!   bundles (ingest).
//!
//! A message is acked only after everything in it is settled. After a lost connection, a cancelled or a killed consumer its
//! unacked messages return to the queue. Subscribing again is retried without end. [`ConsumeOptions`] bounds the messages and
//! bytes in flight.
//!
//! A member that cannot be handled, or whose handler panics, becomes a dead letter alone. A bundle that was returned twice is
//! split into single messages first, so that a member that kills the process does so alone. A single message that was
//! returned thirty times becomes a dead letter.
//!
//! Stopping drains: the consumer cancels its subscription, drops messages that were prefetched and not started (they go to
//! other consumers), finishes the messages in flight, acks them and closes.

mod acker;
mod bundles;
pub(crate) mod engine;
mod members;
mod priority;
mod producer_messages;
mod raw;
mod source;
mod task_per_message;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;

use crate::error::PublishError;
use crate::metrics;
use crate::topology::Queue;

pub use bundles::BundleOutcome;
pub use raw::{RawConsumer, RawHeaders, RawMessage};

/// A bundle that was returned this often is split.
const SPLIT_AT: u32 = 2;
/// A single message that was returned this often is a dead letter. Being prefetched by a process that stops counts too, so this
/// must be well above the number of replicas that a rolling restart stops one after the other.
const GIVE_UP_AT: u32 = 30;

/// How much a consumer takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumeOptions {
    /// Messages that the broker sends ahead.
    pub prefetch: u16,
    /// Members in flight at most.
    pub members_max: usize,
    /// Bytes of messages in flight at most; one larger message is taken all the same.
    pub bytes_max: usize,
    /// The queue that this one yields to, if the same process consumes both: after every 32 members this consumer pauses for
    /// 2 ms, and for up to 100 ms while the other queue is busy and this one has no backlog. `None` (the default): it yields to
    /// none. Raw consumers never yield.
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
    /// It was delivered to a consumer before.
    pub redelivered: bool,
    /// How often it was returned to its queue.
    pub delivery_count: u32,
}

/// Why a member cannot be processed by this build, now or later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Poison {
    /// The reason, for the operator.
    pub reason: String,
}

impl Poison {
    /// A poison for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    fn returned(count: u32) -> Self {
        Self::new(format!("seen {count} times without being settled"))
    }

    fn from_panic(panic: &(dyn Any + Send)) -> Self {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "of an unknown kind".to_owned());
        Self::new(format!("panic: {message}"))
    }
}

/// Why a member was not settled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsettled {
    /// It cannot be processed: it becomes a dead letter, alone.
    #[error("poison: {0}")]
    Poison(#[from] Poison),
    /// It cannot be processed now (a publisher has ended): its message returns to the queue.
    #[error("requeued: {0}")]
    Requeue(String),
}

impl From<PublishError> for Unsettled {
    fn from(error: PublishError) -> Self {
        Self::Requeue(error.to_string())
    }
}

/// Runs one member's work so that a panic is a [`Poison`] and does not affect the other members.
///
/// # Errors
/// The panic's message, as a poison.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Poison> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Poison::from_panic(panic.as_ref()))
}

/// How a handler left its member or message.
enum Handled {
    Settled,
    Requeue,
    Poison(Poison),
}

/// Runs a handler; a panic is a poison. Not an `async fn`, whose future would hold the handler's twice.
fn run_handler(queue: Queue, handler: impl Future<Output = Result<(), Unsettled>>) -> impl Future<Output = Handled> {
    AssertUnwindSafe(handler).catch_unwind().map(move |ended| match ended {
        Ok(Ok(())) => Handled::Settled,
        Ok(Err(Unsettled::Requeue(reason))) => {
            metrics::requeued(queue, &reason);
            Handled::Requeue
        }
        Ok(Err(Unsettled::Poison(poison))) => Handled::Poison(poison),
        Err(panic) => Handled::Poison(Poison::from_panic(panic.as_ref())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_poison_with_its_message() {
        assert_eq!(catch_panic(|| 1), Ok(1));
        let number = 7;
        let panicked = catch_panic(|| panic!("member {number} is odd"));
        assert_eq!(panicked, Err::<(), _>(Poison::new("panic: member 7 is odd")));
    }
}
