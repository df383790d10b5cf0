//! Publishes single messages: dead letters, manual retries, requeued messages, answers to calls.
//!
//! Up to a thousand messages are unconfirmed at the same time, so that one slow confirm does not delay the next message.
//! Unconfirmed messages are sent again until they are confirmed.

use bytes::Bytes;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use postrider_model::delivery::Lane;
use postrider_model::limits::{DEAD_LETTER_KEPT_BYTES, DEAD_LETTER_WHOLE_BYTES_MAX};
use postrider_wire::bundle::{self, Member};
use tokio::sync::{mpsc, oneshot};

use super::Done;
use super::confirm_channel::{Closed, ConfirmChannel, ResendPolicy, Verdict};
use super::outgoing::Outgoing;
use crate::connection::SupervisedConnection;
use crate::error::PublishError;
use crate::metrics;
use crate::producer_message::ProducerMessage;
use crate::topology::{CUT_HEADER, DEAD_EXCHANGE, EVENTS_EXCHANGE, LANES_EXCHANGE, Queue, lane_key};

/// Maximum number of unconfirmed messages.
const UNCONFIRMED_MAX: usize = 1_000;
/// Maximum number of bytes of a dead letter's reason.
const REASON_BYTES_MAX: usize = 1_000;
/// Maximum number of bytes of an AMQP short string.
const SHORT_STRING_BYTES_MAX: usize = 255;

/// Header of dead letters: why the message cannot be processed.
pub(crate) const REASON_HEADER: &str = "x-reason";
/// Header of dead letters: the queue from which the message was taken.
pub(crate) const SOURCE_HEADER: &str = "x-source";

/// The destination of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageRoute<'a> {
    /// To a lane, now.
    Lane(Lane),
    /// To the dead letters.
    DeadLetter {
        /// The queue from which the message was taken.
        source: &'a str,
        /// Why the message cannot be processed, for the operator; truncated to 1,000 bytes.
        reason: &'a str,
    },
    /// To the queue with this name.
    Queue(&'a str),
}

/// A publisher of single messages. Cheap to clone; its task ends with the last clone.
#[derive(Clone)]
pub struct MessagePublisher {
    jobs: mpsc::Sender<Outgoing<Done>>,
}

impl MessagePublisher {
    pub(crate) fn start(connection: SupervisedConnection, name: &'static str) -> Self {
        let (jobs, received) = mpsc::channel(UNCONFIRMED_MAX);
        let tasks = connection.tasks().clone();
        tasks.spawn(name, run(ConfirmChannel::new(connection, name, ResendPolicy::UntilConfirmed), received));
        Self { jobs }
    }

    /// Publishes members as one message (nearly always one member) and returns when the message is confirmed. If the future is
    /// dropped, the message may or may not be published.
    ///
    /// # Errors
    /// [`PublishError::Stopped`], at shutdown only.
    pub async fn publish(&self, to: MessageRoute<'_>, members: &[Member]) -> Result<(), PublishError> {
        self.send(to, bundle::encode(members).into(), bundle::CONTENT_TYPE).await
    }

    /// Publishes bytes as a dead letter, because this build cannot decode them.
    ///
    /// # Errors
    /// The same errors as [`MessagePublisher::publish`].
    pub async fn dead_letter_bytes(&self, body: Bytes, source: &str, reason: &str) -> Result<(), PublishError> {
        self.send(MessageRoute::DeadLetter { source, reason }, body, "application/octet-stream").await
    }

    /// Publishes a producer's message to the dead letters with its routing key, properties and bytes. If the message has more
    /// than [`DEAD_LETTER_WHOLE_BYTES_MAX`] bytes, only its first [`DEAD_LETTER_KEPT_BYTES`] bytes are kept.
    ///
    /// # Errors
    /// The same errors as [`MessagePublisher::publish`].
    pub async fn dead_letter_message(
        &self,
        message: &ProducerMessage,
        source: Queue,
        reason: &str,
    ) -> Result<(), PublishError> {
        metrics::dead_letter(source, reason);
        let mut headers = message.own_headers();
        add_dead_letter_headers(&mut headers, source.name(), reason);
        let mut body = message.body.clone();
        if body.len() > DEAD_LETTER_WHOLE_BYTES_MAX {
            headers.insert(CUT_HEADER.into(), AMQPValue::LongString(body.len().to_string().into()));
            // Copies the bytes, so that the memory of the whole message is freed.
            body = Bytes::copy_from_slice(&body[..DEAD_LETTER_KEPT_BYTES]);
        }
        // The exchange of dead letters ignores the routing key, so the message is published with its original routing key.
        self.forward(DEAD_EXCHANGE, &message.routing_key, message, headers, body).await
    }

    /// Publishes a message unchanged to the queue from which it was taken: a producer's message by its routing key through the
    /// public exchange, a service's message directly to its queue.
    ///
    /// # Errors
    /// The same errors as [`MessagePublisher::publish`].
    pub async fn requeue(&self, to: Queue, message: &ProducerMessage) -> Result<(), PublishError> {
        let (exchange, key) = match to {
            Queue::Intake => (EVENTS_EXCHANGE, message.routing_key.as_str()),
            queue => ("", queue.name()),
        };
        self.forward(exchange, key, message, message.own_headers(), message.body.clone()).await
    }

    async fn forward(
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
            content_type,
            message_id,
            headers: Some(headers),
            ..Outgoing::new(exchange, short(routing_key), body, token)
        })
        .await
    }

    async fn send(&self, to: MessageRoute<'_>, body: Bytes, content_type: &str) -> Result<(), PublishError> {
        let (exchange, routing_key, headers): (_, ShortString, _) = match to {
            MessageRoute::Lane(lane) => (LANES_EXCHANGE, lane_key(lane).into(), None),
            MessageRoute::DeadLetter { source, reason } => {
                let mut headers = FieldTable::default();
                add_dead_letter_headers(&mut headers, source, reason);
                (DEAD_EXCHANGE, "".into(), Some(headers))
            }
            MessageRoute::Queue(queue) => ("", queue.into(), None),
        };
        self.submit(|token| Outgoing {
            content_type: content_type.into(),
            headers,
            ..Outgoing::new(exchange, routing_key, body, token)
        })
        .await
    }

    /// Answers a call through the caller's pseudo-queue. If the caller has ended, the broker drops the answer.
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

/// Adds the headers with the reason of a dead letter and the queue from which the message was taken.
fn add_dead_letter_headers(headers: &mut FieldTable, source: &str, reason: &str) {
    let reason = cut(reason, REASON_BYTES_MAX);
    headers.insert(REASON_HEADER.into(), AMQPValue::LongString(reason.into()));
    headers.insert(SOURCE_HEADER.into(), AMQPValue::LongString(source.into()));
}

fn short(text: &str) -> ShortString {
    cut(text, SHORT_STRING_BYTES_MAX).into()
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=text.len().min(bytes_max)).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

async fn run(mut channel: ConfirmChannel<Done>, mut jobs: mpsc::Receiver<Outgoing<Done>>) {
    let mut open = true;
    while open || channel.outstanding() > 0 {
        if matches!(channel.send_pending().await, Err(Closed)) {
            return;
        }
        tokio::select! {
            answered = channel.confirms() => {
                for (done, verdict) in answered {
                    let result = if verdict == Verdict::Confirmed { Ok(()) } else { Err(PublishError::Refused) };
                    let _ = done.send(result);
                }
            }
            job = jobs.recv(), if open && channel.outstanding() < UNCONFIRMED_MAX => match job {
                Some(job) => {
                    channel.push(job);
                    while channel.outstanding() < UNCONFIRMED_MAX && let Ok(job) = jobs.try_recv() {
                        channel.push(job);
                    }
                }
                None => open = false,
            },
        }
    }
}
