//! The HTTP API: everything that people and programs do except publishing.
//!
//! It owns the routes under `/v1` except `/v1/publish`, and the OpenAPI document, which is generated from this code. A route
//! reads its request and calls an operation of `postrider-operations`. The dashboard calls the same operations.
//!
//! # What it promises
//! - Every error is a problem (RFC 9457). An error about a field contains a JSON pointer to the field.
//! - A POST that is sent again with the same `Idempotency-Key` takes effect once.
//! - The answer to an edit is sent when every live instance has applied the edit, or after half a second.
//!
//! # What it does not do
//! It has no separate rules: `postrider-operations` decides who may do what, and which requests are valid.

mod call;
mod erase;
mod extract;
mod metrics;
mod once;
mod openapi;
mod origins;
mod query;
mod request;
mod responses;
mod routes;
mod settings;
mod wait_for_edit;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use postrider_access::KeyTable;
use postrider_broker::Broker;
use postrider_egress::AddressGuard;
use postrider_http::server::{self, ServeOptions};
use postrider_mail::Recipients;
use postrider_operations::{DashboardAddress, Operations, RequestBudget};
use postrider_profiles::Profiles;
use postrider_store::Store;
use postrider_store::feed::{Changes, Feed, FeedScope};
use postrider_telemetry::health::Check;
use postrider_telemetry::tasks::{TaskFailed, Tasks};
use postrider_wire::messages::ServiceRole;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use crate::erase::run as run_eraser;
pub use crate::openapi::openapi;
pub use crate::origins::Origins;
pub use crate::settings::Settings;

/// What the API is started with.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The operator keys, which may do everything. Without an operator key, tenants cannot be created.
    pub operator_keys: Vec<SecretString>,
    /// Whether people reach the dashboard by https. If so, answers have the header `Strict-Transport-Security`.
    pub served_by_https: bool,
    /// The public URL of the dashboard, and whether other sites may show it in a frame.
    pub address: DashboardAddress,
}

/// The dependencies of the API.
#[derive(Clone)]
pub struct Deps {
    /// RabbitMQ, for retries and test calls.
    pub broker: Broker,
    /// PostgreSQL.
    pub store: Store,
    /// Every profile.
    pub profiles: Arc<Profiles>,
    /// Decides which URLs an endpoint may have.
    pub guard: AddressGuard,
    /// The addresses to which endpoints may send e-mail.
    pub recipients: Recipients,
    /// The readiness check, which passes once keys are loaded.
    pub ready: Check,
}

/// The state of the routes.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) operations: Arc<Operations>,
}

/// The running API.
pub struct Service {
    /// `/v1/…` and `/openapi.json`.
    pub routes: Router,
    /// The operations behind the routes.
    pub operations: Arc<Operations>,
}

/// Starts the API's background tasks on `tasks` and returns its routes and operations. Until the first configuration is loaded, a
/// request with a tenant's key gets 503. The caller supervises the tasks, and runs [`run_eraser`] in the same process.
pub fn start(config: Config, deps: Deps, tasks: &Tasks) -> Service {
    metrics::describe();
    let Deps { broker, store, profiles, guard, recipients, ready } = deps;
    let stop = tasks.stop().clone();
    let keys = Arc::new(KeyTable::new(&config.operator_keys));
    let applied = watch::Sender::new(0);
    tasks.spawn_endless("api.announce", broker.clone().announce_applied_version(ServiceRole::Api, applied.subscribe()));
    tasks.spawn("api.applied_versions", broker.clone().follow_applied_versions(stop.clone()));
    let feed = store.feed().follow(FeedScope::KEYS, stop.clone());
    tasks.spawn("api.config_feed", follow(Arc::clone(&keys), feed, applied, ready));
    tasks.spawn("api.key_use", note_key_use(Arc::clone(&keys), store.clone(), stop.clone()));
    let deps = postrider_operations::Deps {
        broker,
        store: store.clone(),
        profiles,
        guard,
        recipients,
        keys,
        address: config.address,
    };
    let operations = Arc::new(Operations::new(deps, stop));
    let api = Arc::new(Api { store, operations: Arc::clone(&operations) });
    let document = Bytes::from(openapi().to_string());
    let (routes, _) = openapi::routes().split_for_parts();
    let routes = routes
        // The innermost layer, because it observes only the edits of its own task, and the layer around it (`once`) runs the
        // handler in another task.
        .layer(middleware::from_fn_with_state(Arc::clone(&api), wait_for_edit::wait_for_edit))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), once::once))
        .layer(DefaultBodyLimit::max(request::BODY_BYTES_MAX))
        .with_state(api)
        .route("/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], document)));
    let routes = if config.served_by_https { routes.layer(middleware::map_response(with_hsts)) } else { routes };
    Service { routes, operations }
}

/// Applies every change of the configuration to `keys`. Sets `applied` to the version in force in this process, which is 0 until
/// the first configuration is loaded.
async fn follow(keys: Arc<KeyTable<RequestBudget>>, feed: Feed, applied: watch::Sender<i64>, ready: Check) {
    let apply = |changes: Changes| {
        metrics::config_version(changes.version);
        applied.send_replace(changes.version);
        ready.ok();
    };
    keys.follow(feed, apply).await;
}

/// Records in the database when each key was last used, until `stop`.
async fn note_key_use(keys: Arc<KeyTable<RequestBudget>>, store: Store, stop: CancellationToken) {
    keys.note_use(store, stop).await;
}

/// Tells browsers to use https for a year.
async fn with_hsts(mut response: Response) -> Response {
    response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    response
}

/// Serves the API without the dashboard on `listener` until `stop`, then finishes the requests in progress.
///
/// # Errors
/// A background task failed.
pub async fn run(
    config: Config,
    deps: Deps,
    listener: TcpListener,
    options: ServeOptions,
    stop: CancellationToken,
) -> Result<(), TaskFailed> {
    let tasks = Tasks::new(stop.clone());
    let router = server::with_fallback(start(config, deps, &tasks).routes);
    tasks.supervise(server::serve_with(listener, router, options, stop)).await?;
    tasks.join().await
}
