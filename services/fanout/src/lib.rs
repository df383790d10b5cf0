//! Fan-out: for each accepted event, which endpoints want it, and one delivery for each of them.
//!
//! It owns the matching: an index of every tenant's active subscriptions in memory, kept fresh by the configuration
//! feed, and the one rendering of an event's body.
//!
//! # What it promises
//! - An event's message is acked only when all its deliveries and its decision are confirmed by the broker. A crash in
//!   between repeats them under the same ids.
//! - An edit of an endpoint is in force when the API answers it (at most 500 ms are waited for that). While the database
//!   is away the last known configuration stays in force. A fan-out that *starts* without a configuration consumes nothing.
//! - A member that it cannot read goes to the dead letters alone.
//! - An event whose payload filters take more than a moment is decided off the async threads, two of a tenant at once, and the
//!   others of its bundle do not wait for it.
//! - Deliveries of an endpoint whose breaker is open begin in the slow lane, and those of a tenant beyond its share in the
//!   bulk lane (`shares`), so that neither waits before others.
//!
//! # What it does not
//! It never looks at an endpoint's URL or secret, and judges no endpoint's health: that is the dispatcher's.

mod decide;
mod index;
mod lanes;
pub mod matching;
mod metrics;
mod tenant;
mod value_index;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{
    BatchOptions, BatchPublisher, BreakerStates, Broker, BundleOutcome, ConsumeOptions, Poison, PublishError, Queue,
    Route, catch_panic,
};
use postrider_model::delivery::Lane;
use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_store::ConfigFeed;
use postrider_telemetry::health::Check;
use postrider_telemetry::slots::Slots;
use postrider_telemetry::spans::{self, Cause};
use postrider_telemetry::tasks::{TaskFailed, Tasks};
use postrider_telemetry::trace_context::TraceContext;
use postrider_wire::bundle::Member;
use postrider_wire::messages::{AcceptedEvent, ServiceRole};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::decide::{Decided, decide};
use crate::index::Index;
use crate::lanes::Lanes;

/// Settings of the fan-out; the defaults are what production runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many bundles and events are in hand at once.
    pub consume: ConsumeOptions,
    /// How long decisions gather before they are sent to the recorder: nobody waits for them.
    pub decision_gather: Duration,
    /// How long an event waits for the configuration that its ingest knew, before it is decided with what is known.
    pub catch_up_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            consume: ConsumeOptions { prefetch: 256, members_max: 4_096, ..ConsumeOptions::default() },
            decision_gather: Duration::from_millis(20),
            catch_up_max: Duration::from_secs(5),
        }
    }
}

/// What the fan-out works with.
#[derive(Clone)]
pub struct Deps {
    /// RabbitMQ.
    pub broker: Broker,
    /// The configuration.
    pub feed: ConfigFeed,
    /// Every profile.
    pub profiles: Arc<Profiles>,
    /// Passes once the configuration is loaded.
    pub ready: Check,
}

/// Runs until `stop`, then finishes what is in hand.
///
/// # Errors
/// A background task failed: the configuration would no longer be followed.
pub async fn run(config: Config, deps: Deps, stop: CancellationToken) -> Result<(), TaskFailed> {
    metrics::describe();
    let Deps { broker, feed, profiles, ready } = deps;
    let index = Arc::new(Index::new(profiles));
    // The tasks go on until the drain is over.
    let tasks = Tasks::new(CancellationToken::new());
    let drained = tasks.stop().clone().drop_guard();
    tasks.spawn("fanout.config_feed", Arc::clone(&index).follow(feed, tasks.stop().clone()));
    tasks.spawn_endless(
        "fanout.announce",
        broker.clone().announce_applied_version(ServiceRole::Fanout, index.applied()),
    );
    tokio::select! {
        () = index.loaded() => {}
        () = stop.cancelled() => return Ok(()),
        failed = tasks.failed() => return Err(failed),
    }
    ready.ok();
    let fanout = Arc::new(Fanout::new(&broker, index, &config, tasks.stop().clone()));
    let handler = move |members, _context| {
        let fanout = Arc::clone(&fanout);
        async move { fanout.handle(members).await }
    };
    tasks.supervise(broker.consume_bundles(Queue::Fanout, config.consume, handler, stop)).await?;
    drop(drained);
    tasks.join().await
}

/// Events at once, of one tenant and of all, whose payload filters take more than a moment.
const HEAVY_OF_TENANT: usize = 2;
const HEAVY_AT_ONCE: usize = 4;
/// How long such an event waits for its turn: until it comes.
const HEAVY_WAIT: Duration = Duration::from_secs(86_400);

struct Fanout {
    index: Arc<Index>,
    lanes: Arc<Lanes>,
    heavy: Slots<TenantId>,
    live: BatchPublisher,
    slow: BatchPublisher,
    bulk: BatchPublisher,
    decisions: BatchPublisher,
    catch_up_max: Duration,
}

/// What a bundle of events caused, to be confirmed before the bundle is acked.
#[derive(Default)]
struct Caused {
    live: Vec<Member>,
    slow: Vec<Member>,
    bulk: Vec<Member>,
    decisions: Vec<Member>,
    poisoned: Vec<(usize, Poison)>,
    /// Those of the events whose traces are recorded; they end when all of it is confirmed.
    spans: Vec<Span>,
}

impl Caused {
    fn lane(&mut self, lane: Lane) -> &mut Vec<Member> {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Slow => &mut self.slow,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

impl Fanout {
    fn new(broker: &Broker, index: Arc<Index>, config: &Config, stop: CancellationToken) -> Self {
        let at_once = BatchOptions::default();
        let gathered = BatchOptions { gather: config.decision_gather, ..at_once };
        Self {
            index,
            lanes: Arc::new(Lanes::new(BreakerStates::follow(broker, stop))),
            heavy: Slots::new(HEAVY_OF_TENANT, HEAVY_AT_ONCE),
            slow: broker.batch_publisher(Route::Lane(Lane::Slow), at_once),
            live: broker.batch_publisher(Route::Lane(Lane::Live), at_once),
            bulk: broker.batch_publisher(Route::Lane(Lane::Bulk), at_once),
            decisions: broker.batch_publisher(Route::Decisions, gathered),
            catch_up_max: config.catch_up_max,
        }
    }

    /// Decides about a bundle's events. Those whose payload filters take more than a moment go their own way, and the others
    /// do not wait for them.
    async fn handle(&self, members: Vec<Member>) -> BundleOutcome {
        let events: Vec<_> = members.iter().map(|member| member.head::<AcceptedEvent>()).collect();
        // Once for all of them: each on its own, a bundle would wait 32 times as long while the configuration does not arrive.
        let newest = events.iter().flatten().map(|event| event.config_version).max().unwrap_or_default();
        self.index.catch_up(newest, self.catch_up_max).await;
        let (mut light, mut heavy, mut poisoned) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (event, member)) in events.into_iter().zip(&members).enumerate() {
            match event {
                Ok(event) if self.is_heavy(&event, member) => heavy.push((place, event, &member.payload)),
                Ok(event) => light.push((place, event, &member.payload)),
                Err(error) => poisoned.push((place, Poison::new(error.to_string()))),
            }
        }
        match tokio::try_join!(self.settle(light), self.settle(heavy)) {
            Ok((of_light, of_heavy)) => {
                poisoned.extend(of_light.into_iter().chain(of_heavy));
                BundleOutcome::Settled { poisoned }
            }
            Err(error) => BundleOutcome::Requeue(error.to_string()),
        }
    }

    fn is_heavy(&self, event: &AcceptedEvent, member: &Member) -> bool {
        let metadata = event.metadata.as_deref().map_or(0, |metadata| metadata.get().len());
        let (_, tenant) = self.index.tenant(event.tenant);
        tenant.is_some_and(|tenant| tenant.is_heavy(member.payload.len() + metadata))
    }

    /// Decides about events and publishes what that makes. Returns when all of it is confirmed, with those that cannot be
    /// processed.
    async fn settle(&self, events: Vec<(usize, AcceptedEvent, &Bytes)>) -> Result<Vec<(usize, Poison)>, PublishError> {
        let mut caused = Caused::default();
        for (place, event, data) in events {
            match self.decide(event, data).await {
                Ok((decided, span)) => {
                    for (lane, delivery) in decided.deliveries {
                        caused.lane(lane).push(delivery);
                    }
                    caused.decisions.push(decided.decision);
                    if !span.is_none() {
                        caused.spans.push(span);
                    }
                }
                Err(poison) => caused.poisoned.push((place, poison)),
            }
        }
        metrics::decided(caused.decisions.len());
        Lane::ALL.into_iter().for_each(|lane| metrics::delivered(lane, caused.lane(lane).len()));
        tokio::try_join!(
            self.live.publish(caused.live),
            self.slow.publish(caused.slow),
            self.bulk.publish(caused.bulk),
            self.decisions.publish(caused.decisions),
        )?;
        Ok(caused.poisoned)
    }

    /// Decides about one event, in a span of its own that its deliveries are children of.
    async fn decide(&self, mut event: AcceptedEvent, data: &Bytes) -> Result<(Decided, Span), Poison> {
        let span = spans::process(Queue::Fanout.name(), &event.id, Cause::parent(event.traceparent.as_deref()));
        if let Some(own) = TraceContext::of(&span) {
            event.traceparent = Some(own.to_string());
        }
        let decided = self.decide_about(event, data).instrument(span.clone()).await?;
        Ok((decided, span))
    }

    async fn decide_about(&self, event: AcceptedEvent, data: &Bytes) -> Result<Decided, Poison> {
        let (config_version, tenant) = self.index.tenant(event.tenant);
        let (id, of) = (event.id.clone(), event.tenant);
        let is_heavy = tenant.as_ref().is_some_and(|tenant| tenant.is_heavy(data.len()));
        let (data, lanes) = (data.clone(), Arc::clone(&self.lanes));
        let decide =
            move || catch_panic(|| decide(&event, &data, tenant.as_deref(), &lanes, config_version, UnixMillis::now()));
        let decided = if is_heavy {
            let slot = self.heavy.enter(of, HEAVY_WAIT).await;
            let decide = move || {
                let _slot = slot;
                decide()
            };
            tokio::task::spawn_blocking(decide).await.map_err(|error| Poison::new(error.to_string()))?
        } else {
            decide()
        };
        let decided = decided?.map_err(|error| Poison::new(error.to_string()))?;
        let deliveries = decided.deliveries.len();
        tracing::debug!(event.id = %id, tenant.id = %of, deliveries, "decided about an event");
        Ok(decided)
    }
}
