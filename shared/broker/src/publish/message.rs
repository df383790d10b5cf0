//! Messages that travel alone: dead letters, what people ask for, what comes once in a while.
//!
//! Pipelined: up to a thousand are unconfirmed at once, so waiting for one's confirm does not hold up the next. They
//! are sent again until they are confirmed.

use bytes::Bytes;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use postrider_model::delivery::Lane;
use postrider_model::limits::{DEAD_LETTER_KEPT_BYTES, DEAD_LETTER_WHOLE_BYTES_MAX};
use postrider_wire::bundle::{self, Member};
use tokio::sync::{mpsc, oneshot};

use crate::connection::SupervisedConnection;
use crate::error::PublishError;
use crate::metrics;
use crate::producer_message::ProducerMessage;
use crate::publish::confirm_channel::{Closed, ConfirmChannel, Outgoing, Policy, Verdict};
use crate::topology::{CUT_HEADER, DEAD_EXCHANGE, EVENTS_EXCHANGE, LANES_EXCHANGE, Queue, lane_key};

/// Unconfirmed messages at most.
const UNCONFIRMED_MAX: usize = 1_000;
/// Bytes of a dead letter's reason at most.
const REASON_BYTES_MAX: usize = 1_000;

/// Why it was put aside; on dead letters.
pub(crate) const REASON_HEADER: &str = "x-reason";
/// Which queue it was taken from; on dead letters.
pub(crate) const SOURCE_HEADER: &str = "x-source";

/// Where a single message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageRoute<'a> {
    /// To a lane, now.
    Lane(Lane),
    /// To the dead letters.
    DeadLetter {
        /// The queue it was taken from.
        source: &'a str,
        /// Why it cannot be processed, for the operator; cut at 1,000 bytes.
        reason: &'a str,
    },
    /// To the queue of that name.
    Queue(&'a str),
}

type Done = oneshot::Sender<Result<(), PublishError>>;

/// A publisher of single messages. Cheap to clone; its task ends with the last clone.
#[derive(Clone)]
pub struct MessagePublisher {
    jobs: mpsc::Sender<Outgoing<Done>>,
}

impl MessagePublisher {
    pub(crate) fn start(link: SupervisedConnection, name: &'static str) -> Self {
        let (jobs, received) = mpsc::channel(UNCONFIRMED_MAX);
        let helpers = link.helpers().clone();
        helpers.spawn(name, run(ConfirmChannel::new(link, name, Policy::Persist), received));
        Self { jobs }
    }

    /// Publishes members as one message (nearly always one member) and returns when it is confirmed. Dropping the future leaves
    /// it unknown.
    ///
    /// # Errors
    /// [`PublishError::Stopped`] at shutdown only; everything else is tried again.
    pub async fn publish(&self, to: MessageRoute<'_>, members: &[Member]) -> Result<(), PublishError> {
        self.send(to, bundle::encode(members).into(), bundle::CONTENT_TYPE).await
    }

    /// Puts a message aside whose bytes are no bundle that this build reads.
    ///
    /// # Errors
    /// As [`MessagePublisher::publish`].
    pub async fn dead_letter_bytes(&self, body: Bytes, source: &str, reason: &str) -> Result<(), PublishError> {
        self.send(MessageRoute::DeadLetter { source, reason }, body, "application/octet-stream").await
    }

    /// Puts a producer's message aside as it came: with its routing key, its properties and its bytes. Of one with more than
    /// [`DEAD_LETTER_WHOLE_BYTES_MAX`] bytes only the first [`DEAD_LETTER_KEPT_BYTES`] are kept.
    ///
    /// # Errors
    /// As [`MessagePublisher::publish`].
    pub async fn dead_letter_message(
        &self,
        message: &ProducerMessage,
        source: Queue,
        reason: &str,
    ) -> Result<(), PublishError> {
        metrics::count(metrics::DEAD_LETTERS, "queue", source.name().to_owned(), 1);
        tracing::warn!(queue = source.name(), reason, "put a message aside as a dead letter");
        let mut headers = message.own_headers();
        put_aside(&mut headers, source.name(), reason);
        let mut body = message.body.clone();
        if body.len() > DEAD_LETTER_WHOLE_BYTES_MAX {
            headers.insert(CUT_HEADER.into(), AMQPValue::LongString(body.len().to_string().into()));
            // A copy, so that the whole does not stay in memory with it.
            body = Bytes::copy_from_slice(&body[..DEAD_LETTER_KEPT_BYTES]);
        }
        // The dead letters' exchange takes every key, so this one tells the original.
        self.send_public(DEAD_EXCHANGE, &message.routing_key, message, headers, body).await
    }

    /// Publishes a message to the queue that it once came from, as it came: a producer's by its routing key through the
    /// public exchange, a service's straight to its queue.
    ///
    /// # Errors
    /// As [`MessagePublisher::publish`].
    pub async fn requeue(&self, to: Queue, message: &ProducerMessage) -> Result<(), PublishError> {
        let (exchange, key) = match to {
            Queue::Intake => (EVENTS_EXCHANGE, message.routing_key.as_str()),
            queue => ("", queue.name()),
        };
        self.send_public(exchange, key, message, message.own_headers(), message.body.clone()).await
    }

    async fn send_public(
        &self,
        exchange: &str,
        routing_key: &str,
        message: &ProducerMessage,
        headers: FieldTable,
        body: Bytes,
    ) -> Result<(), PublishError> {
        let content_type = short(message.content_type.as_deref().unwrap_or_default());
        let message_id = message.message_id.as_deref().map(short);
        self.submit(|token| Outgoing {
            exchange: exchange.into(),
            routing_key: short(routing_key),
            body,
            content_type,
            message_id,
            headers: Some(headers),
            rung: None,
            answers: None,
            token,
        })
        .await
    }

    async fn send(&self, to: MessageRoute<'_>, body: Bytes, content_type: &str) -> Result<(), PublishError> {
        let (exchange, routing_key, headers): (&str, ShortString, _) = match to {
            MessageRoute::Lane(lane) => (LANES_EXCHANGE, lane_key(lane).into(), None),
            MessageRoute::DeadLetter { source, reason } => {
                let mut headers = FieldTable::default();
                put_aside(&mut headers, source, reason);
                (DEAD_EXCHANGE, "".into(), Some(headers))
            }
            MessageRoute::Queue(queue) => ("", queue.into(), None),
        };
        let content_type = content_type.into();
        let exchange = exchange.into();
        self.submit(|token| Outgoing {
            exchange,
            routing_key,
            body,
            content_type,
            message_id: None,
            headers,
            rung: None,
            answers: None,
            token,
        })
        .await
    }

    /// Answers a call: to the caller's pseudo-queue, without insisting that the caller is still there.
    pub(crate) async fn answer(
        &self,
        reply_to: ShortString,
        correlation: ShortString,
        answer: &Member,
    ) -> Result<(), PublishError> {
        let members = std::slice::from_ref(answer);
        self.submit(|token| Outgoing { answers: Some(correlation), ..Outgoing::bundle("", reply_to, members, token) })
            .await
    }

    async fn submit(&self, outgoing: impl FnOnce(Done) -> Outgoing<Done>) -> Result<(), PublishError> {
        let (done, confirmed) = oneshot::channel();
        self.jobs.send(outgoing(done)).await.map_err(|_| PublishError::Stopped)?;
        confirmed.await.unwrap_or(Err(PublishError::Stopped))
    }
}

/// Writes on a message why it is put aside, and where it was.
fn put_aside(headers: &mut FieldTable, source: &str, reason: &str) {
    let reason = cut(reason, REASON_BYTES_MAX);
    headers.insert(REASON_HEADER.into(), AMQPValue::LongString(reason.into()));
    headers.insert(SOURCE_HEADER.into(), AMQPValue::LongString(source.into()));
}

/// AMQP's short strings have at most 255 bytes.
fn short(text: &str) -> ShortString {
    cut(text, 255).into()
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=text.len().min(bytes_max)).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

async fn run(mut pipeline: ConfirmChannel<Done>, mut jobs: mpsc::Receiver<Outgoing<Done>>) {
    let mut open = true;
    while open || pipeline.outstanding() > 0 {
        if matches!(pipeline.advance().await, Err(Closed)) {
            return;
        }
        tokio::select! {
            settled = pipeline.confirms() => {
                for (done, verdict) in settled {
                    let result = if verdict == Verdict::Confirmed { Ok(()) } else { Err(PublishError::Refused) };
                    let _ = done.send(result);
                }
            }
            job = jobs.recv(), if open && pipeline.outstanding() < UNCONFIRMED_MAX => match job {
                Some(job) => {
                    pipeline.push(job);
                    while pipeline.outstanding() < UNCONFIRMED_MAX {
                        let Ok(job) = jobs.try_recv() else { break };
                        pipeline.push(job);
                    }
                }
                None => open = false,
            },
        }
    }
}
