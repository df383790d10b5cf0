//! Days older than the retention are dropped, and their events and deliveries are no longer found.

use std::time::{Duration, Instant};

use postrider_testkit::engines::Scope;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{Cluster, InForce, Receiver, Urls};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Creates the partition of 31 days ago and moves an event with its decision, deliveries and attempts there.
const AGED: &str = "
    DO $$
    DECLARE parent text; child text; old date := (now() AT TIME ZONE 'UTC')::date - 31;
    BEGIN
        FOREACH parent IN ARRAY ARRAY['events', 'decisions', 'deliveries', 'attempts'] LOOP
            child := parent || to_char(old, '_YYYYMMDD');
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, child, old, old + 1);
        END LOOP;
    END $$;
    UPDATE events SET event_day = event_day - 31, accepted_at = accepted_at - interval '31 days' WHERE id = 'old';
    UPDATE decisions SET event_day = event_day - 31 WHERE event_id = 'old';
    UPDATE attempts a SET delivery_day = a.delivery_day - 31 FROM deliveries d WHERE d.id = a.delivery_id AND d.event_id = 'old';
    UPDATE deliveries SET event_day = event_day - 31, delivery_day = delivery_day - 31,
        created_at = created_at - interval '31 days', accepted_at = accepted_at - interval '31 days' WHERE event_id = 'old';
";

/// The API of a cluster, asked by a tenant.
struct Api {
    base: String,
    key: String,
    client: reqwest::Client,
}

impl Api {
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let request = self.client.request(method, self.base.clone() + path).bearer_auth(&self.key);
        let answer = request.json(&body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, Value::Null).await
    }

    /// The only delivery of an event, once it was delivered.
    async fn delivered(&self, event: &str) -> String {
        let (path, started) = (format!("/v1/deliveries?event_id={event}&status=delivered"), Instant::now());
        loop {
            let (_, page) = self.get(&path).await;
            if let Some(id) = page["data"][0]["id"].as_str() {
                return id.to_owned();
            }
            assert!(started.elapsed() < PATIENCE, "{event} is not delivered: {page:#}");
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Guarantee (Faults and isolation): Days beyond the retention are dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_beyond_the_retention_goes_and_the_api_says_that_there_is_nothing() {
    let scope = Scope::new("retention").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let mut cluster = Cluster::start_with(urls, vec![("POSTRIDER_RETENTION_DAYS", "30".into())]).await;
    let receiver = Receiver::start().await;
    let publisher = cluster.tenant(&[(&receiver.url("/"), json!({}))]).await;
    let client = reqwest::Client::new();
    InForce::new(&scope, client.clone(), &cluster.base("ingest"), &cluster.base("fanout")).await.wait().await;
    let api = Api { base: cluster.base("api"), key: publisher.key.clone(), client };
    for event in ["old", "new"] {
        let event = json!({"id": event, "type": "a.b", "data": {"n": 1}});
        cluster.post_when_known("ingest", "/v1/publish", &publisher.key, &event).await;
    }
    let (old, new) = (api.delivered("old").await, api.delivered("new").await);

    let (database, connection) =
        tokio_postgres::connect(&scope.database_url, tokio_postgres::NoTls).await.expect("the database");
    tokio::spawn(connection);
    database.batch_execute(AGED).await.expect("aged");
    let partitions = async || {
        let sql =
            "SELECT count(*) FROM pg_class WHERE relname ~ to_char((now() AT TIME ZONE 'UTC')::date - 31, '_YYYYMMDD$')
                       AND relkind = 'r'";
        database.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0)
    };
    // The old event can be read as long as its day's partitions exist.
    let month = "from=2020-01-01T00:00:00Z&to=2099-01-01T00:00:00Z";
    assert_eq!(partitions().await, 4);
    assert_eq!(api.get("/v1/events/old").await.0, 200);
    let (status, delivery) = api.get(&format!("/v1/deliveries/{old}")).await;
    assert_eq!((status, delivery["attempts"].as_array().map(Vec::len)), (200, Some(1)), "{delivery:#}");
    assert_eq!(listed(&api, &format!("/v1/events?{month}")).await, ["new", "old"]);

    // A recorder drops old days after its start and every hour. Its start does not wait for that.
    cluster.terminate("recorder").await;
    cluster.restart("recorder").await;
    let started = Instant::now();
    while partitions().await > 0 {
        assert!(started.elapsed() < PATIENCE, "the day is not gone from every table");
        sleep(LOOK_EVERY).await;
    }
    for (method, path) in [
        ("GET", "/v1/events/old"),
        ("GET", "/v1/events/old/explain"),
        ("GET", &format!("/v1/deliveries/{old}")),
        ("POST", &format!("/v1/deliveries/{old}/retry")),
        ("POST", &format!("/v1/deliveries/{old}/cancel")),
        ("DELETE", "/v1/events/old/payload"),
    ] {
        let (status, problem) = api.ask(method, path, json!({})).await;
        assert_eq!(status, 404, "{method} {path}: {problem:#}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.starts_with("no such ")), "{path}: {problem:#}");
    }
    assert_eq!(listed(&api, &format!("/v1/events?{month}")).await, ["new"]);
    assert_eq!(listed(&api, &format!("/v1/deliveries?{month}")).await, [new.as_str()]);
    assert!(listed(&api, "/v1/deliveries?event_id=old").await.is_empty());
    let range = json!({"from": "2020-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z", "dry_run": true});
    let (status, planned) = api.ask("POST", "/v1/replays", range).await;
    assert!(status < 500, "{planned:#}");
}

/// The ids of a list's members.
async fn listed(api: &Api, path: &str) -> Vec<String> {
    let (status, page) = api.get(path).await;
    assert_eq!(status, 200, "{path}: {page:#}");
    let ids = page["data"].as_array().expect("a list").iter().map(|row| row["id"].as_str().expect("an id").to_owned());
    ids.collect()
}
