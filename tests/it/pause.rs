//! Paused endpoints: their deliveries wait on record, and are released, skipped or limited.

use std::collections::HashMap;

use postrider_testkit::engines::Scope;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Cluster, InForce, Received, Receiver, Stage, Tenant, Urls};

/// Publishes this many events one after the other. Returns their ids in order of acceptance.
async fn publish(tenant: &Tenant, count: u32) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(tenant.publish(&json!({"type": "order.paid", "data": {"n": number}})).await);
    }
    ids
}

/// Waits until this many deliveries to the endpoint are counted as set aside.
async fn wait_for_set_aside(tenant: &Tenant, path: &str, count: usize) -> Value {
    tenant.wait_for(path, |endpoint| endpoint["set_aside"]["deliveries"] == json!(count)).await
}

/// Waits until no delivery of the endpoint is pending.
async fn wait_until_nothing_is_pending(tenant: &Tenant, endpoint: &str) {
    let pending = format!("/v1/deliveries?endpoint_id={endpoint}&status=pending&limit=200");
    tenant.wait_for(&pending, |page| page["data"].as_array().is_some_and(Vec::is_empty)).await;
}

/// Checks that each event arrived exactly once.
fn check_each_once(received: &[Received], expected: &[String]) {
    let mut times: HashMap<&str, u32> = HashMap::new();
    received.iter().for_each(|request| *times.entry(request.header("webhook-id")).or_default() += 1);
    assert_eq!(times, expected.iter().map(|id| (id.as_str(), 1)).collect(), "each event once");
}

/// Guarantee (Attempts and retries): A paused endpoint gets nothing; after a resume it gets everything once, published oldest first
/// and at its rate.
#[tokio::test]
async fn a_resume_delivers_everything_that_waited_once_and_oldest_first() {
    let stage = Stage::of("standard").await;
    let endpoint = stage.endpoint(json!({"rate_per_second": 10, "retry_schedule_seconds": [5, 3600]})).await;
    let (tenant, path) = (&stage.tenant, format!("/v1/endpoints/{}", endpoint.id()));
    // This delivery has failed once when the pause begins; its retry surfaces during the pause.
    stage.receiver.answer_next([Answer::status(500)]);
    let retried = tenant.publish(&json!({"type": "order.paid", "data": {}})).await;
    stage.receiver.next().await;
    let paused = tenant.patch(&path, &json!({"status": "paused"})).await;
    assert_eq!(paused["status"], json!("paused"));
    assert!(paused["paused_at"].is_string() && paused["paused_reason"].is_null(), "{paused:#}");
    stage.deployment.configuration_in_force().await;

    let mut expected = publish(tenant, 100).await;
    expected.insert(0, retried.clone());
    let waits = wait_for_set_aside(tenant, &path, 101).await;
    assert!(waits["set_aside"]["bytes"].as_u64() > Some(100 * 1024), "{waits:#}");
    let listed = tenant.get("/v1/deliveries?phase=paused&limit=200").await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(101));
    assert_eq!(
        (&listed["data"][0]["status"], &listed["data"][0]["phase"]),
        (&json!("pending"), &json!("paused")),
        "{listed:#}"
    );
    let explained = tenant.get(&format!("/v1/events/{}/explain", expected[1])).await;
    let waiting = tenant.only_delivery(&expected[1]).await;
    assert_eq!(explained["data"][0]["matched"], json!(true));
    let delivery = &explained["data"][0]["delivery"];
    assert_eq!((&delivery["id"], &delivery["phase"]), (&json!(waiting), &json!("paused")), "{explained:#}");
    let standing = explained["data"][0]["delivery_standing"].as_str().unwrap_or_default();
    assert!(standing.contains("until it is resumed"), "{standing}");
    let (refused, problem) = tenant.try_post(&format!("/v1/deliveries/{waiting}/retry"), &json!({})).await;
    assert!(refused == 409 && problem["detail"].as_str().unwrap_or_default().contains("resume it"), "{problem:#}");
    for lane in ["live", "slow", "bulk"] {
        stage.deployment.wait_for_messages(&format!("postrider.lane.{lane}"), 0).await;
    }
    assert_eq!(stage.receiver.all().len(), 1, "nothing arrives while it is paused");

    let resumed = tenant.patch(&path, &json!({"status": "active"})).await;
    assert!(resumed["paused_at"].is_null(), "{resumed:#}");
    let received = stage.receiver.take(101).await;
    check_each_once(&received, &expected);
    check_oldest_first(&received, &expected);
    let took = received[100].arrived - received[0].arrived;
    assert!(took.as_secs_f64() > 5.0, "101 deliveries at 10 per second took {took:?}");
    wait_until_nothing_is_pending(tenant, endpoint.id()).await;
    let again = tenant.wait_for_delivery(&retried, "delivered").await;
    assert_eq!(again["attempts"].as_array().map(Vec::len), Some(2), "{again:#}");
    tenant.wait_for(&path, |endpoint| endpoint["set_aside"].is_null()).await;
    // It is active again: a new event arrives at once. A second resume changes nothing.
    tenant.patch(&path, &json!({"status": "active"})).await;
    let id = tenant.publish(&json!({"type": "order.paid", "data": {}})).await;
    assert_eq!(stage.receiver.next().await.header("webhook-id"), id);
    assert_eq!(stage.receiver.all().len(), 103);
}

/// Checks that the oldest arrive first, by and large. Deliveries are published in the order of acceptance, which a test of the store
/// checks. Their attempts are concurrent, so deliveries that are published together may overtake each other.
fn check_oldest_first(received: &[Received], expected: &[String]) {
    let place: HashMap<&str, usize> = expected.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    let order: Vec<usize> = received.iter().map(|request| place[request.header("webhook-id")]).collect();
    let in_order = order.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!(in_order * 4 >= (order.len() - 1) * 3, "{order:?}");
}

/// Guarantee (Attempts and retries): What waits for a paused endpoint can be skipped: it ends with its reason, and later events
/// wait again.
#[tokio::test]
async fn what_waits_for_a_paused_endpoint_can_be_skipped() {
    let stage = Stage::of("standard").await;
    let endpoint = stage.endpoint(json!({"status": "paused"})).await;
    let (tenant, path) = (&stage.tenant, format!("/v1/endpoints/{}", endpoint.id()));
    let skipped = publish(tenant, 30).await;
    wait_for_set_aside(tenant, &path, 30).await;
    let skip = format!("{path}/skip-paused");
    let answer = tenant.post(&skip, &json!({})).await;
    assert_eq!(answer["endpoint_id"], json!(endpoint.id()));
    for id in &skipped {
        let delivery = tenant.wait_for_delivery(id, "discarded").await;
        assert_eq!(delivery["discard_reason"], json!("skipped"), "{delivery:#}");
    }
    let kept = publish(tenant, 2).await;
    wait_for_set_aside(tenant, &path, 2).await;
    let reader = stage.deployment.key(tenant, &["read"]).await;
    let client = reqwest::Client::new().post(format!("{}{skip}", tenant.base)).bearer_auth(reader);
    assert_eq!(client.send().await.expect("an answer").status(), 403);
    let logged = tenant.get("/v1/audit-log?action=endpoint.paused_skipped").await;
    assert_eq!(logged["data"][0]["target"], json!(endpoint.id()), "{logged:#}");
    tenant.patch(&path, &json!({"status": "active"})).await;
    check_each_once(&stage.receiver.take(2).await, &kept);
    wait_until_nothing_is_pending(tenant, endpoint.id()).await;
    assert_eq!(stage.receiver.all().len(), 2);
}

/// Guarantee (Attempts and retries): Above the tenant's limit, the oldest deliveries that wait for a paused endpoint end with their
/// reason.
#[tokio::test]
async fn the_oldest_deliveries_over_the_limit_of_a_pause_are_discarded_with_their_reason() {
    let stage = Stage::of("standard").await;
    let endpoint = stage.endpoint(json!({"status": "paused"})).await;
    let (tenant, path) = (&stage.tenant, format!("/v1/endpoints/{}", endpoint.id()));
    let events = publish(tenant, 10).await;
    let bytes = wait_for_set_aside(tenant, &path, 10).await["set_aside"]["bytes"].as_u64().expect("a number");
    let limits = json!({"limits": {"paused_bytes": bytes / 2}});
    stage.deployment.operator().patch(&format!("/v1/tenants/{}", tenant.id), &limits).await;
    for id in &events[..5] {
        let delivery = tenant.wait_for_delivery(id, "discarded").await;
        assert_eq!(delivery["discard_reason"], json!("pause_limit"), "{delivery:#}");
    }
    tenant.patch(&path, &json!({"status": "active"})).await;
    check_each_once(&stage.receiver.take(5).await, &events[5..]);
}

/// Guarantee (Attempts and retries): Where the tenant prefers it, an endpoint that fails is paused instead of disabled, and loses
/// nothing.
#[tokio::test]
async fn a_failing_endpoint_is_paused_instead_of_disabled_where_the_tenant_prefers_it() {
    let stage = Stage::of("standard").await;
    let operator = Receiver::start().await;
    let hook = json!({"name": "operator", "channel": "web", "url": operator.url("/"), "event_types": ["endpoint.*"]});
    stage.deployment.operator().post("/v1/endpoints?tenant=ten_operator", &hook).await;
    let of_tenant = format!("/v1/tenants/{}", stage.tenant.id);
    stage.deployment.operator().patch(&of_tenant, &json!({"when_failing": "pause"})).await;
    let endpoint = stage.endpoint(json!({})).await;
    let (tenant, path) = (&stage.tenant, format!("/v1/endpoints/{}", endpoint.id()));
    stage.receiver.answer_next([Answer::status(410)]);
    publish(tenant, 1).await;
    stage.receiver.next().await;
    let paused = tenant.wait_for(&path, |endpoint| endpoint["status"] == "paused").await;
    assert_eq!(paused["paused_reason"], json!("it answered 410"), "{paused:#}");
    let told = |request: Received| serde_json::from_slice::<Value>(&request.body).expect("JSON");
    let event = told(operator.next().await);
    assert_eq!((&event["type"], &event["data"]["reason"]), (&json!("endpoint.paused"), &paused["paused_reason"]));
    stage.deployment.configuration_in_force().await;
    let waiting = publish(tenant, 3).await;
    wait_for_set_aside(tenant, &path, 3).await;
    tenant.patch(&path, &json!({"status": "active"})).await;
    check_each_once(&stage.receiver.take(3).await, &waiting);
    assert_eq!(told(operator.next().await)["type"], json!("endpoint.resumed"));
}

/// Guarantee (The log, and repairs): One call enables a disabled endpoint and recovers what it missed.
#[tokio::test]
async fn enabling_a_disabled_endpoint_recovers_what_it_missed_in_one_call() {
    let stage = Stage::of("standard").await;
    let endpoint = stage.endpoint(json!({})).await;
    let (tenant, path) = (&stage.tenant, format!("/v1/endpoints/{}", endpoint.id()));
    stage.receiver.answer_next([Answer::status(410)]);
    let mut expected = publish(tenant, 1).await;
    stage.receiver.next().await;
    tenant.wait_for(&path, |endpoint| endpoint["status"] == "disabled").await;
    tenant.wait_for_delivery(&expected[0], "failed").await;
    stage.deployment.configuration_in_force().await;
    let missed = publish(tenant, 3).await;
    for id in &missed {
        let explained = |found: &Value| found["data"][0]["matched"] == json!(false);
        tenant.wait_for(&format!("/v1/events/{id}/explain"), explained).await;
    }
    expected.extend(missed);
    let refused = json!({"status": "inactive", "recover": {}}).to_string();
    let (status, problem) = tenant.send(Method::PATCH, &path, Some(refused), &[]).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/recover")), "{problem:#}");
    let enabled = tenant.patch(&path, &json!({"status": "active", "recover": {}})).await;
    assert_eq!(enabled["status"], json!("active"), "{enabled:#}");
    check_each_once(&stage.receiver.take(expected.len()).await, &expected);
    let replay = format!("/v1/replays/{}", enabled["recovery"]["id"].as_str().expect("an id"));
    tenant.wait_for(&replay, |replay| replay["status"] == "finished").await;
}

/// Guarantee (Faults and isolation): Nothing that waits for a paused endpoint is lost when the recorder is killed in the middle of
/// a resume.
#[tokio::test(flavor = "multi_thread")]
async fn killing_the_recorder_in_the_middle_of_a_resume_loses_nothing() {
    const EVENTS: usize = 1_000;
    let scope = Scope::new("pause-killed").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let mut cluster = Cluster::start(urls).await;
    let receiver = Receiver::start().await;
    let publisher = cluster.tenant(&[(&receiver.url("/"), json!({}))]).await;
    let client = reqwest::Client::new();
    let in_force = InForce::new(&scope, client.clone(), &cluster.base("ingest"), &cluster.base("fanout")).await;
    let tenant =
        Tenant { id: publisher.id.clone(), client, base: cluster.base("api"), key: publisher.key.clone(), in_force };
    let listed = tenant.get("/v1/endpoints").await;
    let endpoint = listed["data"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/endpoints/{endpoint}");
    // At this rate the resume takes 10 s.
    tenant.patch(&path, &json!({"status": "paused", "rate_per_second": 100})).await;
    tenant.in_force.wait().await;
    let event = |n| json!({"type": "a.b", "id": format!("waiting-{n}"), "data": {"n": n}});
    let events: Vec<_> = (0..EVENTS).map(event).collect();
    cluster.post_when_known("ingest", "/v1/publish/batch", &publisher.key, &json!({"events": events})).await;
    wait_for_set_aside(&tenant, &path, EVENTS).await;

    tenant.patch(&path, &json!({"status": "active"})).await;
    receiver.take(100).await;
    cluster.kill9("recorder").await;
    let at_kill = receiver.all().len();
    assert!(at_kill < EVENTS, "it was killed on the way");
    cluster.restart("recorder").await;
    wait_until_nothing_is_pending(&tenant, &endpoint).await;
    let mut arrived: Vec<String> =
        receiver.all().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    let posts = arrived.len();
    arrived.sort();
    arrived.dedup();
    assert_eq!(arrived.len(), EVENTS, "every event arrived");
    assert!(posts <= EVENTS + 200, "at most one page is repeated: {posts}");
    let delivered = tenant.get(&format!("/v1/deliveries?endpoint_id={endpoint}&status=discarded")).await;
    assert_eq!(delivered["data"], json!([]));
}
