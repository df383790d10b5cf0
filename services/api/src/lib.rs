//! The API: everything that people and SDKs do beside publishing.
//!
//! It owns the routes under `/v1` but for `/v1/publish`, who may use them (`auth`), what a valid tenant or endpoint is
//! (`endpoints`), the OpenAPI document, which is made from this code, and the pages of the `dashboard`, which is another face of
//! the same operations.
//!
//! # What it promises
//! - Every error is a problem (RFC 9457); one in a field carries a JSON pointer to it.
//! - A tenant never learns of another tenant's things: they are 404s like those that do not exist.
//! - Secrets and keys are shown once, when they are made. Values of an endpoint's own headers are never shown again.
//! - A retry, and a dead letter that is sent back, is committed before it is answered, and published at once; should the
//!   process die in between, the recorder's outbox relay publishes it.
//!
//! # What it does not
//! It sends nothing to endpoints itself: a test call asks a dispatcher.

mod auth;
mod budget;
mod config;
mod edits;
mod extract;
mod failure;
mod metrics;
mod once;
mod openapi;
mod operations;
mod query;
mod refused;
mod request;
mod responses;
mod routes;
mod settings;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use postrider_broker::Broker;
use postrider_egress::AddressGuard;
use postrider_http::server::{self, ServeOptions};
use postrider_operations::{KeyHolders, KeyTable, Operations};
use postrider_profiles::Profiles;
use postrider_store::Store;
use postrider_telemetry::health::Check;
use postrider_telemetry::tasks::{TaskFailed, Tasks};
use postrider_wire::messages::ServiceRole;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use crate::config::Config;
pub use crate::openapi::openapi;
pub use crate::settings::Settings;

use crate::auth::Keys;
use crate::refused::Refused;

/// What the API works with.
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
    /// Passes once keys are loaded.
    pub ready: Check,
}

/// The running service behind the routes.
pub(crate) struct Api {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) keys: Arc<Keys>,
    pub(crate) refused: Refused,
    pub(crate) operations: Arc<Operations>,
}

/// The running API, and what the dashboard shares with it.
pub struct Service {
    /// `/v1/…` and `/openapi.json`.
    pub routes: Router,
    /// The operations behind the routes.
    pub operations: Arc<Operations>,
    /// The holders of API keys.
    pub keys: Arc<dyn KeyHolders>,
}

/// Starts the API's background tasks on `tasks` and returns its routes.
/// Tenants' keys are answered with 503 until the first configuration is loaded. The caller supervises the tasks.
pub fn start(config: Config, deps: Deps, tasks: &Tasks) -> Service {
    let Deps { broker, store, profiles, guard, ready } = deps;
    let keys = Arc::new(Keys::new(&config.operator_keys));
    let stop = tasks.stop().clone();
    tasks.spawn("api.config_feed", Arc::clone(&keys).follow(store.clone(), stop.clone(), ready));
    tasks.spawn_endless("api.announce", broker.clone().announce_applied_version(ServiceRole::Api, keys.applied()));
    tasks.spawn("api.applied_versions", broker.clone().follow_applied_versions(stop.clone()));
    let refused = Refused::new(store.clone());
    let operations = {
        let (store, keys) = (store.clone(), Arc::clone(&keys) as Arc<dyn KeyTable>);
        let deps = postrider_operations::Deps { broker, store, profiles, guard, keys };
        operations::new(&config, deps, &stop)
    };
    let api = Arc::new(Api { config, store, keys, refused, operations });
    let document = Arc::new(openapi().to_string());
    let serve_document = move || {
        let document = Arc::clone(&document);
        async move { ([(header::CONTENT_TYPE, "application/json")], document.to_string()) }
    };
    let (routes, _) = openapi::routes().split_for_parts();
    let served_by_https = api.config.served_by_https;
    let routes = routes
        // Innermost: it sees the edits of its own task, and the next layer answers in another one.
        .layer(middleware::from_fn_with_state(Arc::clone(&api), edits::settle))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), once::once))
        .layer(DefaultBodyLimit::max(request::BODY_BYTES_MAX))
        .with_state(Arc::clone(&api))
        .route("/openapi.json", get(serve_document));
    let routes = if served_by_https { routes.layer(middleware::map_response(with_hsts)) } else { routes };
    Service { routes, operations: Arc::clone(&api.operations), keys: api }
}

/// Tells browsers to come by https for a year.
async fn with_hsts(mut response: Response) -> Response {
    response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    response
}

/// Serves the API alone on `listener` until `stop`, then finishes the requests in hand.
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
    let router = server::with_fallbacks(start(config, deps, &tasks).routes);
    tasks.supervise(server::serve_with(listener, router, options, stop)).await?;
    tasks.join().await
}
