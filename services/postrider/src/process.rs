//! A serving process: its port, its connections, its roles and background tasks, and the order in which they are stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, StreamExt};
use postrider_broker::{Broker, BrokerConfig};
use postrider_http::problem::Problem;
use postrider_http::{pages, server};
use postrider_profiles::Profiles;
use postrider_store::{MasterKeySettings, Store};
use postrider_telemetry::drain::{self, Drained};
use postrider_telemetry::health::{Check, Health};
use postrider_telemetry::metrics::Metrics;
use postrider_telemetry::tasks::{TaskFailed, Tasks};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::cli::ServiceArgs;
use crate::{heartbeat, metrics, wiring};

/// Interval at which a stopping process logs the role that it waits for.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// Minimum time limit for stopping HTTP and all roles together. It applies if the drain timeout is shorter.
const ROLES_DRAIN_MIN: Duration = Duration::from_secs(5);

/// The connections that all roles of the process share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) profiles: Arc<Profiles>,
    pub(crate) health: Health,
}

/// A role that runs alongside HTTP.
struct Role {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<Result<(), TaskFailed>>,
}

impl Role {
    /// Waits until the role has ended. Logs every few seconds that the stop waits for this role.
    async fn ended(&mut self, broker: &Broker) {
        let started_at = Instant::now();
        while !self.task.is_finished() {
            match timeout(SAY_EVERY, &mut self.task).await {
                Ok(Ok(Ok(()))) => return,
                Ok(Ok(Err(error))) => return tracing::error!(role = self.name, %error, "role failed"),
                Ok(Err(error)) => return tracing::error!(role = self.name, %error, "role failed"),
                Err(_) => {
                    let waited_s = started_at.elapsed().as_secs();
                    tracing::info!(
                        role = self.name,
                        waited_s,
                        in_hand = in_hand(broker),
                        "stop waits for messages in flight"
                    );
                }
            }
        }
    }
}

/// Returns the number of messages in flight in each queue, for a log line.
fn in_hand(broker: &Broker) -> String {
    let counts = broker.in_flight().into_iter().map(|(queue, messages)| format!("{queue} {messages}"));
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() { "no messages".to_owned() } else { counts.join(", ") }
}

/// A process that is being started or is running.
pub(crate) struct Process {
    pub(crate) shared: Shared,
    started: Check,
    drain_max: Duration,
    routes: Arc<OnceCell<Router>>,
    /// Without this check, the process would be ready before a role has added its own checks.
    routes_open: Check,
    http: Role,
    /// Updates the report about this process until everything else has ended.
    heartbeat: Role,
    /// Background tasks that run until the process ends.
    tasks: Tasks,
    /// Background tasks of the routes. They run until the port closes.
    http_tasks: Tasks,
    /// The roles, in the order in which an event passes through them. They are stopped in this order.
    roles: Vec<Role>,
    stop: CancellationToken,
}

impl Process {
    /// Opens the port, then waits for the broker and the database. Returns `None` if `stop` comes first.
    ///
    /// # Errors
    /// The port is in use, a setting cannot be used, or a queue exists with other arguments.
    pub(crate) async fn start(
        service: &'static str,
        args: &ServiceArgs,
        master_keys: Option<&MasterKeySettings>,
        stop: CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let profiles = wiring::profiles(&args.profiles)?;
        let store = wiring::store(&args.database, master_keys)?;
        let amqp = wiring::broker_config(&args.amqp, service)?;
        let health = Health::new();
        // These checks are added before the port opens. Without any check, the process would be ready.
        let started = health.check("started");
        let routes_open = health.check("start");
        let routes = Arc::new(OnceCell::new());
        let tasks = Tasks::new(CancellationToken::new());
        let http = serve_http(service, &args.http, &health, &routes, &tasks).await?;

        let connected = tokio::select! {
            connected = connect(amqp, &store, &stop) => connected,
            () = stop.cancelled() => Ok(None),
        };
        let Some(broker) = connected? else {
            http.stop.cancel();
            return Ok(None);
        };
        tasks.spawn("process.broker", wiring::watch_broker(&broker, &health));
        tasks.spawn_endless("process.database_pool", metrics::watch_pool(store.clone()));
        tasks.spawn_endless("process.config_version", metrics::watch_config_version(store.clone()));
        let shared = Shared { broker, store, profiles, health };
        let beat = CancellationToken::new();
        let beating = heartbeat::run(service, shared.broker.clone(), shared.store.clone(), beat.clone());
        let heartbeat = Role { name: "heartbeat", stop: beat, task: tokio::spawn(beating.map(Ok)) };
        Ok(Some(Self {
            started,
            shared,
            drain_max: args.http.drain_timeout,
            routes,
            routes_open,
            http_tasks: Tasks::new(http.stop.clone()),
            http,
            heartbeat,
            tasks,
            roles: Vec::new(),
            stop,
        }))
    }

    /// Adds a role. It is stopped after the roles that were added earlier.
    pub(crate) fn role<F>(&mut self, name: &'static str, run: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), TaskFailed>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(stop.clone()));
        self.roles.push(Role { name, stop, task });
    }

    /// Returns the group of tasks that are stopped when the port closes.
    pub(crate) fn http_tasks(&self) -> Tasks {
        self.http_tasks.clone()
    }

    /// Opens the routes. Runs until the process is stopped, a role ends unexpectedly, or a background task fails.
    ///
    /// # Errors
    /// A role ended unexpectedly, or a background task failed.
    pub(crate) async fn run(mut self, routes: Router) -> anyhow::Result<()> {
        // The routes are set only in this function, so no error can occur.
        let _ = self.routes.set(server::with_fallback(routes));
        self.started.ok();
        self.routes_open.ok();
        tracing::info!(roles = ?self.roles.iter().map(|role| role.name).collect::<Vec<_>>(), "running");
        let roles = self.roles.iter_mut().chain([&mut self.http, &mut self.heartbeat]);
        let failed = tokio::select! {
            () = self.stop.cancelled() => None,
            failed = first_to_end(roles) => Some(failed),
            failed = self.tasks.failed() => Some(failed.into()),
            failed = self.http_tasks.failed() => Some(failed.into()),
        };
        if let Some(error) = &failed {
            tracing::error!(error = format!("{error:#}"), "a part of the process failed; stopping");
        }
        self.shared.health.drain();
        let broker = &self.shared.broker;
        let mut left = vec![self.http];
        left.append(&mut self.roles);
        left.push(self.heartbeat);
        let drained = drain::within("the process", self.drain_max.max(ROLES_DRAIN_MIN), async {
            for role in &mut left {
                role.stop.cancel();
                role.ended(broker).await;
            }
            // The tasks are stopped before the broker closes. One of them watches the broker and would fail.
            self.tasks.stop().cancel();
            broker.close().await;
        })
        .await;
        if drained == Drained::Abandoned {
            let roles: Vec<_> = left.iter().filter(|role| !role.task.is_finished()).map(|role| role.name).collect();
            tracing::warn!(
                ?roles,
                in_hand = in_hand(broker),
                "drain timed out; messages in flight are redelivered to other processes"
            );
        }
        tracing::info!(complete = drained == Drained::Complete, "stopped");
        failed.map_or(Ok(()), Err)
    }
}

async fn connect(amqp: BrokerConfig, store: &Store, stop: &CancellationToken) -> anyhow::Result<Option<Broker>> {
    if !store.wait_ready(stop).await {
        return Ok(None);
    }
    wiring::broker(amqp, stop).await
}

/// Waits until a role ends unexpectedly, and returns an error that contains its name.
async fn first_to_end(roles: impl Iterator<Item = &mut Role>) -> anyhow::Error {
    let mut tasks: futures::stream::FuturesUnordered<_> = roles
        .map(|role| {
            let name = role.name;
            let task = &mut role.task;
            async move {
                match task.await {
                    Ok(Ok(())) => anyhow!("{name} ended on its own"),
                    Ok(Err(failed)) => anyhow::Error::new(failed).context(name),
                    Err(panicked) => anyhow::Error::new(panicked).context(name),
                }
            }
        })
        .collect();
    match tasks.next().await {
        Some(error) => error,
        None => std::future::pending().await,
    }
}

/// Serves probes and metrics immediately. Serves the routes as soon as they are set.
async fn serve_http(
    service: &'static str,
    args: &postrider_http::Settings,
    health: &Health,
    routes: &Arc<OnceCell<Router>>,
    tasks: &Tasks,
) -> anyhow::Result<Role> {
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("POSTRIDER_LISTEN: cannot listen on {}; is it in use?", args.listen))?;
    let metrics = Metrics::install(service)?;
    tasks.spawn_endless("process.metrics", metrics.clone().upkeep());
    let late = Arc::clone(routes);
    let management = pages::management(health.clone(), metrics);
    let router = Router::new().fallback(move |request| route(Arc::clone(&late), request));
    let router = match args.management_listen.0 {
        None => router.merge(management),
        Some(address) => {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("POSTRIDER_MANAGEMENT_LISTEN: cannot listen on {address}; is it in use?"))?;
            tracing::info!(%address, "listening for probes and metrics");
            let (options, stop) = (args.management_options(), tasks.stop().clone());
            let serving = server::serve_with(listener, server::with_fallback(management), options, stop);
            tasks.spawn("process.management", serving.map(drop));
            router
        }
    };
    let stop = CancellationToken::new();
    let (options, http_stop) = (args.serve_options(), stop.clone());
    tracing::info!(address = %args.listen, "listening");
    let task = tokio::spawn(async move {
        server::serve_with(listener, router, options, http_stop).await;
        Ok(())
    });
    Ok(Role { name: "http", stop, task })
}

async fn route(routes: Arc<OnceCell<Router>>, request: Request) -> Response {
    match routes.get() {
        Some(router) => match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => Problem::unavailable("starting: waiting for the broker or the database", Duration::from_secs(2))
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &'static str, run: impl Future<Output = Result<(), TaskFailed>> + Send + 'static) -> Role {
        Role { name, stop: CancellationToken::new(), task: tokio::spawn(run) }
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_its_role_with_its_name() {
        let tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("fanout.config_feed", async { panic!("boom") });
        let supervised = async move { tasks.supervise(std::future::pending()).await };
        let mut roles = [role("ingest", std::future::pending()), role("fanout", supervised)];
        let error = first_to_end(roles.iter_mut()).await;
        assert_eq!(format!("{error:#}"), "fanout: background task fanout.config_feed panicked: boom");
    }

    #[tokio::test]
    async fn a_role_that_returns_before_its_stop_is_an_error() {
        let mut roles = [role("recorder", async { Ok(()) })];
        assert_eq!(first_to_end(roles.iter_mut()).await.to_string(), "recorder ended on its own");
    }
}
