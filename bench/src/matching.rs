//! Matching: how the number of subscriptions affects the start, the memory, the time until an edit is in force, and the time of
//! a match.
//!
//! Each row has its own database, into which the endpoints are inserted with SQL. A tenth of the endpoints belong to one
//! tenant. They select the same event type, and each of them selects a different sending domain. The other endpoints belong to
//! tenants with a hundred endpoints each, and each of them selects one of twenty types.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use postrider_testkit::engines::Scope;
use serde_json::json;
use tokio_postgres::NoTls;

use crate::console::say;
use crate::engine::{Engine, EngineOptions, Tenant};
use crate::ledger::Latency;
use crate::matches::{LARGE_TENANTS_TYPE, SMALL_TENANT, TYPES, large_tenant, tenants};
use crate::part::{output, own_command};
use crate::receiver::Sink;
use crate::report::{MIB, Matching};

const IN_FORCE_WITHIN: Duration = Duration::from_secs(20);
const QUEUES_EMPTY_WITHIN: Duration = Duration::from_secs(30);

/// Measures one row for each of `sizes`.
pub(crate) async fn run(options: &EngineOptions, sink: &Sink, sizes: &[u32]) -> anyhow::Result<Vec<Matching>> {
    let mut rows = Vec::new();
    for subscriptions in sizes {
        let matches = output(own_command()?.arg("match").args(["--subscriptions", &subscriptions.to_string()])).await?;
        let scope = Scope::new("bench_matching").await;
        let options = EngineOptions {
            amqp_url: scope.amqp_url.clone(),
            database_url: scope.database_url.clone(),
            ..options.clone()
        };
        let row = Box::pin(measure(&options, sink, *subscriptions, matches)).await?;
        say(&row.text());
        rows.push(row);
    }
    Ok(rows)
}

async fn measure(
    options: &EngineOptions,
    sink: &Sink,
    subscriptions: u32,
    matches: Latency,
) -> anyhow::Result<Matching> {
    let engine = Box::pin(Engine::start(options)).await?;
    let made = engine.tenant("a large tenant", json!({ "endpoints": subscriptions })).await;
    engine.stop().await;
    let tenant = made?;
    fill(&options.database_url, &tenant, subscriptions).await?;

    let engine = Box::pin(Engine::start(options)).await?;
    let ready = engine.ready_after("fanout");
    let in_force = Box::pin(edit(&engine, &tenant, sink)).await;
    let peak_bytes = engine.watched_service("fanout").map_or(0, |process| process.usage().peak_bytes);
    engine.stop().await;
    Ok(Matching {
        services: options.processes.label(),
        subscriptions,
        ready_seconds: ready.as_secs_f64(),
        peak_mib: peak_bytes as f64 / MIB,
        edit_in_force_seconds: in_force?.as_secs_f64(),
        matches,
    })
}

/// Inserts tenants and endpoints. The secrets are empty, because no requests are sent to these endpoints.
async fn fill(database_url: &str, tenant: &Tenant, subscriptions: u32) -> anyhow::Result<()> {
    let large = large_tenant(subscriptions);
    let (others, tenants) = (subscriptions - large, tenants(subscriptions));
    let into = "INSERT INTO endpoints (id, tenant, document, status, secret_current, private, version, created_at, updated_at)";
    let owner = format!("md5('tenant ' || n / {SMALL_TENANT})::uuid");
    let (url, id) = ("http://127.0.0.1:9/hook", &tenant.id);
    let sql = format!(
        "UPDATE config_version SET version = version + 1;
         INSERT INTO tenants (id, name, profile, limits, enforce_catalog, enforce_schemas, version, created_at, updated_at)
         SELECT md5('tenant ' || n)::uuid, 'tenant ' || n, 'standard', '{{}}', false, false, version, now(), now()
         FROM generate_series(0, {tenants} - 1) n, config_version;
         {into}
         SELECT gen_random_uuid(), substr('{id}', length('ten_') + 1)::uuid, json_build_object('name', 'e' || n, 'url', '{url}',
             'event_types', json_build_array('{LARGE_TENANTS_TYPE}'),
             'filters', json_build_object('sending_domain', json_build_array('d' || n || '.example.com'))),
             0, '', '', version, now(), now()
         FROM generate_series(0, {large} - 1) n, config_version;
         {into}
         SELECT gen_random_uuid(), {owner}, json_build_object('name', 'e' || n, 'url', '{url}',
             'event_types', json_build_array('bench.t' || n % {TYPES})),
             0, '', '', version, now(), now()
         FROM generate_series(0, {others} - 1) n, config_version;"
    );
    let (client, connection) = tokio_postgres::connect(database_url, NoTls).await.context("connect to PostgreSQL")?;
    let driving = tokio::task::spawn_local(connection);
    client.batch_execute(&sql).await.with_context(|| format!("write {subscriptions} endpoints"))?;
    client.batch_execute("VACUUM ANALYZE").await?;
    drop(client);
    driving.await?.context("the connection to PostgreSQL")
}

/// Creates an endpoint in the large tenant. Returns the time until the endpoint receives events.
async fn edit(engine: &Engine, tenant: &Tenant, sink: &Sink) -> anyhow::Result<Duration> {
    let before = sink.received().await?;
    let asked = json!({
        "name": "the edit", "url": sink.url(0), "event_types": [LARGE_TENANTS_TYPE],
        "filters": { "sending_domain": ["edited.example.com"] },
    });
    engine.endpoint(tenant, asked).await?;
    let answered = Instant::now();
    let event = json!({
        "type": LARGE_TENANTS_TYPE, "data": { "n": 1 }, "attributes": { "sending_domain": "edited.example.com" },
    });
    while sink.received().await? == before {
        anyhow::ensure!(answered.elapsed() < IN_FORCE_WITHIN, "the edit was not in force within {IN_FORCE_WITHIN:?}");
        crate::http::call(engine.ingest(), &tenant.key, "POST", "/v1/publish", &event).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = answered.elapsed();
    engine.wait_until_queues_are_empty(QUEUES_EMPTY_WITHIN).await?;
    Ok(took)
}
