//! Five ways to consume a queue, the first four over one engine.
//!
//! - [`Broker::consume_members`](crate::Broker::consume_members): each member is handled separately (the dispatcher).
//! - [`Broker::consume_bundles`](crate::Broker::consume_bundles): a bundle at a time (the fan-out).
//! - [`Broker::consume_raw`](crate::Broker::consume_raw): messages that the caller batches across bundles (the recorder).
//! - [`Broker::consume_producer_messages`](crate::Broker::consume_producer_messages): messages of producers, which are not
//!   bundles (ingest).
//! - [`Broker::consume_in_order`](crate::Broker::consume_in_order): members in order, by one process at a time (events and
//!   deliveries of ordered endpoints).
//!
//! A member is settled when it needs no more work: it is handled, or it is a dead letter. A message is acked only after all of
//! its members are settled. Unacked messages return to the queue if the connection is lost, or if the consumer is cancelled or
//! killed. A consumer subscribes again after every fault. [`ConsumeOptions`] limits the messages and bytes in flight.
//!
//! A member that cannot be handled, or whose handler panics, becomes a dead letter without the other members of its bundle. A
//! bundle that has returned to its queue twice is split into single messages, so that a member that kills the process is
//! separated from the others. A single message that has returned thirty times becomes a dead letter.
//!
//! After a stop the consumer drains: it cancels its subscription, drops messages that were prefetched but not started (they go
//! to other consumers), finishes the messages in flight, acks them and closes.

mod acker;
mod bundles;
pub(crate) mod engine;
mod in_order;
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

/// Number of returns to its queue after which a bundle is split.
const SPLIT_AT: u32 = 2;
/// Number of returns to its queue after which a single message becomes a dead letter. A stopping process also returns its
/// prefetched messages, so this number must be well above the number of replicas that a rolling restart stops.
const GIVE_UP_AT: u32 = 30;

/// Limits for the messages that a consumer has in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumeOptions {
    /// Maximum number of unacked messages that the broker sends to this consumer.
    pub prefetch: u16,
    /// Maximum number of members in flight.
    pub members_max: usize,
    /// Maximum number of bytes of messages in flight. A larger message is taken when no other message is in flight.
    pub bytes_max: usize,
    /// A more urgent queue to which this consumer yields, if the same process consumes both. After every 32 members the
    /// consumer pauses for 2 ms, or for up to 100 ms while the urgent queue is busy and its own queue has no backlog. `None`
    /// (the default): no pauses. Raw consumers ignore this option.
    pub yields_to: Option<Queue>,
}

impl Default for ConsumeOptions {
    fn default() -> Self {
        Self { prefetch: 200, members_max: 4_096, bytes_max: 64 * 1024 * 1024, yields_to: None }
    }
}

/// The broker's information about a member's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberContext {
    /// Whether the message was already delivered to a consumer.
    pub redelivered: bool,
    /// Number of times that the message has returned to its queue.
    pub delivery_count: u32,
}

/// Why this build can never process a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Poison {
    /// The reason, for the operator.
    pub reason: String,
}

impl Poison {
    /// A poison with this reason.
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
    /// The member cannot be processed: the member becomes a dead letter, without the other members of its bundle.
    #[error("poison: {0}")]
    Poison(#[from] Poison),
    /// The member cannot be processed now (for example because a publisher has ended): its whole message returns to the queue.
    #[error("requeued: {0}")]
    Requeue(String),
}

impl From<PublishError> for Unsettled {
    fn from(error: PublishError) -> Self {
        Self::Requeue(error.to_string())
    }
}

/// Runs one member's work. Turns a panic into a [`Poison`], so that it does not affect the other members.
///
/// # Errors
/// The panic's text, as a poison.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Poison> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Poison::from_panic(panic.as_ref()))
}

/// The result of the handler of a member or message.
enum Handled {
    Settled,
    Requeue,
    Poison(Poison),
}

/// Runs a handler and turns a panic into a poison. Not an `async fn`, because its future would contain the handler's future
/// twice.
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
