//! The parts of the dispatcher that handle deliveries, and how configuration changes reach these parts.
//!
//! [`lane`] handles deliveries of the lanes, [`batch`] those of batched endpoints, and [`run`] those of ordered endpoints.
//! [`test_call`] handles test calls.

mod batch;
mod lane;
mod run;
mod test_call;

use std::sync::Arc;

use postrider_broker::{BatchOptions, BatchPublisher, Broker, DelayPublisher, PublishState, Route};
use postrider_model::time::UnixMillis;
use postrider_store::feed::Changes;
use postrider_wire::messages::DeliveryTask;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::batch::Waiting;
use crate::attempt::body::BodyRenderer;
use crate::attempt::outbound::Outbound;
use crate::breaker_sync::BreakerSync;
use crate::dispatcher_count::DispatcherCount;
use crate::endpoint::{CachedEndpoint, DatabaseUnavailable, EndpointCache, EndpointLoader, EndpointState};
use crate::gather::Gatherer;
use crate::gather::room::Rooms;
use crate::interventions::Interventions;
use crate::metrics::Metrics;
use crate::steady_clock::SteadyClock;

/// State that the dispatcher shares with its background tasks.
pub(crate) struct Shared {
    pub(crate) endpoints: Arc<EndpointCache>,
    pub(crate) breakers: Arc<BreakerSync>,
    pub(crate) dispatchers: Arc<DispatcherCount>,
    pub(crate) metrics: Arc<Metrics>,
    /// Limits the deliveries of batched endpoints in memory.
    pub(crate) rooms: Rooms,
}

/// Handles deliveries and test calls.
pub(crate) struct Dispatcher {
    shared: Shared,
    loader: EndpointLoader,
    outbound: Outbound,
    interventions: Interventions,
    bodies: BodyRenderer,
    outcomes: BatchPublisher,
    delays: DelayPublisher,
    gatherer: Gatherer<Waiting>,
    /// Reports about runs. They do not gather, because their lines wait for them.
    sequencer: BatchPublisher,
    publish_state: watch::Receiver<PublishState>,
    /// The time at which this process started. If a delivery was held before that time, another process granted its slot.
    started_at: UnixMillis,
    /// Decides whether a delivery has expired, and tolerates jumps of the wall clock.
    clock: SteadyClock,
    /// The configuration version that was applied last, or 0 if none was applied yet.
    applied: watch::Sender<i64>,
    /// Cancelled when no further attempt may start.
    stop: CancellationToken,
}

impl Dispatcher {
    pub(crate) fn new(
        broker: &Broker,
        outbound: Outbound,
        loader: EndpointLoader,
        outcomes: BatchOptions,
        shared: Shared,
        stop: CancellationToken,
    ) -> Self {
        let now = UnixMillis::now();
        Self {
            bodies: BodyRenderer::new(loader.store.clone(), Arc::clone(&shared.metrics)),
            shared,
            loader,
            outbound,
            interventions: Interventions::default(),
            outcomes: broker.batch_publisher(Route::Outcomes, outcomes),
            delays: broker.delay_publisher(),
            gatherer: Gatherer::default(),
            sequencer: broker.batch_publisher(Route::Ordered, BatchOptions::default()),
            publish_state: broker.publish_state(),
            started_at: now,
            clock: SteadyClock::new(now),
            applied: watch::Sender::new(0),
            stop,
        }
    }

    /// Returns the configuration version that was applied last.
    pub(crate) fn applied(&self) -> watch::Receiver<i64> {
        self.applied.subscribe()
    }

    /// Applies changes of the configuration.
    pub(crate) fn apply(&self, changes: Changes) {
        let Changes { version, snapshot, endpoints_changed, interventions, .. } = changes;
        let now = UnixMillis::now();
        if snapshot {
            self.interventions.replace(interventions, now);
            self.shared.endpoints.apply_changes(version, None);
        } else {
            self.interventions.add(interventions, now);
            self.shared.endpoints.apply_changes(version, Some(&endpoints_changed));
        }
        crate::metrics::config_version(version);
        self.applied.send_replace(version);
    }

    /// Returns the state of a delivery's endpoint. Reads the state from the database if the cached state is too old.
    async fn load(&self, entry: &CachedEndpoint, task: &DeliveryTask) -> Result<EndpointState, DatabaseUnavailable> {
        let load = || self.loader.load(task.delivery.endpoint, task.config_version);
        self.shared.endpoints.cached_or_load(entry, task.config_version, load).await
    }

    fn is_publisher_up(&self) -> bool {
        *self.publish_state.borrow() == PublishState::Up
    }
}
