//! Fan-out: finds the endpoints that want an accepted event, and creates one delivery for each of them.
//!
//! It owns the matching, with every tenant's active subscriptions in memory, kept current by the configuration feed. It
//! also renders an event's bodies, each kind once.
//!
//! # What it promises
//! - A bundle is acked only after the broker has confirmed the deliveries and the decision of each of its events. A crash before
//!   the ack repeats them with the same ids.
//! - An edit of an endpoint is in force when the API answers it: the API waits for that, at most 500 ms. While the database
//!   is away the last known configuration stays in force. A fan-out that *starts* without a configuration consumes nothing.
//! - A member that it cannot read becomes a dead letter, without the rest of its bundle.
//! - Events with expensive payload filters do not delay the other events of their bundle (`decider`).
//! - Deliveries to an endpoint with an open breaker start in the slow lane, and those of a tenant beyond its share in the bulk
//!   lane (`lanes`), so that neither delays others.
//!
//! # What it does not do
//! It reads no endpoint's URL or secret and does not judge an endpoint's health: the dispatcher does.

pub mod bench_matcher;
mod decide;
mod decider;
mod handler;
mod index;
mod lanes;
mod metrics;
mod tenant;
mod tenant_shares;
#[cfg(test)]
mod testing;
mod value_index;

use std::sync::Arc;
use std::time::Duration;

use postrider_broker::{BreakerStates, Broker, ConsumeOptions, Queue};
use postrider_profiles::Profiles;
use postrider_store::ConfigFeed;
use postrider_telemetry::health::Check;
use postrider_telemetry::tasks::{TaskFailed, Tasks};
use postrider_wire::messages::ServiceRole;
use tokio_util::sync::CancellationToken;

use crate::decider::Decider;
use crate::handler::Handler;
use crate::index::Index;
use crate::lanes::Lanes;

/// Settings of the fan-out; production uses the defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many bundles and events are in flight at the same time.
    pub consume: ConsumeOptions,
    /// How long decisions are collected before they are sent to the recorder. This delays no delivery.
    pub decision_gather: Duration,
    /// How long an event waits for the configuration version that ingest worked with. Then the version in force is used.
    pub catch_up_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            consume: ConsumeOptions { prefetch: 256, members_max: 4_096, ..ConsumeOptions::default() },
            decision_gather: Duration::from_millis(80),
            catch_up_max: Duration::from_secs(5),
        }
    }
}

/// The dependencies of the fan-out.
#[derive(Clone)]
pub struct Deps {
    /// RabbitMQ.
    pub broker: Broker,
    /// The configuration.
    pub feed: ConfigFeed,
    /// All profiles.
    pub profiles: Arc<Profiles>,
    /// The readiness check, which passes once the configuration is loaded.
    pub ready: Check,
}

/// Runs until `stop`, then finishes the events in flight.
///
/// # Errors
/// A background task failed, so that this process would no longer follow the configuration.
pub async fn run(config: Config, deps: Deps, stop: CancellationToken) -> Result<(), TaskFailed> {
    metrics::describe();
    let Deps { broker, feed, profiles, ready } = deps;
    let index = Arc::new(Index::new(profiles));
    // The tasks outlive `stop`, until the drain is over.
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
    let lanes = Lanes::new(BreakerStates::follow(&broker, tasks.stop().clone()));
    let handler = Arc::new(Handler::new(&broker, Decider::new(index, lanes), &config));
    let handle = move |members, _context| {
        let handler = Arc::clone(&handler);
        async move { handler.handle(members).await }
    };
    tasks.supervise(broker.consume_bundles(Queue::Fanout, config.consume, handle, stop)).await?;
    drop(drained);
    tasks.join().await
}
