//! Fan-out: finds the endpoints that match an accepted event, and creates one delivery for each of them.
//!
//! It owns the matching. The active subscriptions of all tenants are in memory, updated by the configuration feed. It also
//! renders the bodies of an event, each kind of body once.
//!
//! The modules, in the order in which an event passes them: `handler` takes a bundle; `decider` runs expensive events on
//! blocking threads; `decide` decides about one event, with `index`, `tenant` and `value_index` for the matching, and with
//! `lanes` and `tenant_shares` for the lane.
//!
//! # What it promises
//! - A bundle is acked only after the broker has confirmed the deliveries and the decision of each event in the bundle. After a
//!   crash before the ack, the deliveries and decisions are published again with the same ids.
//! - An edit of an endpoint is in force when the API responds to it: the API waits for fan-out, at most 500 ms. While the
//!   database is unavailable, the last known configuration remains in force. A fan-out that *starts* without a configuration
//!   consumes nothing.
//! - A member that cannot be read becomes a dead letter, without the rest of its bundle.
//! - Events with expensive payload filters do not delay the other events of their bundle (`decider`).
//! - The deliveries of ordered endpoints are created in the order in which their events were accepted (`ordered`).
//! - Deliveries to an endpoint with an open breaker start in the slow lane. Deliveries of a tenant that exceeds its fair share
//!   start in the bulk lane (`lanes`). So neither delays other deliveries.
//!
//! # What it does not do
//! It reads no URLs or secrets of endpoints, and it does not decide whether an endpoint is healthy. The dispatcher does both.

pub mod bench_matcher;
mod decide;
mod decider;
mod handler;
mod index;
mod lanes;
mod metrics;
mod ordered;
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
use crate::ordered::OrderedHandler;

/// What the fan-out is started with. The defaults are the values for production.
#[derive(Debug, Clone)]
pub struct Config {
    /// Limits for the bundles and events in flight.
    pub consume: ConsumeOptions,
    /// Time during which decisions are collected before they are sent to the recorder. It delays no delivery.
    pub decision_gather: Duration,
    /// Maximum time that an event waits for the configuration version that ingest used. After that, the version in force is
    /// used.
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
    /// The broker.
    pub broker: Broker,
    /// The feed of the configuration.
    pub feed: ConfigFeed,
    /// All profiles of the deployment.
    pub profiles: Arc<Profiles>,
    /// The readiness check, which is set to ready when the configuration is loaded.
    pub ready: Check,
}

/// Runs until `stop`, then finishes the events in flight and returns.
///
/// # Errors
/// A background task failed. Without it, this process would not follow the configuration.
pub async fn run(config: Config, deps: Deps, stop: CancellationToken) -> Result<(), TaskFailed> {
    metrics::describe();
    let Deps { broker, feed, profiles, ready } = deps;
    let index = Arc::new(Index::new(profiles));
    // The background tasks outlive `stop`. They stop after the drain.
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
    let decider = Arc::new(Decider::new(index, lanes));
    let ordered = OrderedHandler::new(&broker, Arc::clone(&decider), &config);
    let in_order = broker.consume_in_order(
        Queue::FanoutOrdered,
        ordered::CONSUME,
        |members| ordered.handle(members),
        stop.clone(),
    );
    let handler = Arc::new(Handler::new(&broker, decider, &config));
    let handle = move |members, _context| {
        let handler = Arc::clone(&handler);
        async move { handler.handle(members).await }
    };
    let unordered = broker.consume_bundles(Queue::Fanout, config.consume, handle, stop);
    Box::pin(tasks.supervise(async { tokio::join!(unordered, in_order) })).await?;
    drop(drained);
    tasks.join().await
}
