//! Declaring the topology.
//!
//! After each connect every queue is declared with all of its arguments. If a queue exists with other arguments, the broker
//! answers with an error ([`BrokerError::Inequivalent`]). Without this check a changed argument could, for example, make
//! dead-lettering at-most-once unnoticed. (A *policy* can still override arguments unnoticed, see the operator's
//! documentation.) Lanes are declared before rungs: a message that expires in a rung without its lane waits for the broker's
//! slow retry.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ErrorKind, ExchangeKind};
use postrider_model::delivery::Lane;

use super::{
    ACCEPTED_EXCHANGE, ACCEPTED_IN_ORDER_EXCHANGE, ACCEPTED_MESSAGES_MAX, DEAD_EXCHANGE, DELAY_EXCHANGE,
    EVENTS_EXCHANGE, HINTS_EXCHANGE, INTAKE_BYTES_MAX, INTAKE_MESSAGES_MAX, LANES_EXCHANGE, Queue, RECORD_EXCHANGE,
    lane_key, rung_queue,
};
use crate::error::BrokerError;
use crate::ladder::{self, Rung};

/// The broker dead-letters a message that has returned to its queue more often than this. Consumers dead-letter it much
/// earlier.
const DELIVERY_LIMIT: i64 = 100;
/// High enough that the broker never drops a dead letter because of its returns.
const DEAD_LETTERS_DELIVERY_LIMIT: i64 = 1_000_000_000;
const RPC_TTL_MS: i64 = 30_000;
const RPC_MESSAGES_MAX: i64 = 1_000;
const HINTS_TTL_MS: i64 = 30_000;
const HINTS_MESSAGES_MAX: i64 = 1_000;
/// Rungs up to this delay are declared at every start, longer rungs at their first use.
const RUNGS_AT_START_MAX: Duration = Duration::from_secs(10);

/// Declares all exchanges, queues and bindings.
pub(crate) async fn declare(channel: &Channel) -> Result<(), BrokerError> {
    for (name, kind) in [
        (DEAD_EXCHANGE, ExchangeKind::Fanout),
        (HINTS_EXCHANGE, ExchangeKind::Fanout),
        (EVENTS_EXCHANGE, ExchangeKind::Topic),
        (LANES_EXCHANGE, ExchangeKind::Topic),
        (RECORD_EXCHANGE, ExchangeKind::Direct),
        (ACCEPTED_EXCHANGE, ExchangeKind::Fanout),
        (ACCEPTED_IN_ORDER_EXCHANGE, ExchangeKind::Fanout),
        (DELAY_EXCHANGE, ExchangeKind::Topic),
    ] {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        channel
            .exchange_declare(name.into(), kind, options, FieldTable::default())
            .await
            .map_err(|error| explain("exchange", name, error))?;
    }
    declare_queues(channel).await?;
    // RabbitMQ 3.10 writes the registration of a quorum queue to disk up to half a second after it confirmed the declaration.
    // If it is killed within that time, the queue loses its messages and its leader, and declaring the queue or publishing to
    // it hangs. So the rungs that a burst would use first are declared before there is any load.
    for rung in ladder::rungs().iter().take_while(|rung| rung.delay() <= RUNGS_AT_START_MAX) {
        declare_rung(channel, *rung).await?;
    }
    Ok(())
}

async fn declare_queues(channel: &Channel) -> Result<(), BrokerError> {
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
    bind(channel, Queue::EventLog.name(), ACCEPTED_IN_ORDER_EXCHANGE, "").await?;
    let mut ordered_events = one_active_consumer();
    set_number(&mut ordered_events, "x-max-length", ACCEPTED_MESSAGES_MAX);
    queue(channel, Queue::FanoutOrdered.name(), ordered_events, ACCEPTED_IN_ORDER_EXCHANGE, "").await?;
    declare_queue(channel, Queue::Ordered.name(), one_active_consumer()).await?;
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
    Ok(())
}

/// Declares one rung.
pub(crate) async fn declare_rung(channel: &Channel, rung: Rung) -> Result<(), BrokerError> {
    let mut arguments = quorum();
    set(&mut arguments, "x-dead-letter-exchange", LANES_EXCHANGE);
    set_number(&mut arguments, "x-message-ttl", i64::try_from(rung.millis()).unwrap_or(i64::MAX));
    queue(channel, &rung_queue(rung), arguments, DELAY_EXCHANGE, &format!("{rung}.*")).await
}

/// The arguments of every quorum queue with dead letters. At-least-once dead-lettering needs the strategy, the overflow and the
/// exchange. If one of them is missing, the broker uses at-most-once without an error.
fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    set(&mut arguments, "x-queue-type", "quorum");
    set(&mut arguments, "x-dead-letter-exchange", DEAD_EXCHANGE);
    set(&mut arguments, "x-dead-letter-strategy", "at-least-once");
    set(&mut arguments, "x-overflow", "reject-publish");
    set_number(&mut arguments, "x-delivery-limit", DELIVERY_LIMIT);
    arguments
}

/// The arguments of a queue whose messages are handled in order: the broker sends them to one consumer at a time.
fn one_active_consumer() -> FieldTable {
    let mut arguments = quorum();
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
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
    bind(channel, name, exchange, key).await
}

async fn bind(channel: &Channel, name: &str, exchange: &str, key: &str) -> Result<(), BrokerError> {
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

/// Declares and binds a queue for one listener to hints and returns its name. The queue is deleted with its connection. When
/// the queue is full, it drops the oldest hints.
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

/// Converts error 406 of the broker into an error that names the argument.
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

/// Finds the argument in `PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received …`.
fn inequivalent_argument(text: &str) -> Option<&str> {
    text.split_once("inequivalent arg '")?.1.split_once('\'').map(|(argument, _)| argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_is_read_from_the_brokers_text() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'postrider.delay.1000' in vhost '/': \
                    received the value '1000' of type 'signedint' but current is none";
        assert_eq!(inequivalent_argument(text), Some("x-message-ttl"));
        assert_eq!(inequivalent_argument("NOT_FOUND - no queue 'x'"), None);
    }
}
