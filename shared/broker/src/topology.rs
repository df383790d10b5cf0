//! Names, arguments and bindings of everything Postrider keeps in the broker.
//!
//! Every argument is spelt out and every queue is redeclared at each connect: the broker compares, and a queue that exists with
//! other arguments is a clear [`BrokerError::Inequivalent`] instead of, say, dead-lettering that silently became at-most-once.
//! (A *policy* can still defeat arguments unseen; that is the operator's page.) Lanes are declared before rungs: a rung whose lane
//! is missing when a message expires waits for the broker's slow retry.
//!
//! Length limits stand only at what ingest publishes to; an inner queue with a limit would deadlock rungs, dispatchers and acks
//! against each other.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ErrorKind, ExchangeKind};
use postrider_model::delivery::Lane;

use crate::error::BrokerError;
use crate::ladder::{self, Rung};

/// Where producers publish: routing key `<tenant>.<event type>`, `<tenant>.batch` or `<tenant>.kumomta`. Public, as is no
/// other name here.
pub const EVENTS_EXCHANGE: &str = "postrider.events";
/// Accepted events, in bundles: to the fan-out and to the event log.
pub const ACCEPTED_EXCHANGE: &str = "postrider.accepted";
/// Deliveries to their lane: routing key `<lane>`, or `<ms>.<lane>` when they come from a rung.
pub const LANES_EXCHANGE: &str = "postrider.lanes";
/// Deliveries to a rung: routing key `<ms>.<lane>`.
pub const DELAY_EXCHANGE: &str = "postrider.delay";
/// What the recorder writes down: routing keys `decisions` and `outcomes`.
pub const RECORD_EXCHANGE: &str = "postrider.record";
/// What services tell each other while they run, see [`crate::hints`].
pub const HINTS_EXCHANGE: &str = "postrider.hints";
/// What could not be processed.
pub const DEAD_EXCHANGE: &str = "postrider.dead";

/// Bundles that may wait for the fan-out or in the event log before ingest is refused.
pub const ACCEPTED_MESSAGES_MAX: i64 = 200_000;
/// Producers' messages that may wait for ingest before the broker refuses further ones.
pub const INTAKE_MESSAGES_MAX: i64 = 200_000;
/// Bytes of them that may wait.
pub const INTAKE_BYTES_MAX: i64 = 1_073_741_824;
/// Returns to its queue after which the broker itself dead-letters a message (we do so much earlier).
const DELIVERY_LIMIT: i64 = 100;
/// The dead letters have no dead letters: never dropped for having been returned often.
const DEAD_LETTERS_DELIVERY_LIMIT: i64 = 1_000_000_000;
const RPC_TTL_MS: i64 = 30_000;
const RPC_MESSAGES_MAX: i64 = 1_000;
const HINTS_TTL_MS: i64 = 30_000;
const HINTS_MESSAGES_MAX: i64 = 1_000;

/// A queue that services consume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// What producers published, for ingest.
    Intake,
    /// Accepted events for the fan-out.
    Fanout,
    /// Accepted events for the recorder.
    EventLog,
    /// Deliveries.
    Lane(Lane),
    /// What the fan-out decided, for the recorder.
    Decisions,
    /// How attempts ended, for the recorder.
    Outcomes,
    /// What could not be processed, for the recorder.
    DeadLetters,
    /// Test calls to a dispatcher, see [`crate::rpc`].
    RpcTest,
}

impl Queue {
    /// The queue's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intake => "postrider.intake",
            Self::Fanout => "postrider.fanout",
            Self::EventLog => "postrider.event-log",
            Self::Lane(Lane::Live) => "postrider.lane.live",
            Self::Lane(Lane::Slow) => "postrider.lane.slow",
            Self::Lane(Lane::Bulk) => "postrider.lane.bulk",
            Self::Decisions => "postrider.decisions",
            Self::Outcomes => "postrider.outcomes",
            Self::DeadLetters => "postrider.dead-letters",
            Self::RpcTest => "postrider.rpc.test",
        }
    }

    /// The queue of this name, if it is one that messages go to for good: calls are answered or forgotten.
    pub fn named(name: &str) -> Option<Self> {
        let lanes = Lane::ALL.into_iter().map(Self::Lane);
        let others = [Self::Intake, Self::Fanout, Self::EventLog, Self::Decisions, Self::Outcomes];
        others.into_iter().chain(lanes).find(|queue| queue.name() == name)
    }

    /// The queue that a dead letter may be requeued to. A message whose routing key begins with a tenant was published by a producer,
    /// so that only [`Queue::Intake`] may get it, whatever is said of its source.
    pub fn requeue_target(source: &str, routing_key: &str) -> Option<Self> {
        if is_producers_key(routing_key) { Some(Self::Intake) } else { Self::named(source) }
    }
}

/// Where a [`BatchPublisher`](crate::BatchPublisher) publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// Accepted events, to fan-out and event log.
    Accepted,
    /// Deliveries to be attempted now.
    Lane(Lane),
    /// Decisions, to the recorder.
    Decisions,
    /// Outcomes, to the recorder.
    Outcomes,
}

impl Route {
    pub(crate) fn address(self) -> (&'static str, &'static str) {
        match self {
            Self::Accepted => (ACCEPTED_EXCHANGE, ""),
            Self::Lane(lane) => (LANES_EXCHANGE, lane_key(lane)),
            Self::Decisions => (RECORD_EXCHANGE, "decisions"),
            Self::Outcomes => (RECORD_EXCHANGE, "outcomes"),
        }
    }

    pub(crate) fn publisher(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Lane(lane) => lane_key(lane),
            Self::Decisions => "decisions",
            Self::Outcomes => "outcomes",
        }
    }
}

/// How many bytes a message had before it was cut; on dead letters of producers of which only the beginning is kept.
pub const CUT_HEADER: &str = "x-body-cut";

/// Whether a routing key is one that only producers publish with: a tenant's id or external id, a dot and more. Services publish
/// with words without a dot, with queues' names (`postrider.…`) and with rungs (`1000.live`); an external id of digits alone
/// looks like the latter and is not recognized.
pub fn is_producers_key(routing_key: &str) -> bool {
    let tenant = routing_key.split_once('.').map(|(tenant, _)| tenant);
    tenant.is_some_and(|tenant| tenant != "postrider" && !tenant.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(crate) fn lane_key(lane: Lane) -> &'static str {
    match lane {
        Lane::Live => "live",
        Lane::Slow => "slow",
        Lane::Bulk => "bulk",
    }
}

/// Rungs up to this delay are declared at every start, longer ones when first used.
const RUNGS_AT_START_MAX: Duration = Duration::from_secs(10);

/// The name of a rung's queue.
pub fn rung_queue(rung: Rung) -> String {
    format!("postrider.delay.{rung}")
}

/// Declares exchanges, queues and bindings and compares them with what is there.
pub(crate) async fn declare(channel: &Channel) -> Result<(), BrokerError> {
    for (name, kind) in [
        (DEAD_EXCHANGE, ExchangeKind::Fanout),
        (HINTS_EXCHANGE, ExchangeKind::Fanout),
        (EVENTS_EXCHANGE, ExchangeKind::Topic),
        (LANES_EXCHANGE, ExchangeKind::Topic),
        (RECORD_EXCHANGE, ExchangeKind::Direct),
        (ACCEPTED_EXCHANGE, ExchangeKind::Fanout),
        (DELAY_EXCHANGE, ExchangeKind::Topic),
    ] {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        channel
            .exchange_declare(name.into(), kind, options, FieldTable::default())
            .await
            .map_err(|error| explain("exchange", name, error))?;
    }
    let mut dead = FieldTable::default();
    set(&mut dead, "x-queue-type", "quorum");
    set_number(&mut dead, "x-delivery-limit", DEAD_LETTERS_DELIVERY_LIMIT);
    queue(channel, Queue::DeadLetters.name(), dead, DEAD_EXCHANGE, "").await?;
    for lane in Lane::ALL {
        let key = format!("#.{}", lane_key(lane));
        queue(channel, Queue::Lane(lane).name(), quorum(), LANES_EXCHANGE, &key).await?;
    }
    queue(channel, Queue::Decisions.name(), quorum(), RECORD_EXCHANGE, "decisions").await?;
    queue(channel, Queue::Outcomes.name(), quorum(), RECORD_EXCHANGE, "outcomes").await?;
    for name in [Queue::Fanout.name(), Queue::EventLog.name()] {
        let mut arguments = quorum();
        set_number(&mut arguments, "x-max-length", ACCEPTED_MESSAGES_MAX);
        queue(channel, name, arguments, ACCEPTED_EXCHANGE, "").await?;
    }
    let mut intake = quorum();
    set_number(&mut intake, "x-max-length", INTAKE_MESSAGES_MAX);
    set_number(&mut intake, "x-max-length-bytes", INTAKE_BYTES_MAX);
    queue(channel, Queue::Intake.name(), intake, EVENTS_EXCHANGE, "#").await?;
    let mut rpc = FieldTable::default();
    set(&mut rpc, "x-queue-type", "classic");
    set(&mut rpc, "x-overflow", "drop-head");
    set_number(&mut rpc, "x-message-ttl", RPC_TTL_MS);
    set_number(&mut rpc, "x-max-length", RPC_MESSAGES_MAX);
    declare_queue(channel, Queue::RpcTest.name(), rpc).await?;
    // RabbitMQ 3.10 writes a quorum queue's registration to disk up to half a second after it confirmed the declaration.
    // Killed within that time it comes back with a queue that has neither its messages nor a leader, and declaring or
    // publishing to it hangs. So the rungs that a burst would use for the first time are there before any load is.
    for rung in ladder::rungs().iter().take_while(|rung| rung.delay() <= RUNGS_AT_START_MAX) {
        declare_rung(channel, *rung).await?;
    }
    Ok(())
}

/// Declares one rung.
pub(crate) async fn declare_rung(channel: &Channel, rung: Rung) -> Result<(), BrokerError> {
    let mut arguments = quorum();
    set(&mut arguments, "x-dead-letter-exchange", LANES_EXCHANGE);
    set_number(&mut arguments, "x-message-ttl", i64::try_from(rung.millis()).unwrap_or(i64::MAX));
    queue(channel, &rung_queue(rung), arguments, DELAY_EXCHANGE, &format!("{rung}.*")).await
}

/// The arguments that every quorum queue with dead letters has. All of strategy, overflow and exchange are needed for
/// at-least-once dead-lettering; without one of them the broker falls back to at-most-once and says nothing.
fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    set(&mut arguments, "x-queue-type", "quorum");
    set(&mut arguments, "x-dead-letter-exchange", DEAD_EXCHANGE);
    set(&mut arguments, "x-dead-letter-strategy", "at-least-once");
    set(&mut arguments, "x-overflow", "reject-publish");
    set_number(&mut arguments, "x-delivery-limit", DELIVERY_LIMIT);
    arguments
}

fn set(arguments: &mut FieldTable, name: &str, value: &str) {
    arguments.insert(name.into(), AMQPValue::LongString(value.into()));
}

fn set_number(arguments: &mut FieldTable, name: &str, value: i64) {
    arguments.insert(name.into(), AMQPValue::LongLongInt(value));
}

async fn queue(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
    exchange: &str,
    key: &str,
) -> Result<(), BrokerError> {
    declare_queue(channel, name, arguments).await?;
    channel
        .queue_bind(name.into(), exchange.into(), key.into(), QueueBindOptions::default(), FieldTable::default())
        .await
        .map_err(|error| explain("queue", name, error))
}

async fn declare_queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel
        .queue_declare(ShortString::from(name), options, arguments)
        .await
        .map(|_| ())
        .map_err(|error| explain("queue", name, error))
}

/// Declares a queue for one listener to hints, which goes with its connection, and binds it; returns its name. It is bounded:
/// of hints that nobody takes the oldest are dropped.
pub(crate) async fn declare_hints(channel: &Channel) -> Result<ShortString, lapin::Error> {
    let name: ShortString = format!("{HINTS_EXCHANGE}.{:016x}", rand::random::<u64>()).into();
    let mut arguments = FieldTable::default();
    set(&mut arguments, "x-queue-type", "classic");
    set(&mut arguments, "x-overflow", "drop-head");
    set_number(&mut arguments, "x-message-ttl", HINTS_TTL_MS);
    set_number(&mut arguments, "x-max-length", HINTS_MESSAGES_MAX);
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    channel.queue_declare(name.clone(), options, arguments).await?;
    let binding = QueueBindOptions::default();
    channel.queue_bind(name.clone(), HINTS_EXCHANGE.into(), "".into(), binding, FieldTable::default()).await?;
    Ok(name)
}

/// Turns the broker's 406 into an error that names the argument.
fn explain(kind: &'static str, name: &str, error: lapin::Error) -> BrokerError {
    let ErrorKind::ProtocolError(protocol) = error.kind() else { return error.into() };
    let text = protocol.get_message().as_str();
    match inequivalent_argument(text) {
        Some(argument) => BrokerError::Inequivalent {
            kind,
            name: name.to_owned(),
            argument: argument.to_owned(),
            detail: text.split(": ").last().unwrap_or(text).trim().to_owned(),
        },
        None => error.into(),
    }
}

/// `PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received … but current is …`
fn inequivalent_argument(text: &str) -> Option<&str> {
    text.split_once("inequivalent arg '")?.1.split_once('\'').map(|(argument, _)| argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_a_tenants_key_is_requeued_to_the_intake_alone() {
        for source in ["postrider.intake", "postrider.fanout", "unknown", ""] {
            assert_eq!(Queue::requeue_target(source, "ten_operator.a.b"), Some(Queue::Intake), "{source}");
        }
        assert_eq!(Queue::requeue_target("postrider.fanout", ""), Some(Queue::Fanout));
        assert_eq!(Queue::requeue_target("postrider.lane.live", "live"), Some(Queue::Lane(Lane::Live)));
        assert_eq!(Queue::requeue_target("unknown", "live"), None);
        assert_eq!(Queue::requeue_target("postrider.fanout", "acme.order.paid"), Some(Queue::Intake), "an external id");
        assert_eq!(Queue::requeue_target("postrider.lane.slow", "1000.slow"), Some(Queue::Lane(Lane::Slow)), "a rung");
        assert_eq!(Queue::requeue_target("postrider.outcomes", "postrider.outcomes"), Some(Queue::Outcomes));
    }

    #[test]
    fn the_argument_is_read_from_the_brokers_words() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'postrider.delay.1000' in vhost '/': \
                    received the value '1000' of type 'signedint' but current is none";
        assert_eq!(inequivalent_argument(text), Some("x-message-ttl"));
        assert_eq!(inequivalent_argument("NOT_FOUND - no queue 'x'"), None);
    }
}
