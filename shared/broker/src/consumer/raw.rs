//! Consumers that return whole messages, so that the caller can batch across bundles: one commit of the recorder covers many
//! messages.

use std::sync::Arc;

use bytes::Bytes;
use postrider_wire::bundle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::ConsumeOptions;
use super::engine::{self, Inbound, MessageSink, Settler, text_header};
use crate::broker::Broker;
use crate::budget::Budget;
use crate::depth::QueueTally;
use crate::producer_message::ProducerMessage;
use crate::publish::message::{REASON_HEADER, SOURCE_HEADER};
use crate::topology::Queue;

/// Why a message is a dead letter, according to its headers. Any of these headers may come from the producer, unless
/// [`RawHeaders::by_our_user`] is true.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawHeaders {
    /// Why a service made the message a dead letter.
    pub reason: Option<String>,
    /// The queue from which the service took the message.
    pub source: Option<String>,
    /// Why the broker first dead-lettered the message (`delivery_limit`, `rejected`, …), if it did.
    pub first_death_reason: Option<String>,
    /// The queue in which the broker first dead-lettered the message.
    pub first_death_queue: Option<String>,
    /// Whether the broker confirms that a process with this process's user published the message.
    pub by_our_user: bool,
    /// The message as it was first published, without its body. A dead letter has its original routing key.
    pub original: ProducerMessage,
}

/// A message in flight. Dropping it without [`RawMessage::ack`] returns it to its queue.
pub struct RawMessage {
    /// The bytes of the message, usually a bundle.
    pub body: Bytes,
    /// Its headers.
    pub headers: RawHeaders,
    /// Whether the message was already delivered to a consumer.
    pub redelivered: bool,
    /// Number of times that the message has returned to its queue.
    pub delivery_count: u32,
    settler: Settler,
    _bytes: OwnedSemaphorePermit,
}

impl RawMessage {
    /// Acks the message. Call it after all effects of the message are committed.
    pub fn ack(self) {
        self.settler.ack();
    }
}

/// A stream of the messages of one queue.
pub struct RawConsumer {
    messages: mpsc::Receiver<RawMessage>,
    engine: JoinHandle<()>,
}

impl RawConsumer {
    /// Waits for the next message; `None` after the stop. Earlier messages may still be acked then.
    pub async fn recv(&mut self) -> Option<RawMessage> {
        self.messages.recv().await
    }

    /// Waits for a message, then appends all ready messages, at most `max`, to `batch`. Returns their number; 0 after the stop.
    pub async fn recv_many(&mut self, batch: &mut Vec<RawMessage>, max: usize) -> usize {
        self.messages.recv_many(batch, max).await
    }

    /// Returns when every message is acked or requeued and the acks are written. Call it after `recv` returned `None` and the
    /// last batch was settled.
    pub async fn drained(mut self) {
        self.messages.close();
        while self.messages.recv().await.is_some() {}
        let _ = self.engine.await;
    }
}

impl Broker {
    /// Consumes a queue message by message until `stop`. `prefetch` and `bytes_max` limit the messages in flight. The other
    /// options have no effect.
    pub fn consume_raw(&self, queue: Queue, options: ConsumeOptions, stop: CancellationToken) -> RawConsumer {
        let tally = self.tallies().of(queue);
        let (tx, messages) = mpsc::channel(usize::from(options.prefetch).max(1));
        let broker = self.clone();
        let budget = Budget::new(options.members_max, options.bytes_max);
        let sink = Raw { messages: Some(tx), budget, tally, broker: self.clone() };
        let engine = tokio::spawn(async move { engine::run(&broker, queue, options.prefetch, sink, stop).await });
        RawConsumer { messages, engine }
    }
}

struct Raw {
    messages: Option<mpsc::Sender<RawMessage>>,
    budget: Budget,
    tally: Arc<QueueTally>,
    broker: Broker,
}

impl MessageSink for Raw {
    async fn take(&mut self, inbound: Inbound) {
        self.tally.record(bundle::count(&inbound.delivery.data), inbound.delivery.data.len());
        let Some(permit) = self.budget.acquire(0, inbound.delivery.data.len()).await else { return };
        let Inbound { mut delivery, context, settler } = inbound;
        let mut original = ProducerMessage::take(&mut delivery);
        let body = std::mem::take(&mut original.body);
        let headers = RawHeaders {
            reason: text_header(&delivery, REASON_HEADER),
            source: text_header(&delivery, SOURCE_HEADER),
            first_death_reason: text_header(&delivery, "x-first-death-reason"),
            first_death_queue: text_header(&delivery, "x-first-death-queue"),
            by_our_user: self.broker.consume_connection().user_id().published(&delivery.properties),
            original,
        };
        let message = RawMessage {
            body,
            headers,
            redelivered: context.redelivered,
            delivery_count: context.delivery_count,
            settler,
            _bytes: permit.bytes,
        };
        // Without a receiver the message is dropped, and its settler requeues it.
        if let Some(messages) = &self.messages {
            let _ = messages.send(message).await;
        }
    }

    fn stopping(&mut self) {
        self.messages = None;
    }
}
