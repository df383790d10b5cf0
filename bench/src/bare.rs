//! The bare path, with which Postrider is compared: publish with confirm to a quorum queue, consume, POST, ack, and nothing
//! else.
//!
//! It does only what any delivery through the broker needs, as cheaply as possible: pipelined confirms, a large prefetch,
//! keep-alive connections, multiple acks. It has no validation, no database and no signature. In a closed loop, at most
//! [`OUTSTANDING_MAX`] messages are between publish and ack. With `--rate`, it measures latency instead.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use futures::future::{join_all, try_join_all};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Consumer, PublisherConfirm};
use tokio::sync::{Semaphore, mpsc};

use crate::broker;
use crate::clock::{now_ns, pace};
use crate::console::say;
use crate::generate::Generated;
use crate::http::Connection;
use crate::ledger::{Accepted, Latency};
use crate::payload::{EVENT_BYTES, Event};
use crate::processes::own_usage;

/// Maximum number of messages between publish and ack in the closed loop.
const OUTSTANDING_MAX: usize = 2_000;
/// Maximum number of outstanding confirms.
const UNCONFIRMED_MAX: usize = 1_000;
/// Maximum number of publishes that are passed to lapin together.
const TOGETHER_MAX: usize = 128;
const QUEUE: &str = "postrider-bench.bare";

/// Options of `bare`.
#[derive(Debug, clap::Args)]
pub(crate) struct BareArgs {
    /// AMQP URL of the broker.
    #[arg(long, env = "POSTRIDER_AMQP_URL", hide_env_values = true)]
    amqp_url: String,
    /// Address of the sink, as `host:port`.
    #[arg(long)]
    sink: String,
    /// Time to publish, in seconds.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Messages per second (open loop).
    #[arg(long)]
    rate: Option<f64>,
    /// Length of a message in bytes.
    #[arg(long, default_value_t = EVENT_BYTES)]
    bytes: usize,
}

/// Number of keep-alive connections to the sink.
const CONNECTIONS: usize = 64;

/// A consumed message that is sent over a connection to the sink.
struct Job {
    tag: u64,
    id: String,
    body: Vec<u8>,
}

/// Publishes and forwards messages. Prints [`Generated`] as JSON.
pub(crate) async fn run(args: BareArgs) -> anyhow::Result<()> {
    let publishing = broker::connect(&args.amqp_url, "postrider-bench bare publish").await?;
    let consuming = broker::connect(&args.amqp_url, "postrider-bench bare consume").await?;
    let publish_channel = publishing.create_channel().await?;
    let consume_channel = consuming.create_channel().await?;
    declare(&publish_channel).await?;
    let outstanding = Rc::new(Semaphore::new(OUTSTANDING_MAX));
    // The consumer and the connections to the sink are created before the measured time starts.
    let consumer = consumer(&consume_channel).await?;
    let connections = try_join_all((0..CONNECTIONS).map(|_| Connection::open(&args.sink))).await?;
    let forwarding = forward(consume_channel, consumer, connections, args.sink.clone(), Rc::clone(&outstanding));
    let forwarding = tokio::task::spawn_local(forwarding);
    let mut lateness_ns = Vec::new();
    let accepted = publish(&publish_channel, &args, &outstanding, &mut lateness_ns).await?;
    // All permits are available again after all messages are acked.
    let all = outstanding.acquire_many(OUTSTANDING_MAX as u32);
    tokio::select! {
        all = all => drop(all?),
        ended = forwarding => ended.context("the forwarding task")??,
    }
    publish_channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    let lateness = args.rate.map(|_| Latency::of(&mut lateness_ns));
    let done = Generated { accepted, lateness, usage: own_usage(), ..Generated::default() };
    say(&serde_json::to_string(&done)?);
    Ok(())
}

async fn declare(channel: &Channel) -> anyhow::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions { durable: true, ..Default::default() }, arguments).await?;
    Ok(())
}

async fn publish(
    channel: &Channel,
    args: &BareArgs,
    outstanding: &Semaphore,
    lateness_ns: &mut Vec<u64>,
) -> anyhow::Result<Vec<Accepted>> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut due = args.rate.map(|rate| pace(rate, (rate * args.seconds) as u64));
    let deadline_ns = now_ns() + (args.seconds * 1e9) as u64;
    let mut event = Event::new("bench.bare", args.bytes);
    let mut unconfirmed: VecDeque<PublisherConfirm> = VecDeque::new();
    let mut accepted: Vec<Accepted> = Vec::new();
    loop {
        // lapin's publish resolves when its frames are written. Publishes that are passed together share one round trip to
        // lapin's IO thread and one write to the socket.
        let mut together = Vec::new();
        while together.len() < TOGETHER_MAX {
            let sent_ns = match &mut due {
                Some(due) if together.is_empty() => due.recv().await,
                Some(due) => due.try_recv().ok(),
                None => Some(now_ns()).filter(|now| *now < deadline_ns),
            };
            let Some(sent_ns) = sent_ns else { break };
            match outstanding.try_acquire() {
                Ok(permit) => permit.forget(),
                Err(_) if together.is_empty() || due.is_some() => outstanding.acquire().await?.forget(),
                Err(_) => break,
            }
            if due.is_some() {
                lateness_ns.push(now_ns().saturating_sub(sent_ns));
            }
            let number = accepted.len() as u64;
            let id = format!("bare-{number}");
            let body = event.numbered(number).to_vec();
            accepted.push(Accepted { id: id.clone(), sent_ns, answered_ns: sent_ns });
            together.push(one(channel, id, body));
        }
        if together.is_empty() {
            break;
        }
        for confirm in join_all(together).await {
            unconfirmed.push_back(confirm?);
        }
        while unconfirmed.len() > UNCONFIRMED_MAX {
            confirmed(unconfirmed.pop_front()).await?;
        }
    }
    while let Some(next) = unconfirmed.pop_front() {
        confirmed(Some(next)).await?;
    }
    Ok(accepted)
}

async fn one(channel: &Channel, id: String, body: Vec<u8>) -> lapin::Result<PublisherConfirm> {
    let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(id.into());
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    channel.basic_publish("".into(), QUEUE.into(), options, &body, properties).await
}

async fn confirmed(confirm: Option<PublisherConfirm>) -> anyhow::Result<()> {
    match confirm {
        None => Ok(()),
        Some(confirm) => match confirm.await? {
            Confirmation::Ack(None) => Ok(()),
            other => bail!("the broker refused a message: {other:?}"),
        },
    }
}

async fn consumer(channel: &Channel) -> anyhow::Result<Consumer> {
    channel.basic_qos(OUTSTANDING_MAX as u16, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    Ok(channel.basic_consume(QUEUE.into(), "bare".into(), options, FieldTable::default()).await?)
}

async fn forward(
    channel: Channel,
    mut consumer: Consumer,
    connections: Vec<Connection>,
    host: String,
    done: Rc<Semaphore>,
) -> anyhow::Result<()> {
    let (settled, settling) = mpsc::unbounded_channel();
    tokio::task::spawn_local(acknowledge(channel, settling, done));
    let mut workers = Vec::new();
    for connection in connections {
        let (jobs, work) = mpsc::unbounded_channel();
        tokio::task::spawn_local(post(connection, host.clone(), work, settled.clone()));
        workers.push(jobs);
    }
    let mut turn = 0;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let id = delivery.properties.message_id().as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default();
        let job = Job { tag: delivery.delivery_tag, id, body: delivery.data };
        // Connections are used in turn, because the sink responds equally fast on all of them.
        turn = (turn + 1) % CONNECTIONS;
        if workers[turn].send(job).is_err() {
            bail!("a connection to the sink failed");
        }
    }
    bail!("the broker cancelled the consumer")
}

async fn post(
    mut connection: Connection,
    host: String,
    mut work: mpsc::UnboundedReceiver<Job>,
    settled: mpsc::UnboundedSender<u64>,
) -> anyhow::Result<()> {
    let mut request = Vec::with_capacity(1024);
    while let Some(job) = work.recv().await {
        request.clear();
        request.extend_from_slice(b"POST /e/0 HTTP/1.1\r\nhost: ");
        request.extend_from_slice(host.as_bytes());
        request.extend_from_slice(b"\r\nwebhook-id: ");
        request.extend_from_slice(job.id.as_bytes());
        request.extend_from_slice(b"\r\ncontent-type: application/json\r\ncontent-length: ");
        request.extend_from_slice(job.body.len().to_string().as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        request.extend_from_slice(&job.body);
        let answer = connection.send(&request).await?;
        if answer.status != 200 {
            bail!("the sink answered {}", answer.status);
        }
        settled.send(job.tag)?;
    }
    Ok(())
}

/// Acks consecutive settled tags with one frame.
async fn acknowledge(
    channel: Channel,
    mut settling: mpsc::UnboundedReceiver<u64>,
    done: Rc<Semaphore>,
) -> anyhow::Result<()> {
    let (mut upto, mut beyond, mut tags) = (0_u64, BTreeSet::new(), Vec::new());
    while settling.recv_many(&mut tags, OUTSTANDING_MAX).await > 0 {
        beyond.extend(tags.drain(..));
        let before = upto;
        while beyond.remove(&(upto + 1)) {
            upto += 1;
        }
        if upto > before {
            channel.basic_ack(upto, BasicAckOptions { multiple: true }).await?;
            done.add_permits((upto - before) as usize);
        }
    }
    Ok(())
}
