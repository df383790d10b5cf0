//! Reading the log when it is large: how long the API, and the pages of the dashboard, take for what people look at.
//!
//! The rows are written straight into the database (30 days, every row of one tenant, which is the hardest case for a
//! list); a real event is published at the end, whose rows are the ones that are read one by one.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;
use tokio_postgres::{Client, NoTls};

use crate::engine::{Engine, Tenant};
use crate::report::say;
use crate::workload::{Sink, endpoint};

const DAYS: i64 = 30;
const ENDPOINTS: u16 = 20;
/// Requests of each kind: the first, which finds nothing in memory, counts as any other.
const REPEATS: usize = 30;
const ON_RECORD_WITHIN: Duration = Duration::from_secs(30);

/// How long one kind of request took.
#[derive(Debug, Serialize)]
pub(crate) struct Read {
    /// What was asked for.
    pub(crate) target: String,
    /// Rows on the page, where it is one.
    pub(crate) members: Option<usize>,
    /// From sending the request to the whole answer, milliseconds.
    pub(crate) median_ms: f64,
    /// The slowest.
    pub(crate) slowest_ms: f64,
}

/// Fills the log with `attempts` attempts and measures.
pub(crate) async fn measure(
    engine: &Engine,
    sink: &Sink,
    database_url: &str,
    attempts: i64,
) -> anyhow::Result<Vec<Read>> {
    let tenant = engine.tenant("a large log").await?;
    let mut endpoints = Vec::new();
    for number in 0..ENDPOINTS {
        endpoints.push(engine.endpoint(&tenant, endpoint(&format!("e{number}"), &sink.url(number), "bench.*")).await?);
    }
    let began = Instant::now();
    let bytes = fill(database_url, &tenant, attempts).await?;
    say(&format!(
        "\n== a log of {attempts} attempts ==\nfilled in {:.0} s; the database has {:.1} GiB",
        began.elapsed().as_secs_f64(),
        bytes as f64 / f64::from(1 << 30)
    ));
    let (event, delivery) = real_event(engine, &tenant).await?;
    let first = &endpoints[0];
    let yesterday = "from=2000-01-01T00:00:00Z";
    let targets = [
        "/v1/endpoints".to_owned(),
        format!("/v1/endpoints/{first}"),
        "/v1/deliveries".to_owned(),
        format!("/v1/deliveries?endpoint_id={first}"),
        format!("/v1/deliveries?event_id={event}"),
        "/v1/deliveries?status=failed".to_owned(),
        "/v1/deliveries?status_code=418".to_owned(),
        "/v1/deliveries?type=bench.never".to_owned(),
        format!("/v1/deliveries?endpoint_id={first}&status=failed&{yesterday}"),
        format!("/v1/deliveries/{delivery}"),
        "/v1/events".to_owned(),
        "/v1/events?type=bench.never".to_owned(),
        "/v1/events?attributes.sending_domain=d7.example.com".to_owned(),
        format!("/v1/events/{event}"),
        format!("/v1/events/{event}/explain"),
        "/v1/stats".to_owned(),
        format!("/v1/endpoints/{first}/stats"),
        "/v1/attributes/sending_domain".to_owned(),
    ];
    let at = |page: &str| format!("/dashboard/{}{page}", tenant.id);
    let pages = [
        at("/webhooks"),
        at(&format!("/webhooks/{first}")),
        at(&format!("/webhooks/{first}/edit")),
        at("/deliveries"),
        at(&format!("/deliveries?endpoint_id={first}&status=failed")),
        at("/deliveries?type=bench.never"),
        at(&format!("/deliveries/{delivery}")),
        at("/events"),
        at("/events?attributes.sending_domain=d7.example.com"),
        at(&format!("/events/{event}")),
        at("/replays"),
        at("/health"),
        "/dashboard/operator/tenants".to_owned(),
        "/dashboard/operator/dead-letters".to_owned(),
        "/dashboard/operator/system".to_owned(),
    ];
    let cookie = sign_in(engine, database_url).await?;
    let mut reads = Vec::new();
    for target in targets.into_iter().chain(pages) {
        let read = time(engine, &tenant, &cookie, &target).await?;
        say(&read.text());
        reads.push(read);
    }
    Ok(reads)
}

impl Read {
    fn text(&self) -> String {
        let members = self.members.map_or_else(String::new, |members| format!("{members} members"));
        format!("{:>9.1} ms median {:>9.1} ms slowest  {:<60} {members}", self.median_ms, self.slowest_ms, self.target)
    }
}

async fn sign_in(engine: &Engine, database_url: &str) -> anyhow::Result<String> {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls).await.context("connect to PostgreSQL")?;
    let driving = tokio::task::spawn_local(connection);
    let cookie = engine.sign_in(&client).await?;
    drop(client);
    driving.await?.context("the connection to PostgreSQL")?;
    Ok(cookie)
}

async fn time(engine: &Engine, tenant: &Tenant, cookie: &str, target: &str) -> anyhow::Result<Read> {
    let (mut took, mut members) = (Vec::with_capacity(REPEATS), None);
    for _ in 0..REPEATS {
        let began = Instant::now();
        let answer = if target.starts_with("/dashboard") {
            engine.page(cookie, target).await?;
            None
        } else {
            Some(engine.read(tenant, target).await?)
        };
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        members = answer.as_ref().and_then(|answer| answer["data"].as_array()).map(Vec::len);
    }
    took.sort_by(f64::total_cmp);
    let slowest_ms = took.last().copied().unwrap_or_default();
    Ok(Read { target: target.to_owned(), members, median_ms: took[REPEATS / 2], slowest_ms })
}

/// Publishes one event and waits until its delivery is on record; their ids.
async fn real_event(engine: &Engine, tenant: &Tenant) -> anyhow::Result<(String, String)> {
    let event = json!({ "type": "bench.event", "data": { "n": 1 } });
    let accepted = crate::http::call(engine.ingest(), &tenant.key, "POST", "/v1/publish", &event).await?;
    let event = accepted["id"].as_str().context("an event's id")?.to_owned();
    let began = Instant::now();
    loop {
        let found = engine.read(tenant, &format!("/v1/deliveries?event_id={event}&status=delivered")).await?;
        if let Some(delivery) = found["data"].get(0).and_then(|delivery| delivery["id"].as_str()) {
            return Ok((event, delivery.to_owned()));
        }
        anyhow::ensure!(began.elapsed() < ON_RECORD_WITHIN, "the event was not delivered within {ON_RECORD_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Thirty days of events for two endpoints each; returns the database's size in bytes.
async fn fill(database_url: &str, tenant: &Tenant, attempts: i64) -> anyhow::Result<i64> {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls).await.context("connect to PostgreSQL")?;
    let driving = tokio::task::spawn_local(connection);
    let owner = "SELECT tenant::text FROM endpoints ORDER BY created_at DESC LIMIT 1";
    let owner: String = client.query_one(owner, &[]).await?.get(0);
    let events = attempts / DAYS / 2;
    for ago in (0..DAYS).rev() {
        let day: String = client
            .query_one("SELECT ((now() AT TIME ZONE 'utc')::date - $1::int)::text", &[&(ago as i32)])
            .await?
            .get(0);
        partitions(&client, &day).await?;
        client
            .batch_execute(&rows(&owner, &day, events))
            .await
            .with_context(|| format!("fill {day} of {}", tenant.id))?;
    }
    client.batch_execute("VACUUM ANALYZE").await?;
    let bytes = client.query_one("SELECT pg_database_size(current_database())", &[]).await?.get(0);
    drop(client);
    driving.await?.context("the connection to PostgreSQL")?;
    Ok(bytes)
}

/// The day's partitions, as the recorder makes them.
async fn partitions(client: &Client, day: &str) -> anyhow::Result<()> {
    for (table, fill) in [("events", 100), ("decisions", 100), ("deliveries", 50), ("attempts", 100)] {
        let partition = format!("{table}_{}", day.replace('-', ""));
        let there: bool = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&partition]).await?.get(0);
        if there {
            continue;
        }
        let make = format!(
            "CREATE TABLE {partition} (LIKE {table} INCLUDING ALL) WITH (fillfactor = {fill});
             ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ('{day}') TO (date '{day}' + 1)"
        );
        client.batch_execute(&make).await.with_context(|| format!("make {partition}"))?;
    }
    Ok(())
}

/// What a day leaves in every table: 3% of the deliveries failed, one in 100,000 with a rare code.
fn rows(tenant: &str, day: &str, events: i64) -> String {
    let at = format!("(timestamptz '{day} 00:00:00+00' + n * interval '1 day' / ({events} + 1))");
    let targets = format!(
        "(SELECT id, row_number() OVER (ORDER BY created_at) - 1 AS number FROM endpoints WHERE tenant = '{tenant}') e"
    );
    let code = "CASE WHEN n % 50000 = 0 THEN 418 WHEN n % 33 = 0 THEN 503 ELSE 200 END";
    format!(
        "INSERT INTO events (accepted_at, occurred_at, instance, sequence, tenant, event_day, origin, lane, id, type,
             attributes, data)
         SELECT {at}, {at}, 1, n, '{tenant}', '{day}', 0, 0, 'evt_{day}_' || n, 'bench.event',
             jsonb_build_object('sending_domain', 'd' || n % 1000 || '.example.com'), convert_to(repeat('x', 200), 'UTF8')
         FROM generate_series(1, {events}) n;
         INSERT INTO decisions (config_version, decided_at, tenant, event_day, event_id, matched)
         SELECT 1, {at}, '{tenant}', '{day}', 'evt_{day}_' || n, '{{}}' FROM generate_series(1, {events}) n;
         INSERT INTO deliveries (id, tenant, endpoint, created_at, accepted_at, expires_at, reported_at, standing,
             first_attempt_at, delivery_day, event_day, epoch, status, number, status_code, event_id, type)
         SELECT md5('{day}' || n || '/' || side)::uuid, '{tenant}', e.id, {at}, {at}, {at}, {at}, 0, {at}, '{day}', '{day}', 0,
             CASE WHEN {code} = 200 THEN 4 ELSE 1 END, 1, {code}, 'evt_{day}_' || n, 'bench.event'
         FROM generate_series(1, {events}) n, (VALUES (0), (7)) sides (side), {targets}
         WHERE e.number = (n + side) % {ENDPOINTS};
         INSERT INTO attempts (delivery_id, send_id, endpoint, started_at, duration_us, held_ms, delivery_day, number,
             trigger, outcome, status_code, url, request_headers)
         SELECT id, id, endpoint, created_at, 20000, 0, delivery_day, 1, 0, CASE status WHEN 4 THEN 0 ELSE 1 END, status_code,
             'https://example.com/hook', '[[\"content-type\",\"application/json\"],[\"webhook-id\",\"' || event_id || '\"]]'
         FROM deliveries WHERE delivery_day = '{day}' AND tenant = '{tenant}';
         INSERT INTO endpoint_minutes (endpoint, minute, successes, failures, retries, duration_us, first_attempts,
             first_within_5s, first_within_30s)
         SELECT e.id, timestamptz '{day} 00:00:00+00' + minute * interval '1 minute', 10, 1, 1, 200000, 10, 9, 10
         FROM generate_series(0, 1439) minute, {targets} ON CONFLICT DO NOTHING;"
    )
}
