//! The handle that services hold.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

use crate::applied_versions::AppliedVersions;
use crate::config::BrokerConfig;
use crate::connection::{PublishState, SupervisedConnection};
use crate::depth::{self, QueueTallies};
use crate::error::BrokerError;
use crate::in_flight::{Held, InFlight};
use crate::metrics;
use crate::publish::batch::{BatchOptions, BatchPublisher};
use crate::publish::delay::DelayPublisher;
use crate::publish::message::MessagePublisher;
use crate::rpc::RpcClient;
use crate::tasks::BackgroundTasks;
use crate::topology::{Queue, Route};

const ASK_MAX: Duration = Duration::from_secs(5);

/// Two supervised connections to the broker, one to publish and one to consume. Cheap to clone.
///
/// Connections, publishers and their tasks end when the last clone (and every [`BatchPublisher`] and [`MessagePublisher`] made from it) is
/// dropped, or at [`Broker::close`].
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
    /// For what this crate itself republishes: dead letters, exploded bundles, answers to calls.
    own: MessagePublisher,
    rpc: OnceCell<RpcClient>,
    consumed: QueueTallies,
    in_hand: InFlight,
}

/// What a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages (bundles) ready to be consumed; those held by consumers are not counted.
    pub messages: u32,
    /// Its consumers.
    pub consumers: u32,
}

impl Broker {
    /// Connects and declares the topology, waiting for the broker as long as it takes. `stop` ends the waiting only: an
    /// established broker must outlive the draining of the services that use it.
    ///
    /// # Errors
    /// A bad URL or CA file, a queue that exists with other arguments, or `stop`.
    pub async fn connect(config: BrokerConfig, stop: CancellationToken) -> Result<Self, BrokerError> {
        let helpers = BackgroundTasks::new();
        let publish = SupervisedConnection::start(&config, "publish", &helpers, &stop).await?;
        let consume = SupervisedConnection::start(&config, "consume", &helpers, &stop).await?;
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
            consumed: QueueTallies::default(),
            in_hand: InFlight::default(),
        });
        let weak = Arc::downgrade(&inner);
        helpers.spawn("queue depths", depth::watch(move || weak.upgrade().map(|inner| Self { inner })));
        Ok(Self { inner })
    }

    /// The name of this process: its host's name and random digits, chosen at its start.
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    pub(crate) fn applied(&self) -> &AppliedVersions {
        &self.inner.applied
    }

    /// Whether publishing is possible, and every change of that.
    pub fn publish_state(&self) -> watch::Receiver<PublishState> {
        self.inner.publish.state()
    }

    /// Returns the name of a helper task of this broker client that panicked, as soon as one does. What it served no longer
    /// works: the process is to end.
    pub fn task_panicked(&self) -> impl Future<Output = &'static str> + Send + 'static {
        let helpers = self.helpers().clone();
        async move { helpers.panicked().await }
    }

    /// A publisher of bundles with a channel and a task of its own. One a route and process is enough.
    pub fn batch_publisher(&self, route: Route, options: BatchOptions) -> BatchPublisher {
        BatchPublisher::start(self.inner.publish.clone(), route, options)
    }

    /// A publisher of deliveries that go on to a rung or another lane, with a channel and a task of its own.
    pub fn delay_publisher(&self) -> DelayPublisher {
        DelayPublisher::start(self.inner.publish.clone())
    }

    /// A publisher of single messages with a channel and a task of its own.
    pub fn message_publisher(&self) -> MessagePublisher {
        MessagePublisher::start(self.inner.publish.clone(), "singles")
    }

    /// Members of a message, on average over those that this process took lately, by queue; only queues that it took any
    /// from. With it a depth in messages becomes one in members.
    pub fn members_per_message(&self) -> Vec<(Queue, f64)> {
        self.inner.consumed.averages()
    }

    /// Bytes of a message, likewise: with it a depth in messages becomes one in bytes.
    pub fn bytes_per_message(&self) -> Vec<(Queue, f64)> {
        self.inner.consumed.average_bytes()
    }

    /// Messages that this process has taken and not settled, by queue: what a drain waits for.
    pub fn in_flight(&self) -> Vec<(&'static str, usize)> {
        self.inner.in_hand.counts()
    }

    pub(crate) fn take_in_flight(&self, queue: Queue) -> Held {
        self.inner.in_hand.take(queue)
    }

    /// Asks what a queue holds.
    ///
    /// # Errors
    /// The queue does not exist, or the broker is away.
    pub async fn queue_depth(&self, queue: &str) -> Result<QueueDepth, BrokerError> {
        let ask = async {
            let live = self.inner.consume.live().await.ok_or(BrokerError::Stopped)?;
            // A channel of its own, since asking for a queue that is missing closes the channel.
            let channel = live.channel().await?;
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
            Ok(QueueDepth { messages: queue.message_count(), consumers: queue.consumer_count() })
        };
        tokio::time::timeout(ASK_MAX, ask).await.map_err(|_| BrokerError::Timeout(ASK_MAX))?
    }

    /// A client of remote calls, on a connection of its own that is made when first asked for.
    ///
    /// # Errors
    /// As [`Broker::connect`], with `stop`.
    pub async fn rpc_client(&self, stop: &CancellationToken) -> Result<RpcClient, BrokerError> {
        self.inner.rpc.get_or_try_init(|| RpcClient::start(&self.inner.config, self.helpers(), stop)).await.cloned()
    }

    /// Closes the connections. Call it last: whatever is not confirmed by then stays unknown, whatever is not acked comes back.
    pub async fn close(&self) {
        tokio::join!(self.inner.consume.close(), self.inner.publish.close());
    }

    pub(crate) fn publish_link(&self) -> &SupervisedConnection {
        &self.inner.publish
    }

    pub(crate) fn helpers(&self) -> &BackgroundTasks {
        self.inner.publish.helpers()
    }

    pub(crate) fn consume_link(&self) -> &SupervisedConnection {
        &self.inner.consume
    }

    pub(crate) fn consumed_queues(&self) -> &QueueTallies {
        &self.inner.consumed
    }

    pub(crate) fn own_publisher(&self) -> &MessagePublisher {
        &self.inner.own
    }
}

/// A name of its own among all processes, that tells people where it runs.
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
