//! Consumers of producers' messages, which are not bundles. Each message is handled in its own task and acked once it is settled.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::engine::Inbound;
use super::source::Source;
use super::task_per_message::{Work, consume};
use super::{ConsumeOptions, GIVE_UP_AT, Handled, Poison, Unsettled, run_handler};
use crate::broker::Broker;
use crate::budget::Permit;
use crate::producer_message::ProducerMessage;
use crate::topology::Queue;

impl Broker {
    /// Consumes a queue of producers' messages until `stop`, then drains and returns.
    ///
    /// The handler runs in one task per message. `Ok` settles the message: all of its effects must already be confirmed. After
    /// [`Unsettled::Poison`] or a panic the message becomes a dead letter, unchanged. [`Unsettled::Requeue`] returns the
    /// message to the queue. Use it only at a stop, because a message that has returned thirty times becomes a dead letter.
    pub async fn consume_producer_messages<H, F>(
        &self,
        queue: Queue,
        options: ConsumeOptions,
        handler: H,
        stop: CancellationToken,
    ) where
        H: Fn(ProducerMessage) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Unsettled>> + Send + 'static,
    {
        consume(self, queue, options, ProducerMessages(Arc::new(handler)), stop).await;
    }
}

struct ProducerMessages<H>(Arc<H>);

impl<H, F> Work for ProducerMessages<H>
where
    H: Fn(ProducerMessage) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Unsettled>> + Send + 'static,
{
    type Item = ();

    fn decode(&self, _: &Source, inbound: Inbound) -> Option<((), Inbound)> {
        Some(((), inbound))
    }

    fn members((): &()) -> usize {
        1
    }

    fn start(&self, source: &Source, (): (), inbound: Inbound, permit: Permit) {
        let (source, handler) = (source.clone(), Arc::clone(&self.0));
        tokio::spawn(async move {
            let _permit = permit;
            let Inbound { mut delivery, context, settler } = inbound;
            let message = ProducerMessage::take(&mut delivery);
            if handle(&source, handler.as_ref(), message, context.delivery_count).await {
                settler.ack();
            }
        });
    }
}

/// Handles one message. Returns whether the message is settled.
async fn handle<H, F>(source: &Source, handler: &H, message: ProducerMessage, delivery_count: u32) -> bool
where
    H: Fn(ProducerMessage) -> F,
    F: Future<Output = Result<(), Unsettled>>,
{
    let poison = if delivery_count >= GIVE_UP_AT {
        Poison::returned(delivery_count)
    } else {
        let kept = message.clone();
        match run_handler(source.queue, async move { handler(kept).await }).await {
            Handled::Settled => return true,
            Handled::Requeue => return false,
            Handled::Poison(poison) => poison,
        }
    };
    source.broker.own_publisher().dead_letter_message(&message, source.queue, &poison.reason).await.is_ok()
}
