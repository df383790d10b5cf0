//! The consumer of queues whose messages must be handled in order.
//!
//! The broker sends the messages of such a queue to one consumer at a time. This consumer hands them to its handler in order,
//! several at a time, and takes the next ones when the handler has settled these. If they cannot be settled, it closes its
//! channel: the broker then puts all unacked messages back in their order, and continues with the first.
//!
//! It never cancels a subscription while messages are unacked, because another consumer would get later messages before they
//! return. For the same reason it does not split bundles.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::{Channel, Consumer};
use postrider_wire::bundle::{self, Member};
use tokio_util::sync::CancellationToken;

use super::engine::{context, subscribe};
use super::source::Source;
use super::{BundleOutcome, ConsumeOptions, GIVE_UP_AT, Poison};
use crate::broker::Broker;
use crate::error::PublishError;
use crate::topology::Queue;
use crate::{connection, metrics};

/// Maximum wait for the broker when a channel is closed.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// The first failed try of an outage is logged, then every tenth try.
const LOG_EVERY: u32 = 10;

/// Why a subscription ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Stopped,
    Lost,
    NotSettled(String),
}

impl Broker {
    /// Consumes a queue in order until `stop`. The handler gets the members of one or more messages, at most
    /// `options.members_max` unless a single message has more, and is called again when it has returned. After
    /// [`BundleOutcome::Requeue`] it gets the same members again.
    ///
    /// If the handler panics, it gets the members one by one; a member at which it panics again becomes a dead letter.
    pub async fn consume_in_order<H, F>(
        &self,
        queue: Queue,
        options: ConsumeOptions,
        handler: H,
        stop: CancellationToken,
    ) where
        H: Fn(Vec<Member>) -> F + Send + Sync,
        F: Future<Output = BundleOutcome> + Send,
    {
        let mut backoff = connection::backoff();
        let consumer = InOrder { source: Source { broker: self.clone(), queue }, options, handler };
        loop {
            let subscribed = tokio::select! {
                () = stop.cancelled() => return,
                subscribed = subscribe(self, queue, options.prefetch) => subscribed,
            };
            match subscribed {
                Ok(Some((channel, mut messages))) => {
                    let before = consumer.settled();
                    let ended = consumer.consume(&channel, &mut messages, &stop).await;
                    // The broker puts unacked messages back in their order when the channel is closed. The subscription is
                    // dropped only after that, because dropping it cancels it.
                    let _ = tokio::time::timeout(CLOSE_MAX, channel.close(200, "OK".into())).await;
                    drop(messages);
                    if consumer.settled() > before {
                        backoff.reset();
                    }
                    match ended {
                        Ended::Stopped => return,
                        Ended::Lost => tracing::warn!(queue = queue.name(), "lost the subscription; subscribing again"),
                        Ended::NotSettled(reason) => metrics::requeued(queue, &reason),
                    }
                    metrics::count(metrics::RESUBSCRIBES, "queue", queue.name().to_owned(), 1);
                }
                Ok(None) => return,
                Err(error) if backoff.tries().is_multiple_of(LOG_EVERY) => {
                    tracing::warn!(queue = queue.name(), %error, "cannot subscribe; retrying");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(backoff.next_delay()) => {}
            }
        }
    }
}

struct InOrder<H> {
    source: Source,
    options: ConsumeOptions,
    handler: H,
}

/// Messages that are handled together.
#[derive(Default)]
struct Batch {
    members: Vec<Member>,
    bytes: usize,
    last_tag: u64,
}

impl<H, F> InOrder<H>
where
    H: Fn(Vec<Member>) -> F + Send + Sync,
    F: Future<Output = BundleOutcome> + Send,
{
    /// The number of members taken by this process.
    fn settled(&self) -> u64 {
        self.source.broker.tallies().of(self.source.queue).members()
    }

    async fn consume(&self, channel: &Channel, messages: &mut Consumer, stop: &CancellationToken) -> Ended {
        loop {
            let first = tokio::select! {
                biased;
                () = stop.cancelled() => return Ended::Stopped,
                first = messages.next() => first,
            };
            // The stream ends when the broker cancels the subscription.
            let Some(Ok(first)) = first else { return Ended::Lost };
            let _in_flight = self.source.broker.count_in_flight(self.source.queue);
            let mut batch = Batch::default();
            let mut next = Some(first);
            while let Some(message) = next.take() {
                if self.add(&mut batch, message).await.is_err() {
                    return Ended::NotSettled("a dead letter cannot be published".into());
                }
                if batch.members.len() < self.options.members_max && batch.bytes < self.options.bytes_max {
                    next = messages.next().now_or_never().flatten().and_then(Result::ok);
                }
            }
            if let Err(reason) = self.handle(batch.members).await {
                return Ended::NotSettled(reason);
            }
            if channel.basic_ack(batch.last_tag, BasicAckOptions { multiple: true }).await.is_err() {
                return Ended::Lost;
            }
        }
    }

    /// Adds the members of a message to a batch. A message that cannot be read, or that has returned too often, becomes a dead
    /// letter.
    async fn add(&self, batch: &mut Batch, message: Delivery) -> Result<(), PublishError> {
        batch.last_tag = message.delivery_tag;
        let count = context(&message).delivery_count;
        let reason = match bundle::decode(&message.data) {
            Ok(members) if count < GIVE_UP_AT => {
                self.source.broker.tallies().of(self.source.queue).record(members.len(), message.data.len());
                batch.bytes += message.data.len();
                batch.members.extend(members);
                return Ok(());
            }
            Ok(_) => Poison::returned(count).reason,
            Err(error) => error.to_string(),
        };
        metrics::dead_letter(self.source.queue, &reason);
        let own = self.source.broker.own_publisher();
        own.dead_letter_bytes(message.data.into(), self.source.queue.name(), &reason).await
    }

    /// Handles members. Returns the reason if they are not settled.
    async fn handle(&self, members: Vec<Member>) -> Result<(), String> {
        if members.is_empty() {
            return Ok(());
        }
        match self.call(members.clone()).await {
            Ok(outcome) => self.settle(outcome, &members).await,
            Err(poison) if members.len() == 1 => self.bury(&members[0], &poison).await,
            Err(poison) => {
                let queue = self.source.queue.name();
                tracing::warn!(queue, reason = poison.reason, "a handler panicked; handling its members one by one");
                for member in members {
                    match self.call(vec![member.clone()]).await {
                        Ok(outcome) => self.settle(outcome, &[member]).await?,
                        Err(poison) => self.bury(&member, &poison).await?,
                    }
                }
                Ok(())
            }
        }
    }

    async fn call(&self, members: Vec<Member>) -> Result<BundleOutcome, Poison> {
        let work = AssertUnwindSafe(async { (self.handler)(members).await });
        work.catch_unwind().await.map_err(|panic| Poison::from_panic(panic.as_ref()))
    }

    async fn settle(&self, outcome: BundleOutcome, members: &[Member]) -> Result<(), String> {
        let poisoned = match outcome {
            BundleOutcome::Settled { poisoned } => poisoned,
            BundleOutcome::Requeue(reason) => return Err(reason),
        };
        for (index, poison) in poisoned {
            if let Some(member) = members.get(index) {
                self.bury(member, &poison).await?;
            }
        }
        Ok(())
    }

    async fn bury(&self, member: &Member, poison: &Poison) -> Result<(), String> {
        self.source.dead_letter(member, poison).await.map_err(|error| error.to_string())
    }
}
