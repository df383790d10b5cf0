//! The recorder: writes the history to the database. Deliveries do not wait for it.
//!
//! It owns the history:
//! - `gather`, `decode`, `write`: messages (accepted events, decisions, outcomes and dead letters) are gathered into batches,
//!   decoded to rows and written.
//! - `disable`: endpoints that requested it, or that failed for days, are disabled or paused.
//! - `attributes`: the values of event attributes are counted.
//! - `waiting`: pending deliveries are counted, for ingest's limits and for operators.
//! - `maintain`: daily partitions are created ahead and dropped after the retention.
//! - `notices`: what is to be told about the state of endpoints is decided and left in the outbox.
//! - `outbox_relay`: entries of the outbox that were committed but not published are published.
//! - `pause`: what was set aside for paused endpoints is counted, and released or discarded.
//! - `replay`: past events are delivered again on request.
//! - `sequencer`: the deliveries of ordered endpoints are attempted one after the other.
//! - `reconcile`: events and deliveries that are on record, and whose messages were lost, are published again.
//! - `audit`: the rows of the history are compared with each other.
//!
//! # What it promises
//! - A message is acked after its rows are committed. If a crash prevents the ack, the message is redelivered and changes no
//!   row.
//! - Messages may arrive in any order, and at several recorders.
//! - While the database is unavailable, messages wait in their queues, and deliveries continue.
//! - A message that the database refuses becomes a dead letter, which contains the reason. The rest of the batch is written.
//! - The recorder consumes nothing before the partitions for today exist.
//!
//! # What it does not do
//! It makes no decisions about deliveries: the store merges the reports. Rows of a day without a partition are counted and
//! skipped.

mod attributes;
mod audit;
mod config;
mod decode;
mod disable;
mod gather;
mod maintain;
mod metrics;
mod notices;
mod outbox_relay;
mod pause;
mod reconcile;
mod replay;
mod sequencer;
mod settings;
mod waiting;
mod watermark;
mod write;

use std::sync::Arc;

use postrider_broker::{Broker, Queue};
use postrider_profiles::Profiles;
use postrider_store::Store;
use postrider_telemetry::health::Check;
use postrider_telemetry::tasks::{TaskFailed, Tasks};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use crate::config::{Config, ReconcileConfig, ReplayConfig};
pub use crate::settings::Settings;

use crate::attributes::Attributes;
use crate::gather::{Incoming, gather};
use crate::sequencer::SharedRoom;
use crate::watermark::Watermark;

/// The queues whose messages become rows, each with the name of the task that consumes it.
const QUEUES: [(&str, Queue); 4] = [
    ("recorder.consume_events", Queue::EventLog),
    ("recorder.consume_decisions", Queue::Decisions),
    ("recorder.consume_outcomes", Queue::Outcomes),
    ("recorder.consume_dead_letters", Queue::DeadLetters),
];

/// Dependencies of the recorder.
#[derive(Clone)]
pub struct Deps {
    /// The broker.
    pub broker: Broker,
    /// The database.
    pub store: Store,
    /// All profiles, to render the deliveries of the outbox and of replays.
    pub profiles: Arc<Profiles>,
    /// The readiness check, which is set to ready when the partitions exist and the consumers have started.
    pub ready: Check,
}

/// Runs until `stop`, then writes and acks the messages that it consumed. If the database is unavailable at that time, these
/// messages return to their queues.
///
/// # Errors
/// A background task failed.
pub async fn run(config: Config, deps: Deps, stop: CancellationToken) -> Result<(), TaskFailed> {
    metrics::describe();
    let Deps { broker, store, profiles, ready } = deps;
    if !maintain::created_ahead(&store, &stop).await {
        return Ok(());
    }
    let tasks = Tasks::new(stop.clone());
    tasks.spawn("recorder.create_partitions", maintain::create_ahead(store.clone(), config.clone(), stop.clone()));
    tasks.spawn("recorder.drop_partitions", maintain::drop_expired(store.clone(), config.clone(), stop.clone()));
    let relaying = outbox_relay::run(broker.clone(), store.clone(), profiles.clone(), config.clone(), stop.clone());
    tasks.spawn("recorder.outbox_relay", relaying);
    tasks.spawn("recorder.notices", notices::run(store.clone(), config.clone(), stop.clone()));
    let room = SharedRoom::default();
    let tending =
        pause::run(broker.clone(), store.clone(), profiles.clone(), Arc::clone(&room), config.clone(), stop.clone());
    tasks.spawn("recorder.pause", tending);
    let replaying =
        replay::run(broker.clone(), store.clone(), profiles, Arc::clone(&room), config.clone(), stop.clone());
    tasks.spawn("recorder.replay", replaying);
    let reconcile_config = config.reconcile.clone();
    let sequencing = sequencer::run(broker.clone(), store.clone(), room, reconcile_config.clone(), stop.clone());
    tasks.spawn("recorder.sequencer", sequencing);
    let watermark = Arc::new(Watermark::default());
    let reconciling =
        reconcile::run(broker.clone(), store.clone(), Arc::clone(&watermark), reconcile_config, stop.clone());
    tasks.spawn("recorder.reconcile", reconciling);
    tasks.spawn("recorder.waiting", waiting::run(store.clone(), config.count_waiting_every, stop.clone()));
    tasks.spawn("recorder.audit", audit::run(store.clone(), config.audit_every, stop.clone()));
    let attributes = Arc::new(Attributes::default());
    let counting = Arc::clone(&attributes).write_periodically(store.clone(), config.clone(), stop.clone());
    tasks.spawn("recorder.attributes", counting);

    // All queues share one channel, so that a batch is one commit. The channel is small, because messages should wait at the
    // broker.
    let (incoming, mut received) = mpsc::channel(config.prefetch.into());
    for (task, queue) in QUEUES {
        tasks.spawn(task, consume(broker.clone(), queue, config.clone(), incoming.clone(), stop.clone()));
    }
    drop(incoming);
    ready.ok();

    let writing = async {
        let mut writing = None;
        while let Some(batch) = gather(&mut received, &config, &mut writing).await {
            finish(writing.take()).await;
            let (attributes, watermark) = (Arc::clone(&attributes), Arc::clone(&watermark));
            let write = write::write_and_ack(store.clone(), attributes, watermark, batch, stop.clone());
            writing = Some(tokio::spawn(write));
        }
        finish(writing).await;
    };
    tasks.supervise(writing).await?;
    let ended = tasks.join().await;
    attributes.write(&store).await;
    ended
}

/// Forwards the messages of one queue to `to`. Returns when all of them are acked or requeued.
async fn consume(broker: Broker, queue: Queue, config: Config, to: mpsc::Sender<Incoming>, stop: CancellationToken) {
    let mut consumer = broker.consume_raw(queue, config.consume_options(), stop);
    while let Some(message) = consumer.recv().await {
        if to.send(Incoming { queue, message }).await.is_err() {
            break;
        }
    }
    drop(to);
    consumer.drained().await;
}

async fn finish(writing: Option<tokio::task::JoinHandle<()>>) {
    if let Some(Err(error)) = match writing {
        Some(writing) => Some(writing.await),
        None => None,
    } {
        // The task dropped its messages without acking them, so the broker redelivers them.
        tracing::error!(%error, "writing a batch ended early");
    }
}
