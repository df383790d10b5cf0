//! The engine of every consumer: subscribes, keeps to its budgets, subscribes again after a fault, drains.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::acker::Acker;
use super::{ConsumeOptions, MemberContext};
use crate::broker::Broker;
use crate::in_flight::Held;
use crate::topology::Queue;
use crate::{connection, metrics, producer_message};

/// Longest time an orderly goodbye waits for the broker.
const GOODBYE_MAX: Duration = Duration::from_secs(5);

/// A message as the broker gave it, with the means to settle it.
pub(crate) struct Inbound {
    pub(crate) delivery: Delivery,
    pub(crate) context: MemberContext,
    pub(crate) settler: Settler,
}

/// Settles one message, once. Dropped without, it gives the message back: nothing stays in hand forgotten.
pub(crate) struct Settler {
    tag: u64,
    acker: Option<Acker>,
    _held: Held,
}

impl Settler {
    pub(crate) fn ack(mut self) {
        if let Some(acker) = self.acker.take() {
            acker.settle(self.tag, false);
        }
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take() {
            acker.settle(self.tag, true);
        }
    }
}

/// What a consumer may have in hand.
pub(crate) struct Budget {
    members: Arc<Semaphore>,
    members_max: usize,
    bytes: Arc<Semaphore>,
    bytes_max: usize,
}

/// A share of the budget; dropping it gives it back.
pub(crate) struct Share {
    pub(crate) members: OwnedSemaphorePermit,
    pub(crate) bytes: OwnedSemaphorePermit,
}

impl Budget {
    pub(crate) fn new(options: ConsumeOptions) -> Self {
        let members_max = options.members_max.clamp(1, Semaphore::MAX_PERMITS);
        let bytes_max = options.bytes_max.clamp(1, u32::MAX as usize);
        Self {
            members: Arc::new(Semaphore::new(members_max)),
            members_max,
            bytes: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
        }
    }

    /// Waits until there is room. Something larger than the whole budget takes all of it.
    pub(crate) async fn take(&self, members: usize, bytes: usize) -> Option<Share> {
        let amount = |wanted: usize, max: usize| u32::try_from(wanted.min(max)).unwrap_or(u32::MAX);
        let members = Arc::clone(&self.members).acquire_many_owned(amount(members, self.members_max)).await.ok()?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(amount(bytes, self.bytes_max)).await.ok()?;
        Some(Share { members, bytes })
    }
}

/// What is done with each message; returns once the message is in hand (within budget), not when it is settled.
pub(crate) trait MessageSink: Send {
    fn take(&mut self, inbound: Inbound) -> impl Future<Output = ()> + Send;

    /// Nothing will be taken any more.
    fn stopping(&mut self) {}
}

/// Consumes until `stop`, then drains. Everything that `take` holds must settle by itself.
pub(crate) async fn run(
    broker: &Broker,
    queue: Queue,
    options: ConsumeOptions,
    mut take: impl MessageSink,
    stop: CancellationToken,
) {
    let mut backoff = connection::backoff();
    let mut first = true;
    loop {
        let subscribed = tokio::select! {
            () = stop.cancelled() => return,
            subscribed = subscribe(broker, queue, options) => subscribed,
        };
        match subscribed {
            Ok(Some((channel, consumer))) => {
                if !std::mem::take(&mut first) {
                    metrics::count(metrics::RESUBSCRIBES, "queue", queue.name().to_owned(), 1);
                }
                let taken = consume(broker, queue, (channel, consumer), &mut take, &stop).await;
                if stop.is_cancelled() {
                    return;
                }
                if taken {
                    backoff.reset();
                }
                tracing::warn!(queue = queue.name(), "lost the subscription, subscribing again");
            }
            Ok(None) => return,
            Err(error) => {
                if backoff.tries().is_multiple_of(10) {
                    tracing::warn!(queue = queue.name(), %error, "cannot subscribe, trying on");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// Subscribes on a channel of its own; `None` when the broker was closed for good.
async fn subscribe(
    broker: &Broker,
    queue: Queue,
    options: ConsumeOptions,
) -> Result<Option<(Channel, Consumer)>, crate::BrokerError> {
    let Some(live) = broker.consume_link().live().await else { return Ok(None) };
    let result = async {
        let channel = live.channel().await?;
        channel.basic_qos(options.prefetch, BasicQosOptions::default()).await?;
        let consumer = channel
            .basic_consume(queue.name().into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await?;
        Ok::<_, lapin::Error>((channel, consumer))
    }
    .await;
    match result {
        Ok(subscribed) => Ok(Some(subscribed)),
        Err(error) => {
            // The queue may have been deleted under us.
            if let Err(error) = live.redeclare().await {
                tracing::debug!(queue = queue.name(), %error, "cannot redeclare");
            }
            Err(error.into())
        }
    }
}

/// Takes messages until a fault or `stop`, and in the latter case drains. Tells whether any message came.
async fn consume(
    broker: &Broker,
    queue: Queue,
    (channel, mut consumer): (Channel, Consumer),
    take: &mut impl MessageSink,
    stop: &CancellationToken,
) -> bool {
    let (acker, mut acks) = Acker::start(channel.clone());
    let mut taken = false;
    loop {
        let delivery = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            delivery = consumer.next() => delivery,
            // Without its acker the channel would only fill up; its messages come back with the next one.
            _ = &mut acks => return taken,
        };
        // The end of the stream without our asking is the broker's cancel: a fault like any other.
        let Some(Ok(delivery)) = delivery else { return taken };
        taken = true;
        let held = broker.take_in_flight(queue);
        let settler = Settler { tag: delivery.delivery_tag, acker: Some(acker.clone()), _held: held };
        let context = context(&delivery);
        tokio::select! {
            () = stop.cancelled() => break,
            () = take.take(Inbound { delivery, context, settler }) => {}
        }
    }
    take.stopping();
    let cancelled = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
    let _ = tokio::time::timeout(GOODBYE_MAX, cancelled).await;
    // The acker ends when everything in hand has settled and every ack is written; while the connection is lost it ends at once.
    drop(acker);
    let _ = acks.await;
    let _ = tokio::time::timeout(GOODBYE_MAX, channel.close(200, "OK".into())).await;
    taken
}

fn context(delivery: &Delivery) -> MemberContext {
    let count = header(delivery, "x-delivery-count").and_then(|value| match value {
        AMQPValue::LongLongInt(count) => u32::try_from(*count).ok(),
        AMQPValue::LongInt(count) => u32::try_from(*count).ok(),
        AMQPValue::ShortInt(count) => u32::try_from(*count).ok(),
        AMQPValue::LongUInt(count) => Some(*count),
        AMQPValue::ShortShortInt(count) => u32::try_from(*count).ok(),
        AMQPValue::ShortShortUInt(count) => Some(u32::from(*count)),
        AMQPValue::ShortUInt(count) => Some(u32::from(*count)),
        _ => None,
    });
    MemberContext { redelivered: delivery.redelivered, delivery_count: count.unwrap_or(0) }
}

pub(crate) fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name)
}

pub(crate) fn text_header(delivery: &Delivery, name: &str) -> Option<String> {
    producer_message::text(header(delivery, name)?)
}
