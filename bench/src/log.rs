//! The log: how large the dashboard's pages are, and how long the server takes for them, with much on record.
//!
//! It has a separate database. Endpoints, event types, deliveries and attempts are inserted with SQL, all on the current day, which is
//! the worst case: one partition. One event with a large payload is published, so that its pages have real rows.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use postrider_testkit::engines::Scope;
use postrider_testkit::rollups::replace_rollups;
use serde::Serialize;
use serde_json::json;
use tokio_postgres::{Client, NoTls};

use crate::console::say;
use crate::engine::{Engine, EngineOptions, OPERATOR_KEY, Tenant, no_limits};
use crate::http::{Connection, request};
use crate::ledger::Latency;
use crate::receiver::Sink;

const ENDPOINTS: u32 = 1_000;
const EVENT_TYPES: u32 = 200;
/// Length of the URL of every twentieth endpoint, in characters.
const URL_CHARS: usize = 900;
/// Hours in which every endpoint has counts and two causes of failures: those of the longest range of the health page.
const HOURS: u32 = 30 * 24;
/// The payload of the published event, in bytes.
const PAYLOAD_BYTES: usize = 256 * 1024;
/// Requests for each page. The first one fills caches and is not measured.
const REQUESTS: usize = 21;
const RECORDED_WITHIN: Duration = Duration::from_secs(60);
/// The dashboard session that is inserted.
const SESSION: &str = "bench-session-of-the-operator-0123456789abc";

/// The weight and the time of a page.
#[derive(Debug, Serialize)]
pub(crate) struct PageRow {
    /// The page.
    pub(crate) name: &'static str,
    /// The size of the answer's body.
    pub(crate) kilobytes: f64,
    /// From the request until the whole answer was read.
    pub(crate) time: Latency,
}

/// Measures every page with `attempts` deliveries and attempts on record.
pub(crate) async fn run(options: &EngineOptions, sink: &Sink, attempts: u64) -> anyhow::Result<Vec<PageRow>> {
    let scope = Scope::new("bench_log").await;
    let options =
        EngineOptions { amqp_url: scope.amqp_url.clone(), database_url: scope.database_url.clone(), ..options.clone() };
    let engine = Box::pin(Engine::start(&options)).await?;
    let measured = Box::pin(measure(&engine, &options.database_url, sink, attempts)).await;
    engine.stop().await;
    measured
}

async fn measure(engine: &Engine, database: &str, sink: &Sink, attempts: u64) -> anyhow::Result<Vec<PageRow>> {
    let limits = json!({ "endpoints": ENDPOINTS + 1 });
    let tenant = engine.tenant("a tenant with a long history", merged(no_limits(), limits)).await?;
    let asked = json!({
        "name": "the one with a large payload", "url": sink.url(0), "event_types": ["bench.large"],
    });
    let endpoint = engine.endpoint(&tenant, asked).await?;
    let (client, connection) = tokio_postgres::connect(database, NoTls).await.context("connect to PostgreSQL")?;
    let driving = tokio::task::spawn_local(connection);
    fill(&client, &tenant, attempts).await?;
    let (event, delivery) = publish(engine, &tenant, &client).await?;
    drop(client);
    driving.await?.context("the connection to PostgreSQL")?;

    let of_tenant = |path: &str| format!("/dashboard/{}{path}", tenant.id);
    let pages = [
        ("webhooks", of_tenant("/webhooks")),
        ("a webhook", of_tenant(&format!("/webhooks/{endpoint}"))),
        ("edit a webhook", of_tenant(&format!("/webhooks/{endpoint}/edit"))),
        ("deliveries", of_tenant("/deliveries")),
        ("deliveries that failed", of_tenant("/deliveries?status=failed")),
        ("deliveries with 5xx", of_tenant("/deliveries?status_code=5xx")),
        ("deliveries of a webhook", of_tenant(&format!("/deliveries?endpoint_id={endpoint}"))),
        ("a delivery, 256 KiB payload", of_tenant(&format!("/deliveries/{delivery}"))),
        ("events", of_tenant("/events")),
        ("an event, 256 KiB payload, 1,001 webhooks", of_tenant(&format!("/events/{event}"))),
        ("event types", of_tenant("/event-types")),
        ("replays", of_tenant("/replays")),
        ("health", of_tenant("/health")),
        ("health, 7 days", of_tenant("/health?range=7d")),
        ("health, 30 days", of_tenant("/health?range=30d")),
        ("audit log", of_tenant("/audit-log")),
        ("search for a webhook", of_tenant("/find?q=endpoint%2050")),
        ("operator: tenants", "/dashboard/operator/tenants".to_owned()),
        ("operator: dead letters", "/dashboard/operator/dead-letters".to_owned()),
        ("operator: system", "/dashboard/operator/system".to_owned()),
    ];
    say(&format!("\n== the dashboard with {attempts} attempts, {ENDPOINTS} endpoints, {EVENT_TYPES} event types =="));
    say(&format!("{:<44}{:>10}{:>12}{:>12}", "page", "KB", "median ms", "longest ms"));
    let mut rows = Vec::new();
    for (name, path) in pages {
        let row = page(engine, name, &path).await?;
        say(&format!("{name:<44}{:>10.1}{:>12.1}{:>12.1}", row.kilobytes, row.time.p50_ms, row.time.max_ms));
        rows.push(row);
    }
    Ok(rows)
}

/// Requests a page several times on one connection.
async fn page(engine: &Engine, name: &'static str, path: &str) -> anyhow::Result<PageRow> {
    let address = engine.api_address();
    let mut connection = Connection::open(address).await?;
    let cookie = format!("cookie: postrider_session={SESSION}\r\n");
    let (mut times, mut bytes) = (Vec::with_capacity(REQUESTS), 0);
    for _ in 0..REQUESTS {
        let started = Instant::now();
        let answer = connection.send(&request("GET", path, address, &cookie, b"")).await?;
        times.push(started.elapsed().as_nanos() as u64);
        let text = || String::from_utf8_lossy(answer.body).chars().take(300).collect::<String>();
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, text());
        bytes = answer.body.len();
    }
    Ok(PageRow { name, kilobytes: bytes as f64 / 1_000.0, time: Latency::of(&mut times[1..]) })
}

/// Publishes the event with the large payload and waits until its delivery is recorded. Returns the ids of both.
async fn publish(engine: &Engine, tenant: &Tenant, client: &Client) -> anyhow::Result<(String, String)> {
    let text = "0123456789abcdef".repeat((PAYLOAD_BYTES - 1_000) / 16);
    let event = json!({ "type": "bench.large", "data": { "text": text } });
    let accepted = crate::http::call(engine.ingest(), &tenant.key, "POST", "/v1/publish", &event).await?;
    let id = accepted["id"].as_str().context("the id of an accepted event")?;
    let sql = "SELECT 'dlv_' || replace(id::text, '-', '') FROM deliveries WHERE event_id = $1 AND status = 4";
    let started = Instant::now();
    loop {
        if let Some(row) = client.query_opt(sql, &[&id]).await? {
            return Ok((id.to_owned(), row.get(0)));
        }
        ensure!(
            started.elapsed() < RECORDED_WITHIN,
            "the delivery of {id} was not recorded within {RECORDED_WITHIN:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Inserts endpoints, event types, events, decisions, deliveries and attempts, a tenth of which failed, and a session of the operator.
async fn fill(client: &Client, tenant: &Tenant, attempts: u64) -> anyhow::Result<()> {
    let owner = format!("substr('{}', length('ten_') + 1)::uuid", tenant.id);
    let url = format!("http://127.0.0.1:9/{}", "x".repeat(URL_CHARS - 20));
    let at = "greatest(date_trunc('day', now(), 'UTC'), now() - n * interval '500 microseconds')";
    let sql = format!(
        "UPDATE config_version SET version = version + 1;
         INSERT INTO endpoints (id, tenant, document, status, secret_current, private, version, created_at, updated_at)
         SELECT md5('endpoint ' || n)::uuid, {owner}, json_build_object('name', 'endpoint ' || n,
             'url', CASE WHEN n % 20 = 0 THEN '{url}' ELSE 'https://hooks.example.com/endpoint/' || n END,
             'event_types', json_build_array('bench.t' || n % {EVENT_TYPES})), 0, '', '', version, now(), now()
         FROM generate_series(1, {ENDPOINTS}) n, config_version;
         INSERT INTO event_types (tenant, name, description, sample, version, created_at, updated_at)
         SELECT {owner}, 'bench.t' || n, 'An event of type ' || n, '{{\"n\": 1}}', version, now(), now()
         FROM generate_series(1, {EVENT_TYPES}) n, config_version;
         INSERT INTO events (accepted_at, occurred_at, instance, sequence, tenant, event_day, origin, lane, id, type, data)
         SELECT {at}, {at}, 1, n, {owner}, current_date, 0, 0, 'bench-' || n, 'bench.t' || n % {EVENT_TYPES}, '{{\"n\": 1}}'
         FROM generate_series(1, {attempts} / 10) n;
         INSERT INTO deliveries (id, tenant, endpoint, created_at, accepted_at, expires_at, reported_at, standing, delivery_day,
             event_day, epoch, status, number, status_code, outcome, event_id, type)
         SELECT md5('delivery ' || n)::uuid, {owner}, md5('endpoint ' || 1 + n % {ENDPOINTS})::uuid, {at}, {at}, now(), now(), 0,
             current_date, current_date, 0, CASE WHEN n % 10 = 0 THEN 1 ELSE 4 END, 1,
             CASE WHEN n % 10 = 0 THEN 503 ELSE 200 END, CASE WHEN n % 10 = 0 THEN 1 ELSE 0 END,
             'bench-' || 1 + n / 10, 'bench.t' || n % {EVENT_TYPES}
         FROM generate_series(1, {attempts}) n;
         INSERT INTO attempts (delivery_id, send_id, endpoint, started_at, duration_us, held_ms, delivery_day, number, trigger,
             outcome, status_code, url, request_headers)
         SELECT md5('delivery ' || n)::uuid, md5('send ' || n)::uuid, md5('endpoint ' || 1 + n % {ENDPOINTS})::uuid, {at}, 5000, 0,
             current_date, 1, 0, CASE WHEN n % 10 = 0 THEN 1 ELSE 0 END, CASE WHEN n % 10 = 0 THEN 503 ELSE 200 END,
             'http://127.0.0.1:9/hook', '[]'
         FROM generate_series(1, {attempts}) n;
         INSERT INTO endpoint_hours (endpoint, hour, successes, failures, retries, duration_us, first_attempts, first_within_5s,
             first_within_30s)
         SELECT md5('endpoint ' || n)::uuid, date_trunc('hour', now()) - h * interval '1 hour', 9, 2, 0, 50000, 10, 10, 10
         FROM generate_series(1, {ENDPOINTS}) n, generate_series(0, {HOURS} - 1) h;
         INSERT INTO endpoint_failures (endpoint, hour, outcome, status_code, attempts, first_at, last_at)
         SELECT md5('endpoint ' || n)::uuid, hour, 1, 500 + c, 1, hour, hour
         FROM generate_series(1, {ENDPOINTS}) n, generate_series(0, {HOURS} - 1) h, generate_series(0, 1) c,
             LATERAL (SELECT date_trunc('hour', now()) - h * interval '1 hour' AS hour) at;
         {}
         INSERT INTO dashboard_sessions (token_hash, key_hash, created_at, expires_at)
         VALUES (sha256('{SESSION}'), sha256('{OPERATOR_KEY}'), now(), now() + interval '2 hours');",
        replace_rollups()
    );
    client.batch_execute(&sql).await.with_context(|| format!("write {attempts} attempts"))?;
    client.batch_execute("VACUUM ANALYZE").await.context("VACUUM ANALYZE")
}

/// An object with the members of both.
fn merged(mut one: serde_json::Value, other: serde_json::Value) -> serde_json::Value {
    if let (Some(into), serde_json::Value::Object(from)) = (one.as_object_mut(), other) {
        into.extend(from);
    }
    one
}
