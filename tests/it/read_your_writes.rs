//! An edit is in force for the next request, at any process.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;
use postrider_testkit::engines::Scope;
use serde_json::{Value, json};

use crate::harness::{Cluster, OPERATOR_KEY, Receiver, Urls};

/// Number of rounds that create something and use it at once.
const ROUNDS: usize = 1_000;
/// Concurrent rounds.
const AT_ONCE: usize = 8;

/// Two processes of each service, and a tenant.
struct World {
    cluster: Cluster,
    tenant: String,
    client: reqwest::Client,
    _scope: Scope,
}

impl World {
    async fn start(name: &str) -> Self {
        let scope = Scope::new(name).await;
        let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
        let mut cluster = Cluster::start(urls).await;
        cluster.start_second(&["ingest-2", "fanout-2", "api-2"]).await;
        let limits = json!({"endpoints": 10 * ROUNDS, "events_per_second": 100_000});
        let tenant = json!({"name": "first contact", "profile": "standard", "limits": limits});
        let tenant = cluster.post("api", "/v1/tenants", OPERATOR_KEY, &tenant).await;
        let tenant = tenant["id"].as_str().expect("an id").to_owned();
        Self { cluster, tenant, client: reqwest::Client::new(), _scope: scope }
    }

    /// Posts. Returns the status, the header that names lagging processes, the response and its duration.
    async fn post(&self, to: &str, path: &str, key: &str, body: &Value) -> (u16, Option<String>, Value, Duration) {
        let started = Instant::now();
        let request = self.client.post(self.cluster.base(to) + path).bearer_auth(key);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let lagging = answer.headers().get("postrider-lagging").map(|value| value.to_str().expect("text").to_owned());
        let text = answer.text().await.expect("text");
        (status, lagging, serde_json::from_str(&text).expect("JSON"), started.elapsed())
    }
}

/// The process of a service for this round.
fn process(names: [&'static str; 2], round: usize) -> &'static str {
    names[round % 2]
}

fn print_waits(what: &str, mut edits: Vec<Duration>) {
    edits.sort_unstable();
    let at = |share: f64| edits[((edits.len() - 1) as f64 * share) as usize];
    println!("{what}: {} edits answered after p50 {:?}, p99 {:?}, most {:?}", edits.len(), at(0.5), at(0.99), at(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_published_right_after_its_endpoint_was_created_is_delivered() {
    let world = World::start("created-then-published").await;
    let keys = format!("/v1/tenants/{}/keys", world.tenant);
    let key = json!({"name": "publisher", "scopes": ["publish"]});
    let (status, _, key, _) = world.post("api", &keys, OPERATOR_KEY, &key).await;
    assert_eq!(status, 201, "{key:#}");
    let key = key["key"].as_str().expect("a key");
    let receiver = Receiver::start().await;
    let endpoints = format!("/v1/endpoints?tenant={}", world.tenant);

    let round = async |round: usize| {
        let event_type = format!("order.number{round}");
        let url = receiver.url(&format!("/{round}"));
        let endpoint = json!({"name": "hook", "url": url, "event_types": [event_type]});
        let api = process(["api", "api-2"], round);
        let (status, lagging, answer, took) = world.post(api, &endpoints, OPERATOR_KEY, &endpoint).await;
        assert_eq!(status, 201, "{answer:#}");
        // Alternates between the processes of ingest.
        let ingest = process(["ingest", "ingest-2"], round / 2);
        let event = json!({"type": event_type, "data": {"round": round}});
        let (status, _, answer, _) = world.post(ingest, "/v1/publish", key, &event).await;
        assert!(status == 202, "{answer:#}");
        (took, lagging, format!("/{round}"))
    };
    let rounds: Vec<_> = stream::iter(0..ROUNDS).map(round).buffer_unordered(AT_ONCE).collect().await;
    print_waits("endpoints", rounds.iter().map(|(took, ..)| *took).collect());
    // A response that names a lagging process promises nothing; on a busy machine there may be some.
    let mut missing: BTreeSet<_> =
        rounds.into_iter().filter(|(_, lagging, _)| lagging.is_none()).map(|(.., target)| target).collect();
    println!("answers that named no lagging process: {} of {ROUNDS}", missing.len());
    while !missing.is_empty() {
        missing.remove(&receiver.next().await.target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_publish_with_a_new_key_is_accepted() {
    let world = World::start("new-key").await;
    let keys = format!("/v1/tenants/{}/keys", world.tenant);
    let round = async |round: usize| {
        let api = process(["api", "api-2"], round);
        let key = json!({"name": "publisher", "scopes": ["publish"]});
        let (status, lagging, made, took) = world.post(api, &keys, OPERATOR_KEY, &key).await;
        assert_eq!(status, 201, "{made:#}");
        let ingest = process(["ingest", "ingest-2"], round / 2);
        let event = json!({"type": "order.paid", "data": {}});
        let key = made["key"].as_str().expect("a key");
        let (status, _, answer, _) = world.post(ingest, "/v1/publish", key, &event).await;
        assert!(status == 202 || lagging.is_some(), "{status}: {answer:#}");
        // Deleted at once, to stay below the limit of keys. From then on every process refuses it.
        let path = format!("{keys}/{}", made["id"].as_str().expect("an id"));
        let deleted = world.client.delete(world.cluster.base(api) + &path).bearer_auth(OPERATOR_KEY).send().await;
        let deleted = deleted.expect("an answer");
        assert_eq!(deleted.status(), 204);
        let (status, _, answer, _) = world.post(ingest, "/v1/publish", key, &event).await;
        assert!(status == 401 || deleted.headers().contains_key("postrider-lagging"), "{status}: {answer:#}");
        took
    };
    let waits: Vec<_> = stream::iter(0..ROUNDS).map(round).buffer_unordered(AT_ONCE).collect().await;
    print_waits("keys", waits);
}
