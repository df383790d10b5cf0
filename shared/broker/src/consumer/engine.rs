//! The loop of every consumer: it subscribes, passes messages to a sink, subscribes again after a fault, and drains after a
//! stop.

use std::time::Duration;

use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio_util::sync::CancellationToken;

use super::MemberContext;
use super::acker::{Acker, Settlement};
use crate::broker::Broker;
use crate::in_flight::Guard;
use crate::topology::Queue;
use crate::{connection, metrics, producer_message};

/// Maximum wait for the broker when a subscription is cancelled or a channel is closed.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// The first failed try of an outage is logged, then every tenth try.
const LOG_EVERY: u32 = 10;

/// A message from the broker, with the means to settle it.
pub(crate) struct Inbound {
    pub(crate) delivery: Delivery,
    pub(crate) context: MemberContext,
    pub(crate) settler: Settler,
}

/// Acks one message. If the settler is dropped without an ack, it requeues the message, so that no message remains in flight
/// forever.
pub(crate) struct Settler {
    tag: u64,
    acker: Option<Acker>,
    _in_flight: Guard,
}

impl Settler {
    pub(crate) fn ack(mut self) {
        if let Some(acker) = self.acker.take() {
            acker.settle(self.tag, Settlement::Ack);
        }
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take() {
            acker.settle(self.tag, Settlement::Requeue);
        }
    }
}

/// Receives the messages of a queue. `take` returns once the budget has room for the message, not once the message is settled.
pub(crate) trait MessageSink: Send {
    fn take(&mut self, inbound: Inbound) -> impl Future<Output = ()> + Send;

    /// Called at a stop: no further messages follow.
    fn stopping(&mut self) {}
}

/// Consumes until `stop`, then waits until every message that the sink took is acked or requeued.
pub(crate) async fn run(
    broker: &Broker,
    queue: Queue,
    prefetch: u16,
    mut sink: impl MessageSink,
    stop: CancellationToken,
) {
    let mut backoff = connection::backoff();
    let mut first = true;
    loop {
        let subscribed = tokio::select! {
            () = stop.cancelled() => return,
            subscribed = subscribe(broker, queue, prefetch) => subscribed,
        };
        match subscribed {
            Ok(Some((channel, consumer))) => {
                if !std::mem::take(&mut first) {
                    metrics::count(metrics::RESUBSCRIBES, "queue", queue.name().to_owned(), 1);
                }
                let taken = consume(broker, queue, (channel, consumer), &mut sink, &stop).await;
                if stop.is_cancelled() {
                    return;
                }
                if taken {
                    backoff.reset();
                }
                tracing::warn!(queue = queue.name(), "lost the subscription; subscribing again");
            }
            Ok(None) => return,
            Err(error) => {
                if backoff.tries().is_multiple_of(LOG_EVERY) {
                    tracing::warn!(queue = queue.name(), %error, "cannot subscribe; retrying");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// Subscribes on a separate channel; `None` if the connection was closed for good.
pub(super) async fn subscribe(
    broker: &Broker,
    queue: Queue,
    prefetch: u16,
) -> Result<Option<(Channel, Consumer)>, lapin::Error> {
    let Some(connection) = broker.consume_connection().current().await else { return Ok(None) };
    let result = async {
        let channel = connection.channel().await?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let consumer = channel
            .basic_consume(queue.name().into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await?;
        Ok::<_, lapin::Error>((channel, consumer))
    }
    .await;
    match result {
        Ok(subscribed) => Ok(Some(subscribed)),
        Err(error) => {
            // The queue may have been deleted.
            if let Err(error) = connection.redeclare().await {
                tracing::debug!(queue = queue.name(), %error, "cannot declare the queues again; retrying with the next connection");
            }
            Err(error)
        }
    }
}

/// Takes messages until a fault or `stop`; after `stop` it drains. Returns whether it took any message.
async fn consume(
    broker: &Broker,
    queue: Queue,
    (channel, mut consumer): (Channel, Consumer),
    sink: &mut impl MessageSink,
    stop: &CancellationToken,
) -> bool {
    let (acker, mut acks) = Acker::start(channel.clone());
    let mut taken = false;
    loop {
        let delivery = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            delivery = consumer.next() => delivery,
            // The acker ends only if the channel has failed. The broker requeues the channel's messages.
            _ = &mut acks => return taken,
        };
        // The stream ends when the broker cancels the subscription. This is handled like any other fault.
        let Some(Ok(delivery)) = delivery else { return taken };
        taken = true;
        let in_flight = broker.count_in_flight(queue);
        let settler = Settler { tag: delivery.delivery_tag, acker: Some(acker.clone()), _in_flight: in_flight };
        let context = context(&delivery);
        tokio::select! {
            () = stop.cancelled() => break,
            () = sink.take(Inbound { delivery, context, settler }) => {}
        }
    }
    sink.stopping();
    let cancelled = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
    let _ = tokio::time::timeout(CLOSE_MAX, cancelled).await;
    // The acker ends when every message in flight is settled and every ack is written, or immediately if the connection is
    // lost.
    drop(acker);
    let _ = acks.await;
    let _ = tokio::time::timeout(CLOSE_MAX, channel.close(200, "OK".into())).await;
    taken
}

pub(super) fn context(delivery: &Delivery) -> MemberContext {
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
