//! The dispatcher: takes deliveries from the lanes and makes their attempts.
//!
//! What it owns: when an attempt is made (`pace`: rate, concurrency, breaker, per endpoint), what is sent (`headers`,
//! signed for its moment), and what follows (`conclude`: the report, the next attempt).
//!
//! # What it promises
//! - A delivery is settled when its outcome, and its next attempt if there is one, are confirmed by the broker. A crash repeats
//!   an attempt at most; it loses none. **The bound on duplicates** is the members in hand: [`Config::live`], `slow` and `bulk`.
//! - No delivery waits for another's endpoint: one that would wait longer than 250 ms (2 s while this process itself is what is late) does so on the delay ladder, and one whose
//!   endpoint is slow or broken goes to the slow lane, both before any POST.
//! - Every POST ends by its deadline. None is made while the broker takes no outcomes.
//! - It goes on without the database, from its caches; an endpoint that it has not met yet waits, without losing an attempt.
//!
//! # What it does not
//! It renders nothing (the body comes in the message) but large bodies that wait on the ladder (`body`), keeps no order, and logs no endpoint's failures: those are outcomes.

mod attempt;
mod body;
mod breakers;
mod clock;
mod conclude;
mod config;
mod dispatcher;
mod echo;
mod endpoints;
mod gate;
mod headers;
mod interventions;
pub mod metrics;
mod pace;
mod prepared;
mod pushover;
mod replicas;
mod settings;
mod strain;
mod test_calls;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use postrider_broker::{BatchOptions, Broker, Queue, Route};
use postrider_egress::{Egress, Url};
use postrider_model::delivery::Lane;
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_store::Store;
use postrider_store::feed::{Feed, FeedScope};
use postrider_telemetry::health::Check;
use postrider_telemetry::tasks::{TaskFailed, Tasks};
use postrider_wire::messages::ServiceRole;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use settings::Settings;

use body::Bodies;
use breakers::{Board, Breakers};
use clock::SteadyClock;
use dispatcher::Dispatcher;
use endpoints::{Endpoints, Limits};
use gate::Sweeper;
use interventions::Interventions;
use metrics::Metrics;
use strain::Strain;

/// How often the cache's size and the process's lateness are told.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// What a dispatcher works with.
#[derive(Clone)]
pub struct Deps {
    /// Where deliveries come from and outcomes go to.
    pub broker: Broker,
    /// Where endpoints are looked up, and what tells that they changed.
    pub store: Store,
    /// The way to the endpoints.
    pub egress: Egress,
    /// Every profile of the deployment.
    pub profiles: Arc<Profiles>,
    /// Base URL of Pushover's API.
    pub pushover_url: Url,
    /// Becomes ready when the configuration is known and the lanes are about to be consumed.
    pub ready: Option<Check>,
}

/// Makes attempts until `stop`, then finishes those that are out (each within its deadline) and returns.
///
/// Consumes nothing before it knows the configuration: it waits for the database as long as it takes.
///
/// # Errors
/// A background task failed.
pub async fn run(config: Config, deps: Deps, stop: CancellationToken) -> Result<(), TaskFailed> {
    metrics::describe();
    let Deps { broker, store, egress, profiles, pushover_url, ready } = deps;
    // What goes on until the drain is over.
    let done = CancellationToken::new();
    let drained = done.clone().drop_guard();
    let tasks = Tasks::new(done.clone());
    let (sweeper, strain) = (Sweeper::default(), Strain::default());
    let limits = Limits { entries: config.endpoints_max.max(1), idle: config.endpoint_idle };
    let outcomes = BatchOptions {
        gather: config.outcomes_gather,
        members_max: config.outcomes_max.max(1),
        ..BatchOptions::default()
    };
    let (board, metrics) = (Board::default(), Arc::new(Metrics::new()));
    let mut feed = store.follow(FeedScope::DISPATCHER, done.clone());
    let dispatcher = Arc::new(Dispatcher {
        egress,
        profiles,
        pushover_url: pushover::messages_url(&pushover_url),
        endpoints: Endpoints::new(limits, sweeper.clone(), strain.clone(), Arc::clone(&board)),
        breakers: Breakers::new(board, broker.hint_sender(), metrics.clone()),
        interventions: Interventions::default(),
        bodies: Bodies::new(store.clone()),
        outcomes: broker.batch_publisher(Route::Outcomes, outcomes),
        delays: broker.delay_publisher(),
        publish_state: broker.publish_state(),
        dispatchers: AtomicU32::new(1),
        started_at: UnixMillis::now(),
        clock: SteadyClock::new(UnixMillis::now()),
        metrics,
        applied: watch::Sender::new(0),
        stop: stop.clone(),
        store,
    });
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        first = feed.recv() => match first {
            Some(first) => dispatcher.apply(first),
            None => tracing::error!("the configuration feed ended before the first configuration"),
        },
    }
    let announcing = broker.clone().announce_applied_version(ServiceRole::Dispatcher, dispatcher.applied.subscribe());
    tasks.spawn_endless("dispatcher.announce", announcing);
    replicas::count_others(&broker, &dispatcher).await;
    tasks.spawn("dispatcher.config_feed", follow(feed, Arc::clone(&dispatcher)));
    let heard = broker.listen_for_hints(broker.hint_sender(), done.clone());
    tasks.spawn("dispatcher.breakers", breakers::agree(Arc::clone(&dispatcher), heard));
    let stopped = done.clone();
    tasks.spawn("dispatcher.sweeper", async move { sweeper.run(stopped).await });
    let looking = strain.clone();
    tasks.spawn("dispatcher.strain", async move { looking.run(done).await });
    let counting = replicas::keep_counting(broker.clone(), Arc::clone(&dispatcher), config.count_dispatchers_every);
    tasks.spawn_endless("dispatcher.replicas", counting);
    tasks.spawn_endless("dispatcher.measure", measure(Arc::clone(&dispatcher), strain));
    if let Some(ready) = ready {
        ready.ok();
    }

    let lane = |lane: Lane| {
        let dispatcher = Arc::clone(&dispatcher);
        let deliver = move |member, _context| {
            let dispatcher = Arc::clone(&dispatcher);
            async move { dispatcher.deliver(lane, member).await }
        };
        broker.consume_members(Queue::Lane(lane), config.lane(lane), deliver, stop.clone())
    };
    let tests = {
        let dispatcher = Arc::clone(&dispatcher);
        let test = move |request| {
            let dispatcher = Arc::clone(&dispatcher);
            async move { dispatcher.test(request).await }
        };
        broker.serve_rpc(Queue::RpcTest, config.test_calls_max, test, stop.clone())
    };
    let consuming = async { tokio::join!(lane(Lane::Live), lane(Lane::Slow), lane(Lane::Bulk), tests) };
    tasks.supervise(Box::pin(consuming)).await?;
    drop(drained);
    tasks.join().await
}

/// Applies what the feed says until it ends.
async fn follow(mut feed: Feed, dispatcher: Arc<Dispatcher>) {
    while let Some(changes) = feed.recv().await {
        dispatcher.apply(changes);
    }
}

async fn measure(dispatcher: Arc<Dispatcher>, strain: Strain) {
    let mut tick = tokio::time::interval(MEASURE_EVERY);
    loop {
        tick.tick().await;
        // In thousands at most, so the conversion is exact.
        dispatcher.metrics.cached.set(dispatcher.endpoints.len() as f64);
        dispatcher.metrics.lag.set(strain.lag().as_secs_f64());
    }
}
