//! Ingest: takes events over HTTP and from the exchange, and tells its producer (202, or an ack) once RabbitMQ has them
//! safe.
//!
//! It owns the front door: who may publish for whom (`keys`, `sender`), what an event must look like (`event`, written as `request` or as
//! `cloudevents`; `catalog` where the tenant says more), what a repeat is (`idempotency`, by `content` and `claims`), how much may come in (`bodies`, `pressure`, the tenant's rate, `brake`), and what
//! comes from the exchange (`intake`).
//!
//! # What it promises
//! - 202 means that a quorum queue confirmed the event. 503 comes within 5 s and means "unknown: repeat it under the same
//!   id or key". 4xx means that nothing was accepted.
//! - `data` and `metadata` stay the producer's bytes. A tree is made of `data` only to check it by a schema, and thrown away.
//! - It goes on without the database: keys and tenants are in memory.
//!
//! # What it does not
//! It does not know endpoints, and it writes nothing to the database but to whom the ids belong that producers name.

mod accept;
mod bodies;
mod brake;
mod catalog;
mod claims;
mod cloudevents;
mod config;
mod content;
mod cpu_pressure;
mod event;
mod handlers;
mod idempotency;
mod intake;
mod keys;
mod metrics;
mod numbers;
mod pressure;
mod request;
mod schemas;
mod sender;
mod settings;
mod waiting;

#[cfg(test)]
mod hostile;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, Uri, header};
use axum::routing::post;
use postrider_broker::Resend;
use postrider_broker::{BatchOptions, Broker, Route};
use postrider_http::problem::{Problem, check_content_encoding};
use postrider_model::ids::TenantId;
use postrider_model::limits::{REQUEST_BODIES_BYTES_MAX, REQUEST_BODIES_PER_TENANT_BYTES_MAX};
use postrider_profiles::{Mappings, Profiles};
use postrider_store::Store;
use postrider_telemetry::health::Check;
use postrider_telemetry::tasks::{TaskFailed, Tasks};
use postrider_wire::messages::ServiceRole;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::config::Config;
pub use crate::settings::Settings;

use crate::accept::{Accepter, Publisher};
use crate::bodies::Bodies;
use crate::brake::Brake;
use crate::cpu_pressure::CpuPressure;
use crate::idempotency::Remembered;
use crate::intake::Intake;
use crate::keys::Keys;
use crate::numbers::Numbers;
use crate::pressure::{Limits, Pressure};
use crate::sender::Sender;
use crate::waiting::Waiting;

/// What ingest works with.
#[derive(Clone)]
pub struct Deps {
    /// RabbitMQ.
    pub broker: Broker,
    /// PostgreSQL, for the configuration feed and the claims of ids.
    pub store: Store,
    /// Every profile.
    pub profiles: Arc<Profiles>,
    /// What log records become.
    pub mappings: Arc<Mappings>,
    /// Passes once keys and tenants are loaded.
    pub ready: Check,
}

/// The running service behind the routes.
pub(crate) struct Ingest {
    pub(crate) keys: Arc<Keys>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) waiting_deliveries_max: u64,
    pub(crate) brake: Brake,
    pub(crate) bodies: Bodies,
    pub(crate) accepter: Accepter,
}

/// Ingest without its HTTP routes: the consumer of the exchange, and the tasks that both ways in need.
pub struct Role {
    intake: Intake,
    tasks: Tasks,
    /// Reports audit numbers, until every number is settled.
    reporting: Tasks,
    /// Ends the tasks of a role that is dropped instead of stopped.
    _ends: [DropGuard; 2],
}

impl Role {
    /// Consumes the exchange until `stop`, which must come when HTTP has ended: then the messages in hand are finished,
    /// the last numbers reported, and only then the configuration feed and the rest end. So nothing is accepted by a
    /// configuration that is not followed any more, and every accepted event is in a report.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, stop: CancellationToken) -> Result<(), TaskFailed> {
        let Self { intake, tasks, reporting, _ends } = self;
        tasks.supervise(reporting.supervise(intake.run(stop))).await??;
        reporting.stop().cancel();
        reporting.join().await?;
        // Nothing of them has to be finished.
        tasks.stop().cancel();
        Ok(())
    }
}

/// Starts the tasks of ingest and returns its routes, `POST /v1/publish` and `POST /v1/publish/batch`, and the role to run
/// beside them. Until the first configuration is loaded every request is answered with 503.
pub fn start(config: &Config, deps: Deps) -> (Router, Role) {
    let (tasks, reporting) = (Tasks::new(CancellationToken::new()), Tasks::new(CancellationToken::new()));
    metrics::describe();
    let Deps { broker, store, profiles, mappings, ready } = deps;
    let keys = Arc::new(Keys::new(profiles, &config.operator_keys));
    let stop = tasks.stop().clone();
    tasks.spawn("ingest.config_feed", Arc::clone(&keys).follow(store.clone(), stop.clone(), move || ready.ok()));

    tasks
        .spawn_endless("ingest.announce", broker.clone().announce_applied_version(ServiceRole::Ingest, keys.applied()));

    let pressure = Arc::new(Pressure::default());
    let limits = Limits { messages_max: config.inner_depth_max, bytes_max: config.inner_bytes_max };
    let (watched, watching_broker, watching_store) = (Arc::clone(&pressure), broker.clone(), store.clone());
    let watching = async move { watched.watch(watching_broker, watching_store, limits).await };
    tasks.spawn_endless("ingest.pressure", watching);
    let waiting = Arc::new(Waiting::default());
    let (watched, watching_store) = (Arc::clone(&waiting), store.clone());
    tasks.spawn_endless("ingest.waiting", async move { watched.watch(watching_store).await });

    let cpu_pressure = CpuPressure::default();
    tasks.spawn("ingest.cpu_pressure", cpu_pressure.clone().watch(stop.clone()));

    let options =
        BatchOptions { members_max: config.waiting_max, resend: Resend::WhileAwaited, ..BatchOptions::default() };
    let publisher = broker.batch_publisher(Route::Accepted, options);
    let remembered = Remembered::new(config.remembered_ids, store, &tasks);
    let numbers = Arc::new(Numbers::new());
    let (reported, singles, settled) = (Arc::clone(&numbers), broker.message_publisher(), reporting.stop().clone());
    reporting.spawn("ingest.numbers", async move { reported.report_now_and_then(singles, settled).await });
    let accepter = Accepter::new(publisher, remembered, config.confirm_timeout, numbers);
    let waiting_deliveries_max = config.waiting_deliveries_max;
    let limits = bodies::Limits { process: REQUEST_BODIES_BYTES_MAX, payer: REQUEST_BODIES_PER_TENANT_BYTES_MAX };
    let ingest = Arc::new(Ingest {
        keys,
        pressure,
        waiting,
        waiting_deliveries_max,
        brake: Brake::new(cpu_pressure, config.brake_from),
        bodies: Bodies::new(limits),
        accepter,
    });
    let routes = Router::new()
        .route(handlers::PUBLISH, post(handlers::publish))
        .route(handlers::PUBLISH_BATCH, post(handlers::publish_batch))
        .with_state(Arc::clone(&ingest));
    let ends = [tasks.stop().clone().drop_guard(), reporting.stop().clone().drop_guard()];
    (routes, Role { intake: Intake::new(ingest, mappings, broker), tasks, reporting, _ends: ends })
}

impl Ingest {
    /// Lets a request in before its body is read: its key, its query, the pressure behind.
    fn sender(&self, uri: &Uri, headers: &HeaderMap) -> Result<Sender<'_>, Problem> {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let sender = Sender::of(&self.keys, authorization, uri.query())?;
        check_content_encoding(headers)?;
        self.check_waiting()?;
        Ok(sender)
    }

    /// Whether anything may be let in.
    pub(crate) fn check_waiting(&self) -> Result<(), Problem> {
        self.pressure.check()?;
        self.waiting.check_all(self.waiting_deliveries_max)
    }

    /// Lets a tenant's events in: charges them to its rate and share.
    async fn admit(&self, tenant: TenantId, events: usize) -> Result<Publisher, Problem> {
        let mut publisher = self.keys.publisher(tenant)?;
        self.waiting.check_tenant(tenant, self.keys.waiting_max(tenant))?;
        // First: to refuse a flood costs nearly as much as to take it.
        publisher.waited = self.brake.wait(tenant, events).await?;
        self.keys.charge(tenant, events).inspect_err(|_| metrics::limited())?;
        Ok(publisher)
    }
}
