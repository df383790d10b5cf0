//! Intake: accepts events from the exchange `postrider.events`, through the queue behind the exchange.
//!
//! A message is acked after the broker has confirmed all of its events, as over HTTP. An event that cannot be accepted becomes
//! a dead letter with the reason, and the other events of its batch are accepted. A message that cannot be accepted *now* is
//! tried again. This happens while the broker is unavailable, while the inner queues contain too much, or when the
//! configuration of the tenant has not arrived. After a minute, the message moves to the end of the queue, so that it does not
//! block the messages behind it.
//!
//! A message cannot be answered with 429. Events that exceed their tenant's rate are accepted, and their deliveries use the
//! bulk lane.
//!
//! Intake does not check who published a message. The permissions of the broker do that (`docs/publishing.md`).

mod message;
mod message_event;
mod records;
mod routed_tenant;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use postrider_backoff::Backoff;
use postrider_broker::{Broker, ConsumeOptions, MessagePublisher, Poison, ProducerMessage, Queue, Unsettled};
use postrider_model::delivery::Lane;
use postrider_profiles::Mappings;
use postrider_telemetry::spans::{self, Cause};
use postrider_telemetry::trace_context::{TRACEPARENT, TraceContext};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use self::message::{Address, Content};
use self::routed_tenant::RoutedTenant;
use crate::Ingest;
use crate::admission::tenant_directory::PublishingTenant;
use crate::admission::{Admission, ExpiredEvents};
use crate::event::Event;
use crate::metrics::{self, Intaken};
use crate::refused::Refused;

/// Maximum number of messages in flight. A batch counts as one message. There is another limit for the events that wait for a
/// confirm.
const MESSAGES_MAX: u16 = 200;
/// Maximum number of bytes in flight.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Time for which a message is tried before it moves to the end of the queue.
const PATIENCE: Duration = Duration::from_secs(60);
/// Maximum time that a message waits for the configuration of its tenant before it moves to the end of the queue.
const CONFIG_WAIT_MAX: Duration = Duration::from_secs(10);
/// Maximum number of characters of an unknown tenant's name in a reason.
const TENANT_SHOWN_MAX: usize = 80;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Consumes the queue behind the public exchange.
pub(crate) struct Intake {
    worker: Arc<Worker>,
    broker: Broker,
}

struct Worker {
    ingest: Arc<Ingest>,
    mappings: Arc<Mappings>,
    publisher: MessagePublisher,
}

impl Intake {
    pub(crate) fn new(ingest: Arc<Ingest>, mappings: Arc<Mappings>, broker: Broker) -> Self {
        let publisher = broker.message_publisher();
        Self { worker: Arc::new(Worker { ingest, mappings, publisher }), broker }
    }

    /// Consumes messages from the time when the first configuration is loaded until `stop`. Then finishes the messages in
    /// flight.
    pub(crate) async fn run(self, stop: CancellationToken) {
        if stop.run_until_cancelled(self.worker.ingest.gate.directory.loaded()).await.is_none() {
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
    /// Tries to accept a message until it is accepted, refused, or moved to the end of the queue.
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
                Err(refused) if refused.is_temporary() => refused,
                Err(refused) => {
                    metrics::intake(Intaken::Refused);
                    return Err(Poison::new(refused.reason()).into());
                }
            };
            tracing::debug!(routing_key = message.routing_key, %why, "cannot accept a message now; trying again");
            if stop.run_until_cancelled(tokio::time::sleep(backoff.next_delay())).await.is_none() {
                return Err(Unsettled::Requeue("stopping".into()));
            }
            if received.elapsed() > PATIENCE {
                metrics::intake(Intaken::Postponed);
                self.publisher.requeue(Queue::Intake, message).await?;
                return Ok(());
            }
        }
    }

    async fn accept(&self, message: &ProducerMessage, attempt: &mut Attempt) -> Result<Intaken, Refused> {
        let address = Address::of(message).map_err(Refused::Malformed)?;
        let gate = &self.ingest.gate;
        gate.check_open()?;
        let tenant = self.tenant(address.tenant, attempt.received).await?;
        let routed = RoutedTenant { directory: &gate.directory, tenant: tenant.id };
        let events = match address.read(&routed, message, &tenant.profile.name, &self.mappings)? {
            Content::Nothing => return Ok(Intaken::Ignored),
            Content::Events(events) => events,
        };
        let lane = *attempt.lane.get_or_insert_with(|| gate.lane_of_message(tenant.id, events.len()));
        let admission = Admission { tenant, lane, expired: ExpiredEvents::Accept };

        // All events of the message belong to one trace: the trace of the current span if spans are exported, otherwise the
        // producer's trace, otherwise a new trace.
        let trace = TraceContext::onward(&Span::current(), message.header(TRACEPARENT));
        let accepter = &self.ingest.accepter;
        let (events, bodies): (Vec<_>, Vec<_>) = events.into_iter().map(|read| (read.event, read.alone)).unzip();
        let accept = async |event: Result<Event<'_>, Refused>| accepter.accept(&admission, event?, trace).await;
        let results: Vec<_> = events.into_iter().map(accept).collect::<FuturesOrdered<_>>().collect().await;
        let refused: Vec<(usize, Refused)> =
            results.into_iter().enumerate().filter_map(|(index, result)| Some((index, result.err()?))).collect();
        // After a temporary refusal, the whole message is tried again. The next try recognizes the accepted events by their ids
        // and does not publish them again.
        match refused.iter().rev().find(|(_, refused)| refused.is_temporary()) {
            Some((_, temporary)) => Err(temporary.clone()),
            None => self.dead_letter(message, &bodies, refused).await,
        }
    }

    /// Turns each refused event of a message into a dead letter. If the message contains only one event, returns the refusal
    /// instead, so that the whole message becomes the dead letter.
    async fn dead_letter(
        &self,
        message: &ProducerMessage,
        bodies: &[Option<Bytes>],
        mut refused: Vec<(usize, Refused)>,
    ) -> Result<Intaken, Refused> {
        if bodies.len() == 1 && refused.len() == 1 {
            return Err(refused.remove(0).1);
        }
        for (index, refused) in refused {
            let body = bodies.get(index).cloned().flatten().unwrap_or_else(|| message.body.clone());
            let alone = ProducerMessage { body, ..message.clone() };
            let reason = format!("event {} of {}: {}", index + 1, bodies.len(), refused.reason());
            let put = self.publisher.dead_letter_message(&alone, Queue::Intake, &reason).await;
            put.map_err(|error| Refused::later(error.to_string(), LONGEST_PAUSE))?;
        }
        Ok(Intaken::Accepted)
    }

    /// Returns the tenant with this id or external id. If the tenant is unknown, waits for a configuration at least as new as
    /// the message.
    async fn tenant(&self, name: &str, received: Instant) -> Result<PublishingTenant, Refused> {
        let directory = &self.ingest.gate.directory;
        if let Ok(tenant) = directory.find(name) {
            return directory.publishing_tenant(tenant);
        }
        let shown: String = name.chars().take(TENANT_SHOWN_MAX).collect();
        if tokio::time::timeout(CONFIG_WAIT_MAX, directory.caught_up(received)).await.is_err() {
            let detail = format!("{shown} is not known here, and the database that may know it is not available");
            return Err(Refused::later(detail, LONGEST_PAUSE));
        }
        let found = directory.find(name).map_err(|_| Refused::Malformed(format!("there is no tenant {shown:?}")))?;
        directory.publishing_tenant(found)
    }
}

/// The state that all tries of one message share.
struct Attempt {
    received: Instant,
    /// The lane. It is set after the first try has charged the tenant's rate.
    lane: Option<Lane>,
}
