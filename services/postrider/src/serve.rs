//! Runs the commands of the services, and `migrate`.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use postrider_egress::{AddressGuard, Egress};
use postrider_mail::Mailer;
use postrider_operations::DashboardAddress;
use postrider_operations::portal::Framing;
use postrider_profiles::Mappings;
use postrider_recorder::ReconcileConfig;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::cli::{Command, MigrateArgs};
use crate::process::Process;
use crate::wiring;

/// Runs the command of a service, or `migrate`.
pub(crate) async fn run(command: Command, stop: CancellationToken) -> anyhow::Result<()> {
    let service = command.service();
    match command {
        Command::Ingest(args) => {
            let mappings = wiring::mappings(&args.ingest, &args.service.profiles)?;
            let Some(mut process) = Process::start(service, &args.service, None, stop).await? else { return Ok(()) };
            let routes = ingest(&mut process, mappings, &args.access);
            process.run(routes).await
        }
        Command::Fanout(args) => {
            let Some(mut process) = Process::start(service, &args, None, stop).await? else { return Ok(()) };
            fanout(&mut process);
            process.run(Router::new()).await
        }
        Command::Dispatcher(args) => {
            let keys = Some(&args.master_keys);
            let clients = (wiring::egress(&args.egress)?, wiring::mailer(&args.mail)?);
            let Some(mut process) = Process::start(service, &args.service, keys, stop).await? else { return Ok(()) };
            dispatcher(&mut process, clients, &args.dispatcher);
            process.run(Router::new()).await
        }
        Command::Recorder(args) => {
            let Some(mut process) = Process::start(service, &args.service, None, stop).await? else { return Ok(()) };
            recorder(&mut process, &args.recorder, args.public_url.0.clone());
            process.run(Router::new()).await
        }
        Command::Api(args) => {
            let keys = Some(&args.master_keys);
            let Some(mut process) = Process::start(service, &args.service, keys, stop).await? else { return Ok(()) };
            let routes = api(&mut process, &args.api, &args.access, &args.egress, &args.mail)?;
            process.run(routes).await
        }
        Command::All(args) => {
            let keys = Some(&args.master_keys);
            let mappings = wiring::mappings(&args.ingest, &args.service.profiles)?;
            let clients = (wiring::egress(&args.egress)?, wiring::mailer(&args.mail)?);
            let Some(mut process) = Process::start(service, &args.service, keys, stop).await? else { return Ok(()) };
            let publishing = ingest(&mut process, mappings, &args.access);
            let routes = publishing.merge(api(&mut process, &args.api, &args.access, &args.egress, &args.mail)?);
            fanout(&mut process);
            dispatcher(&mut process, clients, &args.dispatcher);
            recorder(&mut process, &args.recorder, args.api.public_url.0.clone());
            process.run(routes).await
        }
        Command::Migrate(args) => migrate(&args, &stop).await,
        Command::Audit(_) | Command::Reencrypt(_) | Command::Openapi | Command::Healthcheck(_) => Ok(()),
    }
}

fn ingest(process: &mut Process, mappings: Arc<Mappings>, access: &postrider_access::Settings) -> Router {
    let shared = &process.shared;
    let deps = postrider_ingest::Deps {
        broker: shared.broker.clone(),
        store: shared.store.clone(),
        profiles: shared.profiles.clone(),
        mappings,
        ready: shared.health.check("ingest configuration"),
    };
    let operator_keys = access.operator_keys.0.clone();
    let config = postrider_ingest::Config { operator_keys, ..Default::default() };
    let (routes, ingest) = postrider_ingest::start(&config, deps);
    process.role("ingest", |stop| ingest.run(stop));
    routes
}

fn fanout(process: &mut Process) {
    let shared = &process.shared;
    let deps = postrider_fanout::Deps {
        broker: shared.broker.clone(),
        feed: shared.store.feed().clone(),
        profiles: shared.profiles.clone(),
        ready: shared.health.check("fanout configuration"),
    };
    process.role("fanout", |stop| postrider_fanout::run(postrider_fanout::Config::default(), deps, stop));
}

fn dispatcher(
    process: &mut Process,
    (egress, mailer): (Egress, Option<Mailer>),
    settings: &postrider_dispatcher::Settings,
) {
    let shared = &process.shared;
    let deps = postrider_dispatcher::Deps {
        broker: shared.broker.clone(),
        store: shared.store.clone(),
        egress,
        mailer,
        profiles: shared.profiles.clone(),
        services: postrider_dispatcher::ServiceUrls {
            pushover: settings.pushover_url.clone(),
            telegram: settings.telegram_url.clone(),
        },
        ready: Some(shared.health.check("dispatcher configuration")),
    };
    process.role("dispatcher", |stop| postrider_dispatcher::run(postrider_dispatcher::Config::default(), deps, stop));
}

fn recorder(process: &mut Process, settings: &postrider_recorder::Settings, public_url: Option<Url>) {
    let shared = &process.shared;
    let deps = postrider_recorder::Deps {
        broker: shared.broker.clone(),
        store: shared.store.clone(),
        profiles: shared.profiles.clone(),
        ready: shared.health.check("recorder partitions"),
    };
    let config = postrider_recorder::Config {
        retention_days: settings.retention_days.into(),
        public_url,
        reconcile: ReconcileConfig::default().attempted_after(settings.reconcile_after),
        ..Default::default()
    };
    process.role("recorder", |stop| postrider_recorder::run(config, deps, stop));
}

fn api(
    process: &mut Process,
    settings: &postrider_api::Settings,
    access: &postrider_access::Settings,
    egress: &postrider_egress::Settings,
    mail: &postrider_mail::Settings,
) -> anyhow::Result<Router> {
    let oidc = wiring::identity_provider(settings)?;
    let shared = &process.shared;
    let deps = postrider_api::Deps {
        broker: shared.broker.clone(),
        store: shared.store.clone(),
        profiles: shared.profiles.clone(),
        guard: AddressGuard {
            allow: egress.allow.0.clone(),
            allow_http: egress.allow_http,
            chat_hosts: egress.chat_hosts.0.clone(),
        },
        recipients: mail.recipients(),
        ready: shared.health.check("api configuration"),
    };
    let frame_ancestors = settings.frame_ancestors.0.clone();
    let framing = if frame_ancestors.is_empty() { Framing::Refused } else { Framing::Allowed };
    let config = postrider_api::Config {
        operator_keys: access.operator_keys.0.clone(),
        served_by_https: settings.is_https(),
        address: DashboardAddress { public_url: settings.public_url.0.clone(), framing },
    };
    let (tasks, store) = (process.http_tasks(), shared.store.clone());
    let api = postrider_api::start(config, deps, &tasks);
    tasks.spawn("api.erase", postrider_api::run_eraser(store.clone(), tasks.stop().clone()));
    let pages = postrider_dashboard::Dashboard {
        operations: api.operations,
        store,
        served_by_https: settings.is_https(),
        frame_ancestors,
        oidc,
    };
    Ok(api.routes.merge(postrider_dashboard::router(pages, &tasks)))
}

/// Migrates the database. Waits while the database server is unreachable. A refused login or a missing database is an error
/// immediately.
async fn migrate(args: &MigrateArgs, stop: &CancellationToken) -> anyhow::Result<()> {
    let store = wiring::store(&args.database, None)?;
    if store.wait_unless_refused(stop).await.context("POSTRIDER_DATABASE_URL")? {
        store.migrate().await?;
        tracing::info!("the database is up to date");
    }
    Ok(())
}
