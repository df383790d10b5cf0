//! The dispatcher: consumes deliveries from the lanes and makes their attempts.
//!
//! `dispatcher::lane` handles each delivery. `endpoint` looks up the delivery's endpoint. The dispatcher decides when to make an
//! attempt (`pace`: rate, concurrency and breaker of each endpoint; `gather`: which deliveries of a batched endpoint are sent
//! together), what to send (`attempt`: body and headers, signed for the
//! time of the attempt), and how to continue (`next_step`: the report and the retry).
//!
//! # What it promises
//! - A delivery is acknowledged after the broker has confirmed its outcome and its retry, if any. A crash may repeat attempts,
//!   but it loses none. **The bound on duplicates** is the number of members in flight: [`Config::live`], `slow` and `bulk`.
//! - No delivery waits for the endpoint of another delivery. A delivery that must wait longer than 250 ms (2 s while this
//!   process is the bottleneck) waits on the delay ladder. A delivery to a slow or broken endpoint moves to the slow lane
//!   before any POST.
//! - Every POST ends by its deadline. No POST is made while outcomes cannot be published.
//! - Deliveries to cached endpoints are attempted even without the database. A delivery to another endpoint waits and loses no
//!   attempt.
//!
//! # What it does not do
//! It renders no bodies, except large bodies that waited on the ladder. It does not preserve the order of deliveries, except within a
//! run of an ordered endpoint (`dispatcher::run`). It does not log the failures of endpoints, because these failures are outcomes.

mod attempt;
mod breaker_sync;
mod config;
mod dispatcher;
mod dispatcher_count;
mod encode;
mod endpoint;
mod gather;
mod interventions;
pub mod metrics;
mod next_step;
mod pace;
mod schedule;
mod scheduler_lag;
mod settings;
mod steady_clock;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use postrider_broker::{BatchOptions, Broker, Queue};
use postrider_egress::Egress;
use postrider_mail::Mailer;
use postrider_model::delivery::Lane;
use postrider_profiles::Profiles;
use postrider_store::Store;
use postrider_store::feed::{Feed, FeedScope};
use postrider_telemetry::health::Check;
use postrider_telemetry::tasks::{TaskFailed, Tasks};
use postrider_wire::messages::ServiceRole;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use endpoint::service::ServiceUrls;
pub use settings::Settings;

use attempt::outbound::Outbound;
use breaker_sync::BreakerSync;
use dispatcher::{Dispatcher, Shared};
use dispatcher_count::DispatcherCount;
use endpoint::shared_pace::Sweeper;
use endpoint::{CacheLimits, EndpointCache, EndpointLoader, SharedBreakerBoard};
use gather::room::Rooms;
use metrics::Metrics;
use scheduler_lag::SchedulerLag;

/// Interval at which the gauges of the cache's size and the scheduler lag are set.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// The resources and connections of a dispatcher.
#[derive(Clone)]
pub struct Deps {
    /// The lanes are consumed from this broker, and the outcomes are published to it.
    pub broker: Broker,
    /// Stores the endpoints and the feed of configuration changes.
    pub store: Store,
    /// Sends the requests.
    pub egress: Egress,
    /// Sends e-mail; `None` if the deployment has no SMTP server.
    pub mailer: Option<Mailer>,
    /// All profiles of the deployment.
    pub profiles: Arc<Profiles>,
    /// Base URLs of the services for people.
    pub services: ServiceUrls,
    /// Set to ready when the first configuration was applied, immediately before the lanes are consumed.
    pub ready: Option<Check>,
}

/// Makes attempts until `stop`. Then finishes the attempts in flight, each within its deadline, and returns.
///
/// Consumes nothing before the first configuration arrives, and waits for the database without a time limit.
///
/// # Errors
/// A background task failed.
pub async fn run(config: Config, deps: Deps, stop: CancellationToken) -> Result<(), TaskFailed> {
    metrics::describe();
    let Deps { broker, store, egress, mailer, profiles, services, ready } = deps;
    // `done` is cancelled after the drain, so that the background tasks outlive `stop`.
    let done = CancellationToken::new();
    let drained = done.clone().drop_guard();
    let tasks = Tasks::new(done.clone());

    let metrics = Arc::new(Metrics::new());
    let (sweeper, scheduler_lag) = (Sweeper::default(), SchedulerLag::default());
    let limits = CacheLimits { entries: config.endpoints_max.max(1), idle: config.endpoint_idle };
    let board = SharedBreakerBoard::default();
    let endpoints = Arc::new(EndpointCache::new(limits, sweeper.clone(), scheduler_lag.clone(), Arc::clone(&board)));
    let breakers = Arc::new(BreakerSync::new(board, broker.hint_sender(), Arc::clone(&metrics)));
    let dispatchers = Arc::new(DispatcherCount::new(Arc::clone(&metrics)));
    let shared = Shared {
        endpoints: Arc::clone(&endpoints),
        breakers: Arc::clone(&breakers),
        dispatchers: Arc::clone(&dispatchers),
        metrics: Arc::clone(&metrics),
        rooms: Rooms::new(|lane| config.lane(lane)),
    };
    let mut feed = store.feed().follow(FeedScope::DISPATCHER, done.clone());
    let loader = EndpointLoader { store, profiles, services, metrics: Arc::clone(&metrics) };
    let outcomes = BatchOptions {
        gather: config.outcomes_gather,
        members_max: config.outcomes_max.max(1),
        ..BatchOptions::default()
    };
    let dispatcher =
        Arc::new(Dispatcher::new(&broker, Outbound { egress, mailer }, loader, outcomes, shared, stop.clone()));

    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        first = feed.recv() => match first {
            Some(first) => dispatcher.apply(first),
            None => tracing::error!("the configuration feed ended before the first configuration"),
        },
    }
    let announcing = broker.clone().announce_applied_version(ServiceRole::Dispatcher, dispatcher.applied());
    tasks.spawn_endless("dispatcher.announce", announcing);
    dispatchers.count_others(&broker).await;
    tasks.spawn("dispatcher.config_feed", follow(feed, Arc::clone(&dispatcher)));
    let (received, cached) = (broker.listen_for_hints(broker.hint_sender(), done.clone()), Arc::clone(&endpoints));
    tasks.spawn("dispatcher.breakers", async move { breakers.run(&cached, received).await });
    let stopped = done.clone();
    tasks.spawn("dispatcher.sweeper", async move { sweeper.run(stopped).await });
    let sampled = scheduler_lag.clone();
    tasks.spawn("dispatcher.scheduler_lag", async move { sampled.run(done).await });
    let counting = dispatchers.keep_counting(broker.clone(), config.count_dispatchers_every);
    tasks.spawn_endless("dispatcher.count", counting);
    tasks.spawn_endless("dispatcher.measure", measure(metrics, endpoints, scheduler_lag));
    if let Some(ready) = ready {
        ready.ok();
    }
    tasks.supervise(Box::pin(consume(&broker, &config, dispatcher, stop))).await?;
    drop(drained);
    tasks.join().await
}

/// Consumes the lanes and the test calls until `stop`, then waits for the members in flight.
async fn consume(broker: &Broker, config: &Config, dispatcher: Arc<Dispatcher>, stop: CancellationToken) {
    let lane = |lane: Lane| {
        let dispatcher = Arc::clone(&dispatcher);
        let deliver = move |member, context| {
            let dispatcher = Arc::clone(&dispatcher);
            async move { dispatcher.deliver(lane, member, context).await }
        };
        broker.consume_members(Queue::Lane(lane), config.lane(lane), deliver, stop.clone())
    };
    let (live, slow, bulk) = (lane(Lane::Live), lane(Lane::Slow), lane(Lane::Bulk));
    let test = move |request| {
        let dispatcher = Arc::clone(&dispatcher);
        async move { dispatcher.test(request).await }
    };
    let tests = broker.serve_rpc(Queue::RpcTest, config.test_calls_max, test, stop.clone());
    tokio::join!(live, slow, bulk, tests);
}

/// Applies the changes from the configuration feed until the feed ends.
async fn follow(mut feed: Feed, dispatcher: Arc<Dispatcher>) {
    while let Some(changes) = feed.recv().await {
        dispatcher.apply(changes);
    }
}

async fn measure(metrics: Arc<Metrics>, endpoints: Arc<EndpointCache>, scheduler_lag: SchedulerLag) {
    let mut tick = tokio::time::interval(MEASURE_EVERY);
    loop {
        tick.tick().await;
        // The cache contains at most [`Config::endpoints_max`] endpoints, so the conversion is exact.
        metrics.cached.set(endpoints.len() as f64);
        metrics.lag.set(scheduler_lag.average().as_secs_f64());
    }
}
