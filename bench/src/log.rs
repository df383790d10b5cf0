//! Reading the log when it is large: how long the API, and every page of the dashboard, take for what people look at.
//!
//! The rows are written straight into the database (30 days, every row of one tenant, which is the hardest case for a
//! list); a real event is published at the end, whose rows are the ones that are read one by one.

mod fill;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;
use tokio_postgres::NoTls;

use crate::engine::{Engine, Tenant};
use crate::report::say;
use crate::workload::{Sink, endpoint};

const DAYS: i64 = 30;
const ENDPOINTS: u16 = 20;
/// Requests of each kind: the first, which finds nothing in memory, counts as any other.
const REPEATS: usize = 30;
/// … and fewer, but three, of those that take longer than this together.
const REPEATS_FOR: Duration = Duration::from_secs(10);
const ON_RECORD_WITHIN: Duration = Duration::from_secs(30);
/// Where the dashboard's pages are.
const PAGES: &str = "/dashboard";
/// What each page of the dashboard is to stay under.
const PAGE_MS: f64 = 100.0;

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
    let bytes = fill::fill(database_url, &tenant, attempts).await?;
    say(&format!(
        "\n== a log of {attempts} attempts ==\nfilled in {:.0} s; the database has {:.1} GiB",
        began.elapsed().as_secs_f64(),
        bytes as f64 / f64::from(1 << 30)
    ));
    let (event, delivery) = real_event(engine, &tenant).await?;
    let replay = engine.replay(&tenant, json!({ "event_id": event })).await?;
    let first = &endpoints[0];
    let cookie = sign_in(engine, database_url).await?;
    let mut reads = Vec::new();
    for target in operations(&tenant, first, &event, &delivery)
        .into_iter()
        .chain(pages(&tenant, first, &event, &delivery, &replay))
    {
        let read = time(engine, &cookie, &target).await?;
        say(&read.text());
        reads.push(read);
    }
    let pages = || reads.iter().filter(|read| read.is_page());
    let slow = pages().filter(|read| read.median_ms >= PAGE_MS).count();
    say(&format!("{slow} of {} pages took {PAGE_MS} ms or longer", pages().count()));
    Ok(reads)
}

/// What the API is asked for the tenant, and for all tenants together.
fn operations(tenant: &Tenant, endpoint: &str, event: &str, delivery: &str) -> Vec<String> {
    let ever = "from=2000-01-01T00:00:00Z";
    let of_tenant = [
        "/v1/endpoints".to_owned(),
        format!("/v1/endpoints/{endpoint}"),
        "/v1/deliveries".to_owned(),
        format!("/v1/deliveries?endpoint_id={endpoint}"),
        format!("/v1/deliveries?event_id={event}"),
        "/v1/deliveries?status=failed".to_owned(),
        "/v1/deliveries?status_code=418".to_owned(),
        "/v1/deliveries?type=bench.never".to_owned(),
        format!("/v1/deliveries?endpoint_id={endpoint}&status=failed&{ever}"),
        format!("/v1/deliveries/{delivery}"),
        "/v1/events".to_owned(),
        "/v1/events?type=bench.never".to_owned(),
        "/v1/events?attributes.sending_domain=d7.example.com".to_owned(),
        format!("/v1/events/{event}"),
        format!("/v1/events/{event}/explain"),
        "/v1/stats".to_owned(),
        "/v1/stats?by=minute".to_owned(),
        format!("/v1/endpoints/{endpoint}/stats"),
        "/v1/attributes/sending_domain".to_owned(),
    ];
    let of_all = [
        "/v1/deliveries",
        "/v1/deliveries?status=failed",
        "/v1/deliveries?type=bench.never",
        "/v1/events",
        "/v1/events?type=bench.never",
        "/v1/dead-letters",
    ];
    let named = |target: &String| {
        let joint = if target.contains('?') { '&' } else { '?' };
        format!("{target}{joint}tenant={}", tenant.id)
    };
    of_tenant.iter().map(named).chain(of_all.map(str::to_owned)).collect()
}

/// The pages of the dashboard: every one, and those that look for something with what is hard to find.
fn pages(tenant: &Tenant, endpoint: &str, event: &str, delivery: &str, replay: &str) -> Vec<String> {
    let of_tenant = [
        "/webhooks".to_owned(),
        "/webhooks/new".to_owned(),
        format!("/webhooks/{endpoint}"),
        format!("/webhooks/{endpoint}/edit"),
        format!("/webhooks/{endpoint}/test"),
        format!("/webhooks/{endpoint}/rotate"),
        format!("/webhooks/{endpoint}/delete"),
        "/deliveries".to_owned(),
        format!("/deliveries?endpoint_id={endpoint}"),
        format!("/deliveries?endpoint_id={endpoint}&status=failed"),
        "/deliveries?status_code=418".to_owned(),
        "/deliveries?type=bench.never".to_owned(),
        format!("/deliveries/{delivery}"),
        "/events".to_owned(),
        "/events?type=bench.never".to_owned(),
        "/events?attributes.sending_domain=d7.example.com".to_owned(),
        format!("/events/{event}"),
        "/replays".to_owned(),
        format!("/replays/{replay}"),
        "/replays/new".to_owned(),
        format!("/replays/new?event_id={event}"),
        "/health".to_owned(),
        "/health?range=1h".to_owned(),
        "/health?range=7d".to_owned(),
        "/health?range=30d".to_owned(),
        format!("/health?range=30d&endpoint_id={endpoint}"),
    ];
    let of_operator = [
        "tenants".to_owned(),
        format!("tenants/{}", tenant.id),
        "dead-letters".to_owned(),
        "profiles".to_owned(),
        "system".to_owned(),
    ];
    let of_tenant = of_tenant.into_iter().map(|page| format!("{PAGES}/{}{page}", tenant.id));
    of_tenant.chain(of_operator.map(|page| format!("{PAGES}/operator/{page}"))).collect()
}

impl Read {
    fn is_page(&self) -> bool {
        self.target.starts_with(PAGES)
    }

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

async fn time(engine: &Engine, cookie: &str, target: &str) -> anyhow::Result<Read> {
    let (mut took, mut members) = (Vec::with_capacity(REPEATS), None);
    let all_began = Instant::now();
    while took.len() < REPEATS && (took.len() < 3 || all_began.elapsed() < REPEATS_FOR) {
        let began = Instant::now();
        let answer = if target.starts_with(PAGES) {
            engine.page(cookie, target).await?;
            None
        } else {
            Some(engine.get(target).await?)
        };
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        members = answer.as_ref().and_then(|answer| answer["data"].as_array()).map(Vec::len);
    }
    took.sort_by(f64::total_cmp);
    let slowest_ms = took.last().copied().unwrap_or_default();
    Ok(Read { target: target.to_owned(), members, median_ms: took[took.len() / 2], slowest_ms })
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
