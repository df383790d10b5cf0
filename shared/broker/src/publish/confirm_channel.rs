//! Publishing with confirms on one channel: unconfirmed messages are sent again until they are confirmed.
//!
//! One task owns a channel, so delivery tags are in the order of sending. After any error the task opens another channel,
//! declares the rungs again and sends every unconfirmed message again, in the same order.
//!
//! lapin attaches a returned (unroutable) message to the next confirm that arrives, which may belong to another message. Two
//! facts make that safe: a return arrives before the confirm of the same message, and [`ConfirmChannel::confirms`] reads
//! everything that has arrived before it resolves any message. So a message that was returned never counts as confirmed.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Confirmation};
use postrider_backoff::Backoff;

use super::outgoing::Outgoing;
use crate::connection::{self, Connection, SupervisedConnection};
use crate::error::BrokerError;
use crate::metrics::PublisherMetrics;

/// The broker's answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Confirmed,
    /// The message was nacked or returned. Occurs only with [`ResendPolicy::While`].
    Refused,
}

/// What happens to a message that is refused or unconfirmed.
pub(crate) enum ResendPolicy<T> {
    /// The message is sent again until it is confirmed.
    UntilConfirmed,
    /// A refused message is not sent again. Any other message is sent, or sent again, only if this function returns true for
    /// its token.
    While(fn(&T) -> bool),
}

/// The connection was closed for good: no further confirm arrives.
#[derive(Debug)]
pub(crate) struct Closed;

/// Why messages could not be sent.
enum SendError {
    Closed,
    Failed(BrokerError),
}

impl From<BrokerError> for SendError {
    fn from(error: BrokerError) -> Self {
        Self::Failed(error)
    }
}

impl From<lapin::Error> for SendError {
    fn from(error: lapin::Error) -> Self {
        Self::Failed(error.into())
    }
}

type PendingConfirm = Pin<Box<dyn Future<Output = (u64, Result<Confirmation, lapin::Error>)> + Send>>;

pub(crate) struct ConfirmChannel<T> {
    connection: SupervisedConnection,
    policy: ResendPolicy<T>,
    name: &'static str,
    metrics: PublisherMetrics,
    current: Option<(Arc<Connection>, Channel)>,
    next_id: u64,
    /// Messages that are neither confirmed nor refused, in the order of sending.
    unconfirmed: BTreeMap<u64, Outgoing<T>>,
    unsent: VecDeque<u64>,
    in_flight: FuturesUnordered<PendingConfirm>,
    flight_started: Option<Instant>,
    /// Whether to declare the topology before the next message, because the broker could not route a message.
    redeclare: bool,
    /// Whether to wait for the backoff's delay before the next message.
    pause: bool,
    backoff: Backoff,
}

impl<T: Send + 'static> ConfirmChannel<T> {
    pub(crate) fn new(connection: SupervisedConnection, name: &'static str, policy: ResendPolicy<T>) -> Self {
        Self {
            connection,
            policy,
            name,
            metrics: PublisherMetrics::new(name),
            current: None,
            next_id: 0,
            unconfirmed: BTreeMap::new(),
            unsent: VecDeque::new(),
            in_flight: FuturesUnordered::new(),
            flight_started: None,
            redeclare: false,
            pause: false,
            backoff: connection::backoff(),
        }
    }

    /// The number of messages that are neither confirmed nor refused.
    pub(crate) fn outstanding(&self) -> usize {
        self.unconfirmed.len()
    }

    pub(crate) fn metrics(&self) -> &PublisherMetrics {
        &self.metrics
    }

    /// Queues a message for [`ConfirmChannel::send_pending`].
    pub(crate) fn push(&mut self, outgoing: Outgoing<T>) {
        self.next_id += 1;
        self.unconfirmed.insert(self.next_id, outgoing);
        self.unsent.push_back(self.next_id);
    }

    /// Opens a channel and declares rungs if necessary, then sends the queued messages. Waits for as long as that takes. Not
    /// cancel-safe: call it outside of `select!`.
    pub(crate) async fn send_pending(&mut self) -> Result<(), Closed> {
        while !self.unsent.is_empty() {
            if std::mem::take(&mut self.pause) {
                tokio::time::sleep(self.backoff.next_delay()).await;
            }
            match self.try_send().await {
                Ok(()) => {}
                Err(SendError::Closed) => return Err(Closed),
                Err(SendError::Failed(error)) => {
                    tracing::warn!(publisher = self.name, %error, "publishing failed; trying again");
                    self.drop_channel();
                }
            }
        }
        Ok(())
    }

    async fn try_send(&mut self) -> Result<(), SendError> {
        let (connection, channel) = match self.current.take() {
            Some(current) => current,
            None => {
                let connection = self.connection.current().await.ok_or(SendError::Closed)?;
                let channel = connection.channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                (connection, channel)
            }
        };
        if self.redeclare {
            connection.redeclare().await?;
            self.redeclare = false;
        }
        while let Some(id) = self.unsent.front().copied() {
            if let Some(outgoing) = self.unconfirmed.get(&id) {
                if let ResendPolicy::While(is_wanted) = self.policy
                    && !is_wanted(&outgoing.token)
                {
                    self.unconfirmed.remove(&id);
                    self.unsent.pop_front();
                    continue;
                }
                if let Some(rung) = outgoing.rung {
                    connection.ensure_rung(rung).await?;
                }
                let confirm = outgoing.publish(channel.clone(), id, self.connection.user_id().property());
                self.in_flight.push(Box::pin(confirm.map(move |result| (id, result))));
                self.flight_started.get_or_insert_with(Instant::now);
            }
            self.unsent.pop_front();
        }
        self.current = Some((connection, channel));
        Ok(())
    }

    /// Waits for confirms and returns the messages that are confirmed or refused. The result is empty if all of these messages
    /// are sent again. Never returns while nothing is in flight. Cancel-safe.
    pub(crate) async fn confirms(&mut self) -> Vec<(T, Verdict)> {
        let Some(first) = self.in_flight.next().await else { return std::future::pending().await };
        let mut results = vec![first];
        while let Some(Some(result)) = self.in_flight.next().now_or_never() {
            results.push(result);
        }
        let mut returned = HashSet::new();
        let mut confirms = Vec::with_capacity(results.len());
        let mut failure = None;
        for (id, result) in results {
            match result {
                Ok(confirmation) => {
                    confirms.push((id, !confirmation.is_nack()));
                    returned.extend(self.returned(confirmation));
                }
                Err(error) => failure = Some(error),
            }
        }
        let answered =
            confirms.into_iter().filter_map(|(id, acked)| self.resolve(id, acked && !returned.contains(&id))).collect();
        if self.in_flight.is_empty()
            && let Some(started) = self.flight_started.take()
        {
            self.metrics.confirm_seconds.record(started.elapsed().as_secs_f64());
        }
        if let Some(error) = failure {
            self.connection.user_id().note(&error);
            tracing::warn!(
                publisher = self.name, %error, unconfirmed = self.unconfirmed.len(),
                "lost the publishing channel; opening another"
            );
            self.drop_channel();
        }
        answered
    }

    /// Returns the id of the returned message that this confirmation contains, if any, and causes the topology to be declared
    /// again.
    fn returned(&mut self, confirmation: Confirmation) -> Option<u64> {
        let message = confirmation.take_message()?;
        tracing::warn!(
            publisher = self.name, reply = %message.reply_text, exchange = %message.delivery.exchange,
            routing_key = %message.delivery.routing_key, "the broker could not route a message; declaring the queues again"
        );
        self.redeclare = true;
        message.delivery.properties.correlation_id().as_ref()?.as_str().parse().ok()
    }

    fn resolve(&mut self, id: u64, confirmed: bool) -> Option<(T, Verdict)> {
        let verdict = if confirmed {
            self.metrics.confirms.increment(1);
            self.backoff.reset();
            Verdict::Confirmed
        } else {
            self.metrics.refused.increment(1);
            if let ResendPolicy::UntilConfirmed = self.policy {
                self.metrics.republishes.increment(1);
                self.unsent.push_back(id);
                self.pause = true;
                return None;
            }
            Verdict::Refused
        };
        self.unconfirmed.remove(&id).map(|outgoing| (outgoing.token, verdict))
    }

    /// Drops the channel and queues every unconfirmed message for the next channel.
    fn drop_channel(&mut self) {
        if let Some((connection, _)) = self.current.take() {
            connection.report_failure();
        }
        self.metrics.republishes.increment(self.in_flight.len() as u64);
        self.in_flight = FuturesUnordered::new();
        self.flight_started = None;
        self.unsent = self.unconfirmed.keys().copied().collect();
        self.pause = true;
    }
}
