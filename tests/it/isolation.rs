//! Endpoints and tenants that fail, flood or are slow do not disturb others: breakers that all services agree on, rates over
//! several dispatchers, shares.

use std::time::{Duration, Instant};

use postrider_testkit::engines::Scope;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{Answer, Cluster, InForce, Receiver, Stage, Tenant, Urls};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const DISPATCHERS: [&str; 2] = ["dispatcher", "dispatcher-2"];

/// The sum of a metric's values with `label`, in one process.
async fn metric(base: &str, name: &str, label: &str) -> f64 {
    let text = reqwest::get(format!("{base}/metrics")).await.expect("metrics").text().await.expect("text");
    let values = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    values.filter_map(|line| line.split_whitespace().last()?.parse::<f64>().ok()).sum()
}

async fn wait_for_metric(base: &str, name: &str, label: &str, fulfils: impl Fn(f64) -> bool) {
    let started = Instant::now();
    loop {
        let value = metric(base, name, label).await;
        if fulfils(value) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{name} {label} of {base} is {value}");
        sleep(LOOK_EVERY).await;
    }
}

/// Deliveries that started in a lane.
async fn started_in(base: &str, lane: &str) -> f64 {
    metric(base, "postrider_fanout_deliveries_total", &format!("lane=\"{lane}\"")).await
}

fn breaker_is(state: &'static str) -> impl Fn(&Value) -> bool {
    move |endpoint| endpoint["breaker"]["state"] == state
}

fn event() -> Value {
    json!({"type": "report.ready", "data": {}})
}

/// A stage whose endpoint has responded with 503 until its breaker opened. Nothing is retried.
async fn with_an_open_breaker() -> (Stage, String) {
    let stage = Stage::of("standard").await;
    stage.receiver.answer_at("/", Answer::status(503));
    let endpoint = stage.endpoint(json!({"retry_schedule_seconds": []})).await;
    let path = format!("/v1/endpoints/{}", endpoint.id());
    let fresh = stage.tenant.get(&path).await;
    assert_eq!(fresh["breaker"], json!({"state": "closed"}), "{fresh:#}");
    for _ in 0..20 {
        stage.tenant.publish(&event()).await;
    }
    stage.tenant.wait_for(&path, breaker_is("open")).await;
    (stage, path)
}

/// Guarantee (Faults and isolation): A failing endpoint is tried one attempt at a time until it answers; all dispatchers agree.
#[tokio::test]
async fn an_open_breaker_sends_first_deliveries_to_the_slow_lane() {
    let (stage, path) = with_an_open_breaker().await;
    let endpoint = stage.tenant.get(&path).await;
    assert!(endpoint["breaker"]["since"].is_string(), "{endpoint:#}");
    let listed = stage.tenant.get("/v1/endpoints").await;
    assert_eq!(listed["data"][0]["breaker"], endpoint["breaker"], "{listed:#}");

    let base = &stage.deployment.operator().base;
    wait_for_metric(base, "postrider_dispatcher_breakers", "state=\"open\"", |open| open == 1.0).await;
    let moved = metric(base, "postrider_dispatcher_deliveries_moved_to_slow_lane_total", "").await;
    let (live, slow) = (started_in(base, "live").await, started_in(base, "slow").await);
    let id = stage.tenant.publish(&event()).await;
    stage.tenant.wait_for_delivery(&id, "failed").await;
    assert_eq!((started_in(base, "live").await, started_in(base, "slow").await), (live, slow + 1.0));
    assert_eq!(metric(base, "postrider_dispatcher_deliveries_moved_to_slow_lane_total", "").await, moved);

    let system = stage.deployment.operator().get("/v1/system").await;
    assert_eq!(system["breakers"], json!({"open": 1, "half_open": 0}), "{system:#}");
    let service = &system["services"][0];
    assert_eq!(
        (&service["name"], &service["version"]),
        (&json!("all"), &json!(env!("CARGO_PKG_VERSION"))),
        "{system:#}"
    );
    let live = |queue: &&Value| queue["name"] == "postrider.lane.live";
    let live = system["queues"].as_array().expect("queues").iter().find(live).expect("the live lane");
    assert_eq!(
        live,
        &json!({"name": "postrider.lane.live", "messages": 0, "members": 0, "consumers": 1}),
        "{system:#}"
    );
}

/// Guarantee: as `isolation::an_open_breaker_sends_first_deliveries_to_the_slow_lane`.
#[tokio::test]
async fn a_breaker_closes_after_three_answers_in_a_row() {
    let (stage, path) = with_an_open_breaker().await;
    stage.receiver.answer_at("/", Answer::status(200));
    for (answers, state) in [(1, "half_open"), (2, "half_open"), (3, "closed")] {
        let id = stage.tenant.publish(&event()).await;
        stage.tenant.wait_for_delivery(&id, "delivered").await;
        let endpoint = stage.tenant.wait_for(&path, breaker_is(state)).await;
        assert!(endpoint["breaker"]["since"].is_string(), "after {answers}: {endpoint:#}");
    }
    let base = &stage.deployment.operator().base;
    let live = started_in(base, "live").await;
    let id = stage.tenant.publish(&event()).await;
    stage.tenant.wait_for_delivery(&id, "delivered").await;
    assert_eq!(started_in(base, "live").await, live + 1.0);
}

/// A cluster with a tenant and an endpoint in force. Also returns the tenant's key.
async fn cluster_with(scope: &Scope, endpoint: &Value) -> (Cluster, String) {
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let cluster = Cluster::start(urls).await;
    let tenant = cluster.tenant(&[]).await;
    cluster.post_when_known("api", "/v1/endpoints", &tenant.key, endpoint).await;
    let client = reqwest::Client::new();
    InForce::new(scope, client, &cluster.base("ingest"), &cluster.base("fanout")).await.wait().await;
    for dispatcher in DISPATCHERS {
        let both = |seen| seen == 2.0;
        wait_for_metric(&cluster.base(dispatcher), "postrider_dispatcher_replicas_seen", "", both).await;
    }
    (cluster, tenant.key)
}

async fn publish(cluster: &Cluster, key: &str, events: usize) {
    let body = json!({"events": vec![event(); events]});
    cluster.post_when_known("ingest", "/v1/publish/batch", key, &body).await;
}

/// Guarantee: as `isolation::an_open_breaker_sends_first_deliveries_to_the_slow_lane`.
#[tokio::test]
async fn dispatchers_agree_on_a_breaker_and_one_that_restarts_hears_of_it() {
    let scope = Scope::new("agree").await;
    // This address refuses connections: four failed attempts open the breaker.
    let refusing = format!("http://127.0.0.1:{}/", postrider_testkit::ports::free_port());
    let endpoint = json!({"name": "away", "url": refusing, "event_types": ["*"], "retry_schedule_seconds": []});
    let (mut cluster, key) = cluster_with(&scope, &endpoint).await;
    // Of seven attempts at most one dispatcher makes four.
    publish(&cluster, &key, 7).await;
    for dispatcher in DISPATCHERS {
        let open = |open| open == 1.0;
        wait_for_metric(&cluster.base(dispatcher), "postrider_dispatcher_breakers", "state=\"open\"", open).await;
    }
    let mut opened = 0.0;
    for dispatcher in DISPATCHERS {
        let name = "postrider_dispatcher_breaker_transitions_total";
        opened += metric(&cluster.base(dispatcher), name, "to=\"open\"").await;
    }
    assert_eq!(opened, 1.0, "only one dispatcher opened it; the other got its hint");

    for dispatcher in DISPATCHERS {
        cluster.kill9(dispatcher).await;
        cluster.restart(dispatcher).await;
        let open = |open| open == 1.0;
        wait_for_metric(&cluster.base(dispatcher), "postrider_dispatcher_breakers", "state=\"open\"", open).await;
    }
}

/// Guarantee (Faults and isolation): An endpoint's rate holds over all dispatchers.
#[tokio::test]
async fn two_dispatchers_together_do_not_exceed_an_endpoints_rate() {
    const RATE: usize = 10;
    const EVENTS: usize = 100;
    let scope = Scope::new("rate").await;
    let receiver = Receiver::start().await;
    let endpoint = json!({
        "name": "limited", "url": receiver.url("/"), "event_types": ["*"], "rate_per_second": RATE,
    });
    let (cluster, key) = cluster_with(&scope, &endpoint).await;
    let published = Instant::now();
    publish(&cluster, &key, EVENTS).await;
    receiver.take(EVENTS).await;
    let took = published.elapsed();
    println!("{EVENTS} deliveries at {RATE}/s over two dispatchers took {took:.1?}");
    // A busy machine can only delay the deliveries, so this bound holds on it, too. Two dispatchers that each used the whole rate
    // would finish in half of the expected time.
    let expected = Duration::from_secs((EVENTS / RATE) as u64);
    assert!(took > expected * 8 / 10, "{took:?}");
}

/// Guarantee (Faults and isolation): A tenant's burst does not delay another tenant.
#[tokio::test]
async fn a_tenants_burst_takes_the_bulk_lane_and_its_neighbour_stays_live() {
    const BURST: usize = 1_000;
    let stage = Stage::of("standard").await;
    stage.endpoint(json!({"url": stage.receiver.url("/flood")})).await;
    let neighbour: Tenant = stage.deployment.tenant("standard").await;
    let quiet = Receiver::start().await;
    neighbour.endpoint(json!({"name": "quiet", "url": quiet.url("/"), "event_types": ["*"]})).await;
    let base = &stage.deployment.operator().base;

    neighbour.publish(&event()).await;
    quiet.next().await;
    stage.tenant.post("/v1/publish/batch", &json!({"events": vec![event(); BURST]})).await;
    stage.receiver.take(BURST).await;
    let bulk = started_in(base, "bulk").await;
    let live = started_in(base, "live").await;
    println!("of {BURST} deliveries at once {bulk} took the bulk lane");
    assert!(bulk >= BURST as f64 / 2.0, "{bulk} in bulk");
    assert_eq!(bulk + live, BURST as f64 + 1.0);

    for _ in 0..5 {
        neighbour.publish(&event()).await;
        quiet.next().await;
    }
    assert_eq!((started_in(base, "bulk").await, started_in(base, "live").await), (bulk, live + 5.0));
}

/// Guarantee (Faults and isolation): An event for very many endpoints does not delay other events.
#[tokio::test]
async fn an_event_for_more_than_100_endpoints_takes_the_bulk_lane() {
    const LIVE_MOST: usize = 100;
    let stage = Stage::of("standard").await;
    stage.deployment.limit_endpoints(&stage.tenant, 1_000).await;
    for number in 0..LIVE_MOST {
        stage.endpoint(json!({"name": format!("endpoint {number}")})).await;
    }
    let base = &stage.deployment.operator().base;
    stage.tenant.publish(&event()).await;
    stage.receiver.take(LIVE_MOST).await;
    assert_eq!((started_in(base, "bulk").await, started_in(base, "live").await), (0.0, LIVE_MOST as f64));

    stage.endpoint(json!({"name": "one more"})).await;
    stage.tenant.publish(&event()).await;
    stage.receiver.take(LIVE_MOST + 1).await;
    assert_eq!(
        (started_in(base, "bulk").await, started_in(base, "live").await),
        ((LIVE_MOST + 1) as f64, LIVE_MOST as f64)
    );
}
