//! Ingest: accepts events over HTTP and from the exchange. It responds (with 202 or an ack) after the broker has confirmed the
//! events.
//!
//! The modules, in the order in which an event passes them: `http` or `intake` reads a request or message; `event` reads and
//! checks one event; `admission` decides whether the tenant may publish now; `accept` checks the event against the tenant's
//! profile and schemas, and publishes it; `idempotency` recognizes repeats; `audit_sequence` numbers events for the audit.
//! `refused` contains the reasons of refusals.
//!
//! # Promises
//! - 202 means that a quorum queue confirmed the event. 503 is sent within 5 s and means that the event may have been accepted:
//!   the producer should repeat it with the same id or idempotency key. 4xx means that nothing was accepted.
//! - `data` and `metadata` remain the producer's bytes. `data` is parsed into a tree only to check it by a schema.
//! - Ingest works without the database, because keys and tenants are in memory.
//!
//! # What it does not do
//! It does not use endpoints. It writes nothing to the database except the claims of ids that producers chose.

mod accept;
mod admission;
mod audit_sequence;
mod config;
mod event;
mod http;
mod idempotency;
mod intake;
mod metrics;
mod refused;
mod settings;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use postrider_broker::{BatchOptions, Broker, Resend, Route};
use postrider_model::limits::{REQUEST_BODIES_BYTES_MAX, REQUEST_BODIES_PER_TENANT_BYTES_MAX};
use postrider_profiles::{Mappings, Profiles};
use postrider_store::Store;
use postrider_telemetry::health::Check;
use postrider_telemetry::tasks::{TaskFailed, Tasks};
use postrider_wire::messages::ServiceRole;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::config::Config;
pub use crate::settings::Settings;

use crate::accept::Accepter;
use crate::admission::Gate;
use crate::admission::tenant_directory::TenantDirectory;
use crate::audit_sequence::AuditSequence;
use crate::http::bodies::{Bodies, BodyLimits};
use crate::idempotency::Idempotency;
use crate::intake::Intake;

/// The dependencies of ingest.
#[derive(Clone)]
pub struct Deps {
    /// The broker.
    pub broker: Broker,
    /// The database, for the configuration feed and the claims of ids.
    pub store: Store,
    /// All profiles of the deployment.
    pub profiles: Arc<Profiles>,
    /// Mappings of KumoMTA's log records to events.
    pub mappings: Arc<Mappings>,
    /// The readiness check, which is set to ready when the keys and tenants are loaded.
    pub ready: Check,
}

/// The state that the HTTP routes and the intake share.
pub(crate) struct Ingest {
    pub(crate) gate: Gate,
    pub(crate) bodies: Bodies,
    pub(crate) accepter: Accepter,
}

/// Ingest without its HTTP routes: the consumer of the exchange, and the tasks that the consumer and the routes need.
pub struct Role {
    intake: Intake,
    tasks: Tasks,
    /// The task that reports sequence numbers until all numbers are settled.
    reporting: Tasks,
    /// These guards stop the tasks if the role is dropped before it was stopped.
    _ends: [DropGuard; 2],
}

impl Role {
    /// Consumes the exchange until `stop`, which must come after HTTP has ended. Then finishes the messages in flight and
    /// reports the last sequence numbers. The configuration feed and the other tasks end after that. So no event is accepted
    /// with a configuration that is out of date, and every accepted event is in a report.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, stop: CancellationToken) -> Result<(), TaskFailed> {
        let Self { intake, tasks, reporting, _ends } = self;
        tasks.supervise(reporting.supervise(intake.run(stop))).await??;
        reporting.stop().cancel();
        reporting.join().await?;
        // These tasks have no work to finish.
        tasks.stop().cancel();
        Ok(())
    }
}

/// Starts the tasks of ingest. Returns the routes `POST /v1/publish` and `POST /v1/publish/batch`, and the role to run at the
/// same time. Until the first configuration is loaded, every request is answered with 503.
pub fn start(config: &Config, deps: Deps) -> (Router, Role) {
    let (tasks, reporting) = (Tasks::new(CancellationToken::new()), Tasks::new(CancellationToken::new()));
    metrics::describe();
    let Deps { broker, store, profiles, mappings, ready } = deps;
    let directory = Arc::new(TenantDirectory::new(profiles, &config.operator_keys));
    let follow = Arc::clone(&directory).follow(store.clone(), tasks.stop().clone(), move || ready.ok());
    tasks.spawn("ingest.config_feed", follow);
    tasks.spawn("ingest.key_use", Arc::clone(&directory).note_key_use(store.clone(), tasks.stop().clone()));
    let announce = broker.clone().announce_applied_version(ServiceRole::Ingest, directory.applied());
    tasks.spawn_endless("ingest.announce", announce);

    let sequence = Arc::new(AuditSequence::new());
    let report = Arc::clone(&sequence).report_regularly(broker.message_publisher(), reporting.stop().clone());
    reporting.spawn("ingest.numbers", report);

    let options =
        BatchOptions { members_max: config.waiting_max, resend: Resend::WhileAwaited, ..BatchOptions::default() };
    let publishers =
        (broker.batch_publisher(Route::Accepted, options), broker.batch_publisher(Route::AcceptedInOrder, options));
    let idempotency = Idempotency::new(config.remembered_ids, store.clone(), &tasks);
    let bodies = BodyLimits { process: REQUEST_BODIES_BYTES_MAX, payer: REQUEST_BODIES_PER_TENANT_BYTES_MAX };
    let ingest = Arc::new(Ingest {
        gate: Gate::start(config, directory, broker.clone(), store, &tasks),
        bodies: Bodies::new(bodies),
        accepter: Accepter::new(publishers, idempotency, config.confirm_timeout, sequence),
    });
    let routes = Router::new()
        .route(http::PUBLISH, post(http::publish))
        .route(http::PUBLISH_BATCH, post(http::publish_batch))
        .with_state(Arc::clone(&ingest));
    let ends = [tasks.stop().clone().drop_guard(), reporting.stop().clone().drop_guard()];
    (routes, Role { intake: Intake::new(ingest, mappings, broker), tasks, reporting, _ends: ends })
}
