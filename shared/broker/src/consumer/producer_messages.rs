//! Consuming what strangers wrote: no bundles, a task a message, a panic caught, the message acked when it is settled.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::engine::{self, Budget, Inbound, MessageSink};
use super::{ConsumeOptions, GIVE_UP_AT, MemberContext, Poison, Unsettled, from_panic, given_back};
use crate::broker::Broker;
use crate::depth::QueueTally;
use crate::producer_message::ProducerMessage;
use crate::topology::Queue;

impl Broker {
    /// Consumes a queue of producers' messages until `stop`, then drains and returns.
    ///
    /// The handler runs in a task a message. `Ok` settles it: everything it caused must be confirmed by then.
    /// [`Unsettled::Poison`] and a panic put it aside as it came; [`Unsettled::Requeue`] returns it to the queue, which
    /// counts against it: only for a stop.
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
        let take = Public {
            broker: self.clone(),
            queue,
            budget: Budget::new(options),
            handler: Arc::new(handler),
            consumed: self.consumed_queues().of(queue),
        };
        engine::run(self, queue, options, take, stop).await;
    }
}

struct Public<H> {
    broker: Broker,
    queue: Queue,
    budget: Budget,
    handler: Arc<H>,
    consumed: Arc<QueueTally>,
}

impl<H, F> MessageSink for Public<H>
where
    H: Fn(ProducerMessage) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Unsettled>> + Send + 'static,
{
    async fn take(&mut self, inbound: Inbound) {
        let Some(share) = self.budget.take(1, inbound.delivery.data.len()).await else { return };
        self.consumed.took(1, inbound.delivery.data.len());
        let (broker, queue, handler) = (self.broker.clone(), self.queue, Arc::clone(&self.handler));
        tokio::spawn(async move {
            let _share = share;
            let Inbound { mut delivery, context, settler } = inbound;
            let message = ProducerMessage::take(&mut delivery);
            if handle(&broker, queue, handler.as_ref(), message, context).await {
                settler.ack();
            }
        });
    }
}

/// Handles one message; tells whether it is settled.
async fn handle<H, F>(
    broker: &Broker,
    queue: Queue,
    handler: &H,
    message: ProducerMessage,
    context: MemberContext,
) -> bool
where
    H: Fn(ProducerMessage) -> F,
    F: Future<Output = Result<(), Unsettled>>,
{
    let count = context.delivery_count;
    let poison = if count >= GIVE_UP_AT {
        Poison::new(format!("seen {count} times without being settled"))
    } else {
        let kept = message.clone();
        match AssertUnwindSafe(async move { handler(kept).await }).catch_unwind().await {
            Ok(Ok(())) => return true,
            Ok(Err(Unsettled::Requeue(reason))) => {
                given_back(queue, &reason);
                return false;
            }
            Ok(Err(Unsettled::Poison(poison))) => poison,
            Err(panic) => from_panic(panic.as_ref()),
        }
    };
    broker.own_publisher().dead_letter_message(&message, queue, &poison.reason).await.is_ok()
}
