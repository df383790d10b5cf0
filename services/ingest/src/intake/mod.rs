//! Intake: events from the exchange `postrider.events`, through the queue behind it.
//!
//! What it promises: a message is acked when every event of it is confirmed as one over HTTP would be, and what cannot be
//! accepted is a dead letter with the reason, alone (of a batch only the members that are wrong). What cannot be accepted
//! *now* is tried again: the broker away, the inner queues too deep, the tenant's news still on their way. After a minute
//! it goes to the end of the queue, so that nothing stays unacked for long and nothing blocks what is behind it.
//!
//! Nobody can be told 429 here: what is over its tenant's rate is accepted, and its deliveries take the bulk lane.
//!
//! What it does not: check who published. The broker's permissions do (`docs/publishing.md`).

mod message;
mod records;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{FuturesOrdered, StreamExt};
use postrider_backoff::Backoff;
use postrider_broker::{Broker, ConsumeOptions, MessagePublisher, Poison, ProducerMessage, Queue, Unsettled};
use postrider_http::problem::Problem;
use postrider_model::delivery::Lane;
use postrider_profiles::Mappings;
use postrider_telemetry::spans::{self, Cause};
use postrider_telemetry::trace_context::{TRACEPARENT, TraceContext};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use self::message::{Address, Content, Member};
use crate::Ingest;
use crate::accept::Publisher;
use crate::metrics::{self, Intaken};
use crate::sender::Routed;

/// Messages in hand at once. A batch counts as one; what waits for a confirm is bounded besides.
const MESSAGES_MAX: u16 = 200;
/// Bytes of them.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a message is tried before it goes to the end of the queue.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long news of a tenant are waited for before a message of it goes to the end of the queue.
const NEWS_MAX: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a message was not accepted.
#[derive(Debug)]
enum Refusal {
    /// It never will be.
    Never(String),
    /// It may be later.
    NotNow(String),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        // 429: the event is sound, and waits.
        if problem.status >= 500 || problem.status == 429 {
            Self::NotNow(problem.detail)
        } else {
            Self::Never(reason(&problem))
        }
    }
}

/// The consumer of the queue behind the public exchange.
pub(crate) struct Intake {
    worker: Arc<Worker>,
    broker: Broker,
}

struct Worker {
    ingest: Arc<Ingest>,
    mappings: Arc<Mappings>,
    singles: MessagePublisher,
}

impl Intake {
    pub(crate) fn new(ingest: Arc<Ingest>, mappings: Arc<Mappings>, broker: Broker) -> Self {
        let singles = broker.message_publisher();
        Self { worker: Arc::new(Worker { ingest, mappings, singles }), broker }
    }

    /// Takes messages once the first configuration is loaded, until `stop`; then finishes what is in hand.
    pub(crate) async fn run(self, stop: CancellationToken) {
        if stop.run_until_cancelled(self.worker.ingest.keys.loaded()).await.is_none() {
            return;
        }
        let options = ConsumeOptions {
            prefetch: MESSAGES_MAX,
            members_max: MESSAGES_MAX.into(),
            bytes_max: BYTES_MAX,
            ..Default::default()
        };
        let (worker, stopping) = (self.worker, stop.clone());
        let handler = move |message: ProducerMessage| {
            let (worker, stopping) = (Arc::clone(&worker), stopping.clone());
            async move {
                let cause = Cause::outside(message.header(TRACEPARENT));
                let span =
                    spans::process(Queue::Intake.name(), &message.message_id.as_deref().unwrap_or_default(), cause);
                worker.handle(&message, &stopping).instrument(span).await
            }
        };
        self.broker.consume_producer_messages(Queue::Intake, options, handler, stop).await;
    }
}

impl Worker {
    /// Settles one message.
    async fn handle(&self, message: &ProducerMessage, stop: &CancellationToken) -> Result<(), Unsettled> {
        let received = Instant::now();
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut attempt = Attempt { received, lane: None };
        loop {
            let why = match self.accept(message, &mut attempt).await {
                Ok(what) => {
                    metrics::intake(what);
                    return Ok(());
                }
                Err(Refusal::Never(reason)) => {
                    metrics::intake(Intaken::Refused);
                    return Err(Poison::new(reason).into());
                }
                Err(Refusal::NotNow(why)) => why,
            };
            tracing::debug!(routing_key = message.routing_key, why, "a message cannot be accepted now");
            if stop.run_until_cancelled(tokio::time::sleep(backoff.next_delay())).await.is_none() {
                return Err(Unsettled::Requeue("stopping".into()));
            }
            if received.elapsed() > PATIENCE {
                metrics::intake(Intaken::Postponed);
                self.singles.requeue(Queue::Intake, message).await?;
                return Ok(());
            }
        }
    }

    async fn accept(&self, message: &ProducerMessage, attempt: &mut Attempt) -> Result<Intaken, Refusal> {
        let address = Address::of(message).map_err(Refusal::Never)?;
        self.ingest.check_waiting()?;
        let mut publisher = self.publisher(address.tenant, attempt.received).await?;
        let whose = Routed { keys: &self.ingest.keys, tenant: publisher.tenant };
        let members =
            match address.read(&whose, message, &publisher.profile.name, &self.mappings).map_err(Refusal::from)? {
                Content::Nothing => return Ok(Intaken::Ignored),
                Content::Events(members) => members,
            };
        publisher.lane = *attempt.lane.get_or_insert_with(|| self.charge(&publisher, members.len()));

        // One trace for all events of the message: ours, linked to the producer's; without an exporter the producer's.
        let trace = TraceContext::onward(&Span::current(), message.header(TRACEPARENT));
        let mut accepting: FuturesOrdered<_> =
            members.iter().map(|member| self.accept_member(&publisher, member, trace)).collect();
        let (mut refused, mut later) = (Vec::new(), None);
        let mut place = 0;
        while let Some(result) = accepting.next().await {
            match result {
                Ok(()) => {}
                Err(Refusal::NotNow(why)) => later = Some(why),
                Err(Refusal::Never(reason)) => refused.push((place, reason)),
            }
            place += 1;
        }
        drop(accepting);
        // Whatever was accepted is known by its id when all of it is tried again.
        if let Some(why) = later {
            return Err(Refusal::NotNow(why));
        }
        self.put_aside(message, &members, refused).await
    }

    async fn accept_member(
        &self,
        publisher: &Publisher,
        member: &Member<'_>,
        trace: TraceContext,
    ) -> Result<(), Refusal> {
        let event = member.event.as_ref().map_err(|problem| Refusal::from(problem.clone()))?;
        self.ingest.accepter.accept(publisher, event, trace).await?;
        Ok(())
    }

    /// Puts what was refused aside: the message as it came where it is one event, else each bad member of a batch as a batch
    /// of one.
    async fn put_aside(
        &self,
        message: &ProducerMessage,
        members: &[Member<'_>],
        mut refused: Vec<(usize, String)>,
    ) -> Result<Intaken, Refusal> {
        if members.len() == 1 && refused.len() == 1 {
            return Err(Refusal::Never(refused.remove(0).1));
        }
        for (place, reason) in refused {
            let alone = members.get(place).and_then(|member| member.alone.clone());
            let alone = ProducerMessage { body: alone.unwrap_or_else(|| message.body.clone()), ..message.clone() };
            let reason = format!("event {} of {}: {reason}", place + 1, members.len());
            let put = self.singles.dead_letter_message(&alone, Queue::Intake, &reason).await;
            put.map_err(|error| Refusal::NotNow(error.to_string()))?;
        }
        Ok(Intaken::Accepted)
    }

    /// The tenant of this id or external id, with whatever was known of it when the message came.
    async fn publisher(&self, name: &str, received: Instant) -> Result<Publisher, Refusal> {
        let keys = &self.ingest.keys;
        if let Ok(tenant) = keys.find_tenant(name) {
            return Ok(keys.publisher(tenant)?);
        }
        let tenant: String = name.chars().take(80).collect();
        if tokio::time::timeout(NEWS_MAX, keys.caught_up(received)).await.is_err() {
            let why = format!("{tenant} is not known here, and the database that may know it is not available");
            return Err(Refusal::NotNow(why));
        }
        let found = keys.find_tenant(name).map_err(|_| Refusal::Never(format!("there is no tenant {tenant:?}")))?;
        Ok(keys.publisher(found)?)
    }

    /// The lane for so many events: bulk, when they are more than the tenant's rate allows now, or too many of its deliveries wait.
    fn charge(&self, publisher: &Publisher, events: usize) -> Lane {
        let Ingest { keys, waiting, .. } = &*self.ingest;
        let within = keys.charge(publisher.tenant, events).is_ok()
            && waiting.check_tenant(publisher.tenant, keys.waiting_max(publisher.tenant)).is_ok();
        if within { Lane::Live } else { Lane::Bulk }
    }
}

/// What one message's tries share.
struct Attempt {
    received: Instant,
    /// Charged once.
    lane: Option<Lane>,
}

/// A problem in one line, every wrong field with its place.
fn reason(problem: &Problem) -> String {
    if problem.errors.is_empty() {
        return problem.detail.clone();
    }
    let each: Vec<String> = problem.errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
    each.join("; ")
}
