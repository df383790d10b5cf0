//! Publishing with confirms on one channel: what is not confirmed is sent again until it is.
//!
//! One task owns a pipeline, so delivery tags follow the order of sending. Any error drops the channel; the next one gets
//! everything that was unconfirmed, in the old order, with its rungs declared first.
//!
//! lapin hands a returned (unroutable) message to whichever confirm resolves next, not to its own. Two facts make that safe here:
//! a return always arrives before the confirm of the same message, and [`ConfirmChannel::confirms`] looks at everything that has
//! resolved before it settles anything. So a return is known by the time its message would count as confirmed.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};

use postrider_wire::bundle::{self, Member};

use crate::connection::{self, Connection, SupervisedConnection};
use crate::ladder::Rung;
use crate::metrics::PublisherMetrics;
use postrider_backoff::Backoff;

const PERSISTENT: u8 = 2;
const TRANSIENT: u8 = 1;

/// A message on its way. Headers are always fresh: the broker's own (`x-death` and its kin) are never sent back to it.
pub(crate) struct Outgoing<T> {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) body: Bytes,
    /// Empty: none.
    pub(crate) content_type: ShortString,
    /// The producer's own, on what is sent on as it came.
    pub(crate) message_id: Option<ShortString>,
    pub(crate) headers: Option<FieldTable>,
    /// The rung it goes to, declared before it is sent.
    pub(crate) rung: Option<Rung>,
    /// An answer to a call: neither kept on disk nor expected to have a receiver still.
    pub(crate) answers: Option<ShortString>,
    /// What the owner knows it by.
    pub(crate) token: T,
}

impl<T> Outgoing<T> {
    /// A bundle of these members, and nothing else about it.
    pub(crate) fn bundle(exchange: &'static str, routing_key: ShortString, members: &[Member], token: T) -> Self {
        Self {
            exchange: exchange.into(),
            routing_key,
            body: bundle::encode(members).into(),
            content_type: bundle::CONTENT_TYPE.into(),
            message_id: None,
            headers: None,
            rung: None,
            answers: None,
            token,
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Confirmed,
    /// Nacked or returned, and the policy is to tell instead of to repeat.
    Refused,
}

/// What to do with a message that was refused or is unconfirmed.
pub(crate) enum Policy<T> {
    /// Send it again until it is confirmed.
    Persist,
    /// Tell when it was refused; forget it, instead of sending it, once it is not wanted any more.
    Tell(fn(&T) -> bool),
}

/// The link was closed: nothing will be confirmed any more.
#[derive(Debug)]
pub(crate) struct Closed;

type InFlight = Pin<Box<dyn Future<Output = (u64, Result<Confirmation, lapin::Error>)> + Send>>;

pub(crate) struct ConfirmChannel<T> {
    link: SupervisedConnection,
    policy: Policy<T>,
    name: &'static str,
    metrics: PublisherMetrics,
    current: Option<(Arc<Connection>, Channel)>,
    next_id: u64,
    /// Everything not settled yet, by the order of sending.
    unconfirmed: BTreeMap<u64, Outgoing<T>>,
    unsent: VecDeque<u64>,
    in_flight: FuturesUnordered<InFlight>,
    flight_started: Option<Instant>,
    redeclare: bool,
    pause: bool,
    backoff: Backoff,
}

impl<T: Send + 'static> ConfirmChannel<T> {
    pub(crate) fn new(link: SupervisedConnection, name: &'static str, policy: Policy<T>) -> Self {
        Self {
            link,
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

    /// Messages that are not settled.
    pub(crate) fn outstanding(&self) -> usize {
        self.unconfirmed.len()
    }

    pub(crate) fn metrics(&self) -> &PublisherMetrics {
        &self.metrics
    }

    /// Takes a message; [`ConfirmChannel::advance`] sends it.
    pub(crate) fn push(&mut self, outgoing: Outgoing<T>) {
        self.next_id += 1;
        self.unconfirmed.insert(self.next_id, outgoing);
        self.unsent.push_back(self.next_id);
    }

    /// Sends what was pushed, after making a channel and declaring what is needed, however long that takes. Not to be
    /// cancelled halfway: call it outside of any `select!`.
    pub(crate) async fn advance(&mut self) -> Result<(), Closed> {
        while !self.unsent.is_empty() {
            if std::mem::take(&mut self.pause) {
                tokio::time::sleep(self.backoff.next_delay()).await;
            }
            if let Err(error) = self.send_unsent().await? {
                tracing::warn!(publisher = self.name, %error, "publishing failed, trying again");
                self.drop_channel();
            }
        }
        Ok(())
    }

    async fn send_unsent(&mut self) -> Result<Result<(), crate::BrokerError>, Closed> {
        let (live, channel) = match self.current.take() {
            Some(current) => current,
            None => {
                let live = self.link.live().await.ok_or(Closed)?;
                match open(&live).await {
                    Ok(channel) => (live, channel),
                    Err(error) => return Ok(Err(error.into())),
                }
            }
        };
        if std::mem::take(&mut self.redeclare)
            && let Err(error) = live.redeclare().await
        {
            self.redeclare = true;
            return Ok(Err(error));
        }
        while let Some(id) = self.unsent.front().copied() {
            if let Some(outgoing) = self.unconfirmed.get(&id) {
                if let Policy::Tell(wanted) = self.policy
                    && !wanted(&outgoing.token)
                {
                    self.unconfirmed.remove(&id);
                    self.unsent.pop_front();
                    continue;
                }
                if let Some(rung) = outgoing.rung
                    && !live.knows_rung(rung)
                    && let Err(error) = live.ensure_rung(rung).await
                {
                    return Ok(Err(error));
                }
                self.in_flight.push(publish(channel.clone(), id, outgoing, self.link.user_id().property()));
                self.flight_started.get_or_insert_with(Instant::now);
            }
            self.unsent.pop_front();
        }
        self.current = Some((live, channel));
        Ok(Ok(()))
    }

    /// Waits for confirms and tells what was settled; possibly nothing, when all there was is sent again. Pending for ever while
    /// nothing is in flight. Safe to cancel.
    pub(crate) async fn confirms(&mut self) -> Vec<(T, Verdict)> {
        let Some(first) = self.in_flight.next().await else { return std::future::pending().await };
        let mut results = vec![first];
        while let Some(Some(result)) = self.in_flight.next().now_or_never() {
            results.push(result);
        }
        let mut returned = HashSet::new();
        let mut resolved = Vec::with_capacity(results.len());
        let mut failure = None;
        for (id, result) in results {
            match result {
                Ok(confirmation) => {
                    resolved.push((id, !confirmation.is_nack()));
                    if let Some(message) = confirmation.take_message() {
                        tracing::warn!(
                            publisher = self.name, reply = %message.reply_text, exchange = %message.delivery.exchange,
                            routing_key = %message.delivery.routing_key, "the broker returned a message"
                        );
                        let id = message.delivery.properties.correlation_id();
                        let id = id.as_ref().and_then(|id| id.as_str().parse().ok());
                        returned.extend::<Option<u64>>(id);
                        self.redeclare = true;
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        let mut settled = Vec::with_capacity(resolved.len());
        for (id, acked) in resolved {
            self.settle(id, acked && !returned.contains(&id), &mut settled);
        }
        if self.in_flight.is_empty()
            && let Some(started) = self.flight_started.take()
        {
            self.metrics.confirm_seconds.record(started.elapsed().as_secs_f64());
        }
        if let Some(error) = failure {
            self.link.user_id().note(&error);
            tracing::warn!(publisher = self.name, %error, unconfirmed = self.unconfirmed.len(), "lost the publishing channel");
            self.drop_channel();
        }
        settled
    }

    fn settle(&mut self, id: u64, confirmed: bool, settled: &mut Vec<(T, Verdict)>) {
        if confirmed {
            self.metrics.confirms.increment(1);
            self.backoff.reset();
            settled.extend(self.unconfirmed.remove(&id).map(|outgoing| (outgoing.token, Verdict::Confirmed)));
            return;
        }
        self.metrics.refused.increment(1);
        match self.policy {
            Policy::Tell(_) => {
                settled.extend(self.unconfirmed.remove(&id).map(|outgoing| (outgoing.token, Verdict::Refused)));
            }
            Policy::Persist => {
                self.metrics.republishes.increment(1);
                self.unsent.push_back(id);
                self.pause = true;
            }
        }
    }

    /// Forgets the channel; everything unconfirmed is to be sent again, on the next one.
    fn drop_channel(&mut self) {
        if let Some((live, _)) = self.current.take() {
            live.report();
        }
        self.metrics.republishes.increment(self.in_flight.len() as u64);
        self.in_flight = FuturesUnordered::new();
        self.flight_started = None;
        self.unsent = self.unconfirmed.keys().copied().collect();
        self.pause = true;
    }
}

async fn open(live: &Connection) -> Result<Channel, lapin::Error> {
    let channel = live.channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

fn publish<T>(channel: Channel, id: u64, outgoing: &Outgoing<T>, user_id: Option<ShortString>) -> InFlight {
    // What a return is known by; an answer, which is never returned, carries its caller's.
    let correlation = outgoing.answers.clone().unwrap_or_else(|| id.to_string().into());
    let mut properties = BasicProperties::default()
        .with_correlation_id(correlation)
        .with_delivery_mode(if outgoing.answers.is_some() { TRANSIENT } else { PERSISTENT });
    if let Some(user_id) = user_id {
        properties = properties.with_user_id(user_id);
    }
    if !outgoing.content_type.as_str().is_empty() {
        properties = properties.with_content_type(outgoing.content_type.clone());
    }
    if let Some(message_id) = &outgoing.message_id {
        properties = properties.with_message_id(message_id.clone());
    }
    if let Some(headers) = &outgoing.headers {
        properties = properties.with_headers(headers.clone());
    }
    let options = BasicPublishOptions { mandatory: outgoing.answers.is_none(), ..Default::default() };
    let (exchange, key, body) = (outgoing.exchange.clone(), outgoing.routing_key.clone(), outgoing.body.clone());
    Box::pin(async move {
        let result = match channel.basic_publish(exchange, key, options, &body, properties).await {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        (id, result)
    })
}
