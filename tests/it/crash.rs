//! `kill -9`, of any process, while deliveries are outstanding: nothing accepted is lost, nothing is recorded twice, and
//! what is sent twice can be recognised.
//!
//! Each scenario publishes 10,000 events by HTTP to a cluster of separate processes with two dispatchers, and repeats
//! under the same id whatever was not answered with 202. One endpoint takes every event, another every second one.

use std::time::{Duration, Instant};

use postrider_testkit::engines::{PrivateRabbit, Scope};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::harness::{Cluster, Ledger, Urls};

const EVENTS: usize = 10_000;
const BATCH: usize = 50;
/// The endpoint `every` gets all, the endpoint `second` every second one.
const DELIVERIES: usize = EVENTS + EVENTS / 2;
/// What a killed process had in hand and its successor does again: the bound that ARCHITECTURE.md documents.
const DUPLICATES_MAX: usize = 8_192;
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// One scenario at a time: each is seven processes under full load.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_fanout_loses_nothing() {
    survive("fanout", async |cluster, _| {
        cluster.kill9("fanout").await;
        cluster.restart("fanout").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_dispatcher_in_the_middle_of_posts_loses_nothing() {
    survive("dispatcher", async |cluster, ledger| {
        assert!(ledger.unanswered() > 0, "no POST is under way at the kill");
        cluster.kill9("dispatcher").await;
        cluster.restart("dispatcher").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_recorder_loses_nothing() {
    survive("recorder", async |cluster, _| {
        cluster.kill9("recorder").await;
        cluster.restart("recorder").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_ingest_loses_nothing_that_was_accepted() {
    survive("ingest", async |cluster, _| {
        cluster.kill9("ingest").await;
        cluster.restart("ingest").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_rabbitmq_loses_nothing() {
    let _alone = ALONE.lock().await;
    let mut rabbit = PrivateRabbit::start().await.expect("RabbitMQ starts");
    let scope = Scope::new("crash-rabbitmq").await;
    let urls = Urls { amqp: rabbit.amqp_url(), database: scope.database_url.clone() };
    let mut run = Run::start(urls).await;
    run.until_outstanding().await;
    rabbit.kill9();
    rabbit.restart().await.expect("RabbitMQ starts again");
    run.check("rabbitmq").await;
}

/// Publishes, calls `fault` while deliveries are outstanding, and checks that nothing is missing.
async fn survive(victim: &'static str, fault: impl AsyncFnOnce(&mut Cluster, &Ledger)) {
    let _alone = ALONE.lock().await;
    let scope = Scope::new(&format!("crash-{victim}")).await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let mut run = Run::start(urls).await;
    run.until_outstanding().await;
    fault(&mut run.cluster, &run.ledger).await;
    run.check(victim).await;
}

/// A cluster under load.
struct Run {
    cluster: Cluster,
    ledger: Ledger,
    database: Client,
    publishing: tokio::task::JoinHandle<usize>,
}

impl Run {
    async fn start(urls: Urls) -> Self {
        let (database, connection) =
            tokio_postgres::connect(&urls.database, tokio_postgres::NoTls).await.expect("the database");
        tokio::spawn(connection);
        let cluster = Cluster::start(urls).await;
        let ledger = Ledger::start(Duration::from_millis(10)).await;
        let publisher = cluster
            .tenant(&[(&ledger.url("every"), json!({})), (&ledger.url("second"), json!({"bridge": ["second"]}))])
            .await;
        let url = format!("{}/v1/publish/batch", cluster.base("ingest"));
        // The endpoints are in force once an event that is not counted has reached both.
        wait_until_in_force(&url, &publisher.key, &ledger).await;
        let publishing = tokio::spawn(publish_all(url, publisher.key));
        Self { cluster, ledger, database, publishing }
    }

    /// Waits until a part of the deliveries has arrived, and asserts that others are still to come.
    async fn until_outstanding(&mut self) {
        let so_far = self.ledger.posts();
        self.ledger.wait_for_posts(so_far + DELIVERIES / 5, PATIENCE).await;
        let delivered = self.ledger.posts();
        assert!(delivered < DELIVERIES, "everything was delivered before the fault");
    }

    async fn check(mut self, victim: &str) {
        let recovered = Instant::now();
        let repeated = (&mut self.publishing).await.expect("published");
        self.ledger_is_complete().await;
        let complete_after = recovered.elapsed();
        let entries = self.ledger.entries();
        let (mut duplicates, mut posts) = (0, 0);
        for ((endpoint, event), got) in entries.iter().filter(|((_, event), _)| event.starts_with("crash-")) {
            assert_eq!(got.deliveries.len(), 1, "{endpoint} got {event} under {:?}", got.deliveries);
            posts += got.posts;
            duplicates += got.posts - 1;
        }
        let (delivered, attempts) = self.recorded().await;
        println!(
            "killed {victim}: {EVENTS} accepted, {delivered} of {DELIVERIES} deliveries, lost 0, {duplicates} \
             duplicates, {attempts} attempts on record, {repeated} batches repeated, complete {complete_after:.1?} after"
        );
        assert!(duplicates <= DUPLICATES_MAX, "{duplicates} duplicates, the documented bound is {DUPLICATES_MAX}");
        assert!(attempts >= DELIVERIES, "{attempts} attempts on record of {DELIVERIES} deliveries");
        assert!(attempts <= posts, "{attempts} attempts on record, but only {posts} POSTs were made");
    }

    /// Waits until every event has reached every endpoint that wants it.
    async fn ledger_is_complete(&self) {
        let begun = Instant::now();
        loop {
            let entries = self.ledger.entries();
            let missing = (0..EVENTS)
                .flat_map(|n| expected_endpoints(n).iter().map(move |endpoint| ((*endpoint).to_owned(), event_id(n))))
                .filter(|key| !entries.contains_key(key))
                .count();
            if missing == 0 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{missing} of {DELIVERIES} deliveries are missing after {PATIENCE:?}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until every delivery is recorded as delivered (status 4); returns deliveries and attempts.
    async fn recorded(&self) -> (usize, usize) {
        let begun = Instant::now();
        loop {
            let delivered =
                self.count("SELECT count(*) FROM deliveries WHERE event_id LIKE 'crash-%' AND status = 4").await;
            if delivered == DELIVERIES {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{delivered} of {DELIVERIES} deliveries are recorded as delivered");
            sleep(LOOK_EVERY).await;
        }
        let rows = self.count("SELECT count(*) FROM deliveries WHERE event_id LIKE 'crash-%'").await;
        assert_eq!(rows, DELIVERIES, "rows of deliveries");
        let attempts = "SELECT count(*) FROM attempts a JOIN deliveries d ON d.id = a.delivery_id \
                        AND d.delivery_day = a.delivery_day WHERE d.event_id LIKE 'crash-%'";
        (rows, self.count(attempts).await)
    }

    async fn count(&self, sql: &str) -> usize {
        let row = self.database.query_one(sql, &[]).await.expect("a count");
        usize::try_from(row.get::<_, i64>(0)).expect("not negative")
    }
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
    let begun = Instant::now();
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
        assert!(begun.elapsed() < PATIENCE, "the endpoints are not in force, accepted: {accepted}");
        probe += 1;
        sleep(LOOK_EVERY).await;
    }
}

/// Publishes every event, four batches at a time; repeats until each is accepted. Returns how many batches were repeated.
async fn publish_all(url: String, key: String) -> usize {
    let client = reqwest::Client::new();
    let publish = |from: usize| {
        let (client, url, key) = (client.clone(), url.clone(), key.clone());
        async move {
            let events: Vec<_> = (from..from + BATCH).map(|n| event(event_id(n), n.is_multiple_of(2))).collect();
            let body = json!({"events": events}).to_string();
            let mut repeats = 0;
            while !accepted(&client, &url, &key, &body).await {
                repeats += 1;
                sleep(LOOK_EVERY).await;
            }
            repeats
        }
    };
    let batches = futures::stream::iter((0..EVENTS).step_by(BATCH).map(publish));
    let repeats: Vec<usize> = futures::StreamExt::collect(futures::StreamExt::buffer_unordered(batches, 4)).await;
    repeats.into_iter().sum()
}

/// Whether every event of the batch was answered as accepted.
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
