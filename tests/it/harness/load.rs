//! A cluster under load, and the ledger that shows the effects of a fault.
//!
//! Events are published over HTTP to a cluster of separate processes with two dispatchers. Every batch without a 202 is repeated
//! with the same ids. One endpoint gets every event, another every second one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postrider_testkit::engines::Scope;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::{Cluster, FaultLine, Ledger, Urls};

/// Timeout of waits after the fault.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
const BATCH: usize = 50;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Maximum deliveries that a process repeats after a crash, as documented in ARCHITECTURE.md.
const DUPLICATES_MAX: usize = 8_192;
/// Held by the running scenario, because each scenario is seven processes under full load.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The number of events and their rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Events, in batches of 50.
    pub(crate) events: usize,
    /// The pause between batches; zero: four batches at a time without a pause.
    pub(crate) pause: Duration,
}

impl Load {
    /// 10,000 events without a pause.
    pub(crate) const FULL: Self = Self { events: 10_000, pause: Duration::ZERO };

    /// Number of deliveries: one endpoint gets all events, another every second one.
    pub(crate) fn deliveries(self) -> usize {
        self.events + self.events / 2
    }
}

/// When each event was accepted.
type Accepted = Arc<Mutex<HashMap<String, Instant>>>;

/// A cluster under load.
pub(crate) struct Run {
    pub(crate) cluster: Cluster,
    pub(crate) ledger: Ledger,
    pub(crate) database: Client,
    load: Load,
    urls: Urls,
    accepted: Accepted,
    publishing: tokio::task::JoinHandle<usize>,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

/// Which of the accepted events must be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Every event.
    Everything,
    /// Every event on record, because the broker's disk was lost. The others are only counted.
    Recorded,
}

/// Publishes, calls `act` while deliveries are outstanding, and checks that nothing is missing.
pub(crate) async fn survive(fault: &str, act: impl AsyncFnOnce(&mut Run)) {
    let scope = Scope::new(fault).await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let mut run = Run::start(urls, Load::FULL).await;
    run.until_outstanding().await;
    act(&mut run).await;
    run.check(fault, Expected::Everything).await;
}

impl Run {
    /// Starts a cluster and publishing.
    pub(crate) async fn start(urls: Urls, load: Load) -> Self {
        Self::start_with(urls, load, Vec::new()).await
    }

    /// The same with additional environment variables for every process.
    pub(crate) async fn start_with(urls: Urls, load: Load, settings: Vec<(&'static str, String)>) -> Self {
        Self::start_beside(urls.clone(), urls, load, settings).await
    }

    /// Like `start_with`, but the test itself reaches the engines at `direct`.
    pub(crate) async fn start_beside(
        urls: Urls,
        direct: Urls,
        load: Load,
        settings: Vec<(&'static str, String)>,
    ) -> Self {
        let alone = ALONE.lock().await;
        let cluster = Cluster::start_with(urls, settings).await;
        let database = connect(&direct.database).await;
        let ledger = Ledger::start(Duration::from_millis(10)).await;
        let publisher = cluster
            .tenant(&[(&ledger.url("every"), json!({})), (&ledger.url("second"), json!({"bridge": ["second"]}))])
            .await;
        let url = format!("{}/v1/publish/batch", cluster.base("ingest"));
        // The endpoints are in force once a probe event has reached both.
        wait_until_in_force(&url, &publisher.key, &ledger).await;
        let accepted = Accepted::default();
        let publishing = tokio::spawn(publish_all(url, publisher.key, load, Arc::clone(&accepted)));
        Self { cluster, ledger, database, load, urls: direct, accepted, publishing, _alone: alone }
    }

    /// Waits until a part of the deliveries has arrived, and asserts that others are outstanding.
    pub(crate) async fn until_outstanding(&mut self) {
        let deliveries = self.load.deliveries();
        let so_far = self.ledger.posts();
        self.ledger.wait_for_posts(so_far + deliveries / 5, PATIENCE).await;
        let delivered = self.ledger.posts();
        assert!(delivered < deliveries, "everything was delivered before the fault");
    }

    /// Connects to the database again, after a fault that cut the connection.
    pub(crate) async fn reconnect(&mut self) {
        self.database = connect(&self.urls.database).await;
    }

    /// Waits until everything expected has arrived and is on record, runs `postrider audit`, and adds a line to the table.
    pub(crate) async fn check(mut self, fault: &str, expected: Expected) {
        let ended = Instant::now();
        (&mut self.publishing).await.expect("published");
        let events = self.expected_events(expected).await;
        self.ledger_is_complete(&events).await;
        let deliveries: usize = events.iter().map(|n| expected_endpoints(*n).len()).sum();
        let attempts = self.recorded(deliveries).await;
        // After the loss of a broker's disk more events may be on record by now.
        let events = self.expected_events(expected).await;
        self.ledger_is_complete(&events).await;
        let accepted = self.accepted.lock().expect("no panic inside").clone();
        let mut line = FaultLine {
            fault: fault.into(),
            accepted: accepted.len(),
            unrecorded: self.load.events - events.len(),
            ..FaultLine::default()
        };
        let mut last = ended;
        for ((endpoint, event), got) in self.ledger.entries() {
            let Some(accepted_at) = accepted.get(&event) else { continue };
            assert_eq!(got.deliveries.len(), 1, "{endpoint} got {event} under {:?}", got.deliveries);
            line.delivered += 1;
            line.duplicates += got.posts - 1;
            let first = got.first_at.expect("it came");
            line.worst_delay = line.worst_delay.max(first.saturating_duration_since(*accepted_at));
            last = last.max(first);
        }
        line.recovered_after = last - ended;
        if expected == Expected::Everything {
            assert!(line.duplicates <= DUPLICATES_MAX, "{line:?}: the documented bound is {DUPLICATES_MAX}");
        }
        assert!(attempts >= deliveries, "{attempts} attempts on record of {deliveries} deliveries");
        line.audit = self.audited(expected).await;
        line.emit();
    }

    /// Runs `postrider audit`. Checks that nothing is missing except events that the broker lost before they were recorded.
    async fn audited(&self, expected: Expected) -> String {
        let report = self.cluster.audit(&self.urls.database).await;
        for day in report["tenants"].as_array().expect("tenants") {
            println!("  {day}");
        }
        if report["conserved"] == json!(true) {
            return "conserved".into();
        }
        assert_eq!(expected, Expected::Recorded, "{report:#}");
        let unrecorded = |gap: &Value| matches!(gap["missing"].as_str(), Some("numbers" | "event"));
        assert!(report["gaps"].as_array().expect("gaps").iter().all(unrecorded), "{report:#}");
        format!("unrecorded events named: {}", report["gaps_total"])
    }

    /// The events that must arrive.
    async fn expected_events(&self, expected: Expected) -> Vec<usize> {
        if expected == Expected::Everything {
            return (0..self.load.events).collect();
        }
        let rows = self.database.query("SELECT DISTINCT id FROM events WHERE id LIKE 'crash-%'", &[]).await;
        let number = |row: &tokio_postgres::Row| row.get::<_, &str>(0).trim_start_matches("crash-").parse().ok();
        rows.expect("events").iter().filter_map(number).collect()
    }

    /// Waits until these events have reached every subscribed endpoint.
    async fn ledger_is_complete(&self, events: &[usize]) {
        let started = Instant::now();
        loop {
            let entries = self.ledger.entries();
            let missing: Vec<_> = (events.iter())
                .flat_map(|n| expected_endpoints(*n).iter().map(|endpoint| ((*endpoint).to_owned(), event_id(*n))))
                .filter(|key| !entries.contains_key(key))
                .collect();
            if missing.is_empty() {
                return;
            }
            let count = missing.len();
            assert!(
                started.elapsed() < PATIENCE,
                "{count} deliveries are missing after {PATIENCE:?}: {:?}",
                missing[0]
            );
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until every delivery is recorded as delivered (status 4); returns the attempts on record.
    async fn recorded(&self, deliveries: usize) -> usize {
        let started = Instant::now();
        loop {
            let delivered =
                self.count("SELECT count(*) FROM deliveries WHERE event_id LIKE 'crash-%' AND status = 4").await;
            // After the loss of a broker's disk, more deliveries may have arrived than were on record before.
            if delivered >= deliveries {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "{delivered} of {deliveries} deliveries are recorded as delivered");
            sleep(LOOK_EVERY).await;
        }
        let attempts = "SELECT count(*) FROM attempts a JOIN deliveries d ON d.id = a.delivery_id \
                        AND d.delivery_day = a.delivery_day WHERE d.event_id LIKE 'crash-%'";
        self.count(attempts).await
    }

    /// Queries one number from the database.
    pub(crate) async fn count(&self, sql: &str) -> usize {
        let row = self.database.query_one(sql, &[]).await.expect("a count");
        usize::try_from(row.get::<_, i64>(0)).expect("not negative")
    }
}

async fn connect(url: &str) -> Client {
    let (database, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the database");
    tokio::spawn(connection);
    database
}

fn event_id(n: usize) -> String {
    format!("crash-{n}")
}

fn expected_endpoints(n: usize) -> &'static [&'static str] {
    if n.is_multiple_of(2) { &["every", "second"] } else { &["every"] }
}

fn event(id: String, second: bool) -> Value {
    let bridge = if second { "second" } else { "other" };
    json!({"type": "crash.test", "id": id, "data": {"n": 1}, "attributes": {"bridge": bridge}})
}

async fn wait_until_in_force(url: &str, key: &str, ledger: &Ledger) {
    let client = reqwest::Client::new();
    let started = Instant::now();
    let mut probe = 0;
    loop {
        let body = json!({"events": [event(format!("probe-{probe}"), true)]});
        let request = client.post(url).bearer_auth(key).header("content-type", "application/json");
        let accepted = request.body(body.to_string()).send().await.is_ok_and(|answer| answer.status() == 202);
        let endpoints: std::collections::HashSet<_> =
            ledger.entries().into_keys().map(|(endpoint, _)| endpoint).collect();
        if endpoints.len() == 2 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "the endpoints are not in force, accepted: {accepted}");
        probe += 1;
        sleep(LOOK_EVERY).await;
    }
}

/// Publishes every event, four batches at a time or one after the other, and repeats each batch until it is accepted. Returns the
/// number of repeats.
async fn publish_all(url: String, key: String, load: Load, at: Accepted) -> usize {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
    let publish = |from: usize| {
        let (client, url, key, at) = (client.clone(), url.clone(), key.clone(), Arc::clone(&at));
        async move {
            let numbers = from..(from + BATCH).min(load.events);
            let events: Vec<_> = numbers.clone().map(|n| event(event_id(n), n.is_multiple_of(2))).collect();
            let body = json!({"events": events}).to_string();
            let mut repeats = 0;
            while !accepted(&client, &url, &key, &body).await {
                repeats += 1;
                sleep(LOOK_EVERY).await;
            }
            let now = Instant::now();
            at.lock().expect("no panic inside").extend(numbers.map(|n| (event_id(n), now)));
            sleep(load.pause).await;
            repeats
        }
    };
    let batches = futures::stream::iter((0..load.events).step_by(BATCH).map(publish));
    let at_once = if load.pause.is_zero() { 4 } else { 1 };
    let repeats: Vec<usize> = futures::StreamExt::collect(futures::StreamExt::buffer_unordered(batches, at_once)).await;
    repeats.into_iter().sum()
}

/// Whether every event of the batch was accepted.
async fn accepted(client: &reqwest::Client, url: &str, key: &str, body: &str) -> bool {
    let request = client.post(url).bearer_auth(key).header("content-type", "application/json").body(body.to_owned());
    let Ok(answer) = request.send().await else { return false };
    if answer.status() != 202 {
        return false;
    }
    let Ok(text) = answer.text().await else { return false };
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    answer["results"].as_array().is_some_and(|results| results.iter().all(|result| result.get("id").is_some()))
}
