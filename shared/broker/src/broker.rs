//! [`Broker`]: the handle through which services use RabbitMQ.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

use crate::applied_versions::AppliedVersions;
use crate::config::BrokerConfig;
use crate::connection::{PublishState, SupervisedConnection};
use crate::depth::{self, QueueTallies, QueueTally};
use crate::error::BrokerError;
use crate::in_flight::{Guard, InFlight};
use crate::metrics;
use crate::publish::batch::{BatchOptions, BatchPublisher};
use crate::publish::delay::DelayPublisher;
use crate::publish::message::MessagePublisher;
use crate::rpc::RpcClient;
use crate::tasks::BackgroundTasks;
use crate::topology::{Queue, Route};

/// Maximum wait for the broker's answer about a queue.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Two supervised connections to the broker, one to publish and one to consume. Cheap to clone.
///
/// Both connections are closed by [`Broker::close`], or when the last clone and all of its publishers are dropped.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    config: BrokerConfig,
    instance: String,
    applied: AppliedVersions,
    publish: SupervisedConnection,
    consume: SupervisedConnection,
    /// The publisher for messages of this crate itself: dead letters, members of split bundles, answers to calls.
    own: MessagePublisher,
    rpc: OnceCell<RpcClient>,
    tallies: QueueTallies,
    in_flight: InFlight,
}

/// The content of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages (bundles) that are ready to be consumed. Messages in flight to consumers are not counted.
    pub messages: u32,
    /// The number of the queue's consumers.
    pub consumers: u32,
}

impl Broker {
    /// Connects and declares the topology; waits while the broker is away. `stop` ends only this wait. It does not close the
    /// connections, because services need them while they drain.
    ///
    /// # Errors
    /// An invalid URL or CA file, a queue that exists with other arguments, or `stop`.
    pub async fn connect(config: BrokerConfig, stop: CancellationToken) -> Result<Self, BrokerError> {
        let tasks = BackgroundTasks::new();
        let publish = SupervisedConnection::start(&config, "publish", &tasks, &stop).await?;
        let consume = SupervisedConnection::start(&config, "consume", &tasks, &stop).await?;
        let own = MessagePublisher::start(publish.clone(), "own");
        metrics::describe();
        for connection in ["publish", "consume"] {
            metrics::connecting(connection);
        }
        metrics::blocked(false);
        let inner = Arc::new(Inner {
            config,
            instance: instance(),
            applied: AppliedVersions::default(),
            publish,
            consume,
            own,
            rpc: OnceCell::new(),
            tallies: QueueTallies::default(),
            in_flight: InFlight::default(),
        });
        let weak = Arc::downgrade(&inner);
        tasks.spawn("queue depths", depth::watch(move || weak.upgrade().map(|inner| Self { inner })));
        Ok(Self { inner })
    }

    /// The name of this process: the name of its host and random digits, chosen at the start of the process.
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    pub(crate) fn applied(&self) -> &AppliedVersions {
        &self.inner.applied
    }

    /// Watches whether publishing is possible.
    pub fn publish_state(&self) -> watch::Receiver<PublishState> {
        self.inner.publish.state()
    }

    /// Waits until a task of this client panics and returns the task's name. After that the client does not work: the process
    /// must exit.
    pub fn task_panicked(&self) -> impl Future<Output = &'static str> + Send + 'static {
        let tasks = self.tasks().clone();
        async move { tasks.panicked().await }
    }

    /// Starts a publisher of bundles to one route, with its own channel and task. A process needs only one per route.
    pub fn batch_publisher(&self, route: Route, options: BatchOptions) -> BatchPublisher {
        BatchPublisher::start(self.inner.publish.clone(), route, options)
    }

    /// Starts a publisher of deliveries that wait or change lanes, with its own channel and task.
    pub fn delay_publisher(&self) -> DelayPublisher {
        DelayPublisher::start(self.inner.publish.clone())
    }

    /// Starts a publisher of single messages, with its own channel and task.
    pub fn message_publisher(&self) -> MessagePublisher {
        MessagePublisher::start(self.inner.publish.clone(), "messages")
    }

    /// The average number of members per message, over the recent messages of each queue that this process consumes. The
    /// average converts a queue's depth in messages to members. Leaves out queues from which this process received no message
    /// yet.
    pub fn members_per_message(&self) -> Vec<(Queue, f64)> {
        self.inner.tallies.averages(QueueTally::members_per_message)
    }

    /// The average number of bytes per message, for the same queues. The average converts a queue's depth in messages to bytes.
    pub fn bytes_per_message(&self) -> Vec<(Queue, f64)> {
        self.inner.tallies.averages(QueueTally::bytes_per_message)
    }

    /// Number of messages that this process has received and neither acked nor requeued, by queue. A drain waits until it is
    /// zero.
    pub fn in_flight(&self) -> Vec<(&'static str, usize)> {
        self.inner.in_flight.counts()
    }

    pub(crate) fn count_in_flight(&self, queue: Queue) -> Guard {
        self.inner.in_flight.add(queue)
    }

    /// Asks the broker how many messages and consumers a queue has.
    ///
    /// # Errors
    /// The queue does not exist, or the broker is away.
    pub async fn queue_depth(&self, queue: &str) -> Result<QueueDepth, BrokerError> {
        let ask = async {
            let connection = self.inner.consume.current().await.ok_or(BrokerError::Stopped)?;
            // A separate channel, because the broker closes the channel if the queue does not exist.
            let channel = connection.channel().await?;
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
            Ok(QueueDepth { messages: queue.message_count(), consumers: queue.consumer_count() })
        };
        tokio::time::timeout(ANSWER_MAX, ask).await.map_err(|_| BrokerError::Timeout(ANSWER_MAX))?
    }

    /// Returns the client of remote calls. The first call of this function opens a connection for the client.
    ///
    /// # Errors
    /// The same errors as [`Broker::connect`], with `stop`.
    pub async fn rpc_client(&self, stop: &CancellationToken) -> Result<RpcClient, BrokerError> {
        self.inner.rpc.get_or_try_init(|| RpcClient::start(&self.inner.config, self.tasks(), stop)).await.cloned()
    }

    /// Closes the connections. Call it last: an unconfirmed message may or may not have been published, and unacked messages
    /// return to their queues.
    pub async fn close(&self) {
        tokio::join!(self.inner.consume.close(), self.inner.publish.close());
    }

    pub(crate) fn publish_connection(&self) -> &SupervisedConnection {
        &self.inner.publish
    }

    pub(crate) fn tasks(&self) -> &BackgroundTasks {
        self.inner.publish.tasks()
    }

    pub(crate) fn consume_connection(&self) -> &SupervisedConnection {
        &self.inner.consume
    }

    pub(crate) fn tallies(&self) -> &QueueTallies {
        &self.inner.tallies
    }

    pub(crate) fn own_publisher(&self) -> &MessagePublisher {
        &self.inner.own
    }
}

/// A name that is unique among all processes and starts with the host's name.
fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}-{:08x}", if host.is_empty() { "host" } else { host }, rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_of_one_host_have_different_names() {
        let (one, other) = (instance(), instance());
        assert_ne!(one, other);
        assert!(one.len() > 9, "{one}");
    }
}
