//! A serving process: its port, what it works with, its roles, and the order of its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use postrider_broker::Broker;
use postrider_profiles::Profiles;
use postrider_runtime::config::{HttpArgs, MasterKeysArgs};
use postrider_runtime::drain::{self, Drained};
use postrider_runtime::health::{Check, Health};
use postrider_runtime::http;
use postrider_runtime::metrics::Metrics;
use postrider_runtime::problem::Problem;
use postrider_store::Store;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::cli::ServiceArgs;
use crate::{heartbeat, metrics, wiring};

/// How often a stopping process says what it waits for.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// Part of the drain that is left for the roles after HTTP, at least.
const ROLES_DRAIN_MIN: Duration = Duration::from_secs(5);

/// What all roles of the process share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) profiles: Arc<Profiles>,
    pub(crate) health: Health,
}

/// A role that runs beside HTTP.
struct Role {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Role {
    /// Waits until it ends, and says every few seconds that it is what the stop waits for.
    async fn ended(&mut self, broker: &Broker) {
        let begun = Instant::now();
        while !self.task.is_finished() {
            match timeout(SAY_EVERY, &mut self.task).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => return tracing::error!(role = self.name, %error, "role failed"),
                Err(_) => {
                    let waited_s = begun.elapsed().as_secs();
                    tracing::info!(
                        role = self.name,
                        waited_s,
                        in_hand = in_hand(broker),
                        "stopping waits for what is in hand"
                    );
                }
            }
        }
    }
}

/// What is in hand, in words: each queue and how many of its messages.
fn in_hand(broker: &Broker) -> String {
    let counts = broker.in_hand().into_iter().map(|(queue, messages)| format!("{queue} {messages}"));
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() { "no messages".to_owned() } else { counts.join(", ") }
}

/// A process under construction, then running.
pub(crate) struct Process {
    pub(crate) shared: Shared,
    started: Check,
    drain_max: Duration,
    routes: Arc<OnceCell<Router>>,
    /// Without it the process would be ready before any role has said what it waits for.
    routes_open: Check,
    http: Role,
    /// Tells the operator of this process until everything else has ended.
    heartbeat: Role,
    /// In the order in which work flows, which is the order in which they end.
    roles: Vec<Role>,
    stop: CancellationToken,
}

impl Process {
    /// Opens the port, then waits for the broker and the database. `None` when `stop` came first.
    ///
    /// # Errors
    /// A port that is taken, settings that cannot be used, or queues that exist with other arguments.
    pub(crate) async fn start(
        service: &'static str,
        args: &ServiceArgs,
        master_keys: Option<&MasterKeysArgs>,
        stop: CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let profiles = wiring::profiles(&args.profiles)?;
        let store = wiring::store(&args.database, master_keys)?;
        let health = Health::new();
        // Before the port opens: until there are other checks, a process without this one would look ready.
        let started = health.check("started");
        let routes_open = health.check("start");
        let routes = Arc::new(OnceCell::new());
        let http = serve_http(service, &args.http, &health, &routes).await?;

        let connected = tokio::select! {
            connected = connect(service, args, &store, &stop) => connected,
            () = stop.cancelled() => Ok(None),
        };
        let Some(broker) = connected? else {
            http.stop.cancel();
            return Ok(None);
        };
        wiring::watch_broker(&broker, &health);
        metrics::watch_pool(&store);
        let shared = Shared { broker, store, profiles, health };
        let beat = CancellationToken::new();
        let beating = heartbeat::run(service, shared.broker.clone(), shared.store.clone(), beat.clone());
        let heartbeat = Role { name: "heartbeat", stop: beat, task: tokio::spawn(beating) };
        Ok(Some(Self {
            started,
            shared,
            drain_max: args.http.drain_timeout,
            routes,
            routes_open,
            http,
            heartbeat,
            roles: Vec::new(),
            stop,
        }))
    }

    /// Adds a role, to be stopped after those added before it.
    pub(crate) fn role<F>(&mut self, name: &'static str, run: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(stop.clone()));
        self.roles.push(Role { name, stop, task });
    }

    /// A token that ends with the port: for what feeds the routes.
    pub(crate) fn http_stop(&self) -> CancellationToken {
        self.http.stop.clone()
    }

    /// Opens the routes and runs until the stop, or until a role ends on its own.
    ///
    /// # Errors
    /// A role ended on its own.
    pub(crate) async fn run(mut self, routes: Router) -> anyhow::Result<()> {
        // Set once, here.
        let _ = self.routes.set(http::with_fallbacks(routes));
        self.started.ok();
        self.routes_open.ok();
        tracing::info!(roles = ?self.roles.iter().map(|role| role.name).collect::<Vec<_>>(), "running");
        let ended = tokio::select! {
            () = self.stop.cancelled() => None,
            name = first_to_end(&mut self.roles, &mut self.http) => Some(name),
        };
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
            broker.close().await;
        })
        .await;
        if drained == Drained::Abandoned {
            let roles: Vec<_> = left.iter().filter(|role| !role.task.is_finished()).map(|role| role.name).collect();
            tracing::warn!(?roles, in_hand = in_hand(broker), "abandoned; what was in hand is done again by others");
        }
        tracing::info!(complete = drained == Drained::Complete, "stopped");
        match ended {
            Some(name) => Err(anyhow!("{name} ended on its own")),
            None => Ok(()),
        }
    }
}

async fn connect(
    service: &str,
    args: &ServiceArgs,
    store: &Store,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Broker>> {
    if !store.wait_ready(stop).await {
        return Ok(None);
    }
    wiring::broker(&args.amqp, service, stop).await
}

/// The name of the first role that ends.
async fn first_to_end(roles: &mut [Role], http: &mut Role) -> &'static str {
    let mut tasks: futures::stream::FuturesUnordered<_> = roles
        .iter_mut()
        .chain(std::iter::once(http))
        .map(|role| {
            let name = role.name;
            let task = &mut role.task;
            async move {
                // A panic is told when the role is awaited; here only who it was matters.
                let _ = task.await;
                name
            }
        })
        .collect();
    match futures::StreamExt::next(&mut tasks).await {
        Some(name) => name,
        None => std::future::pending().await,
    }
}

/// Serves probes and metrics at once, and the routes as soon as there are any.
async fn serve_http(
    service: &'static str,
    args: &HttpArgs,
    health: &Health,
    routes: &Arc<OnceCell<Router>>,
) -> anyhow::Result<Role> {
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {} (POSTRIDER_LISTEN); is it taken?", args.listen))?;
    let metrics = Metrics::install(service)?;
    let late = Arc::clone(routes);
    let router = Router::new()
        .merge(health.router())
        .merge(metrics.router())
        .fallback(move |request| route(Arc::clone(&late), request));
    let stop = CancellationToken::new();
    let (options, http_stop) = (args.serve_options(), stop.clone());
    tracing::info!(address = %args.listen, "listening");
    let task = tokio::spawn(async move {
        http::serve_with(listener, router, options, http_stop).await;
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
