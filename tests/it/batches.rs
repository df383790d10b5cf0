//! Batched endpoints: several events of one endpoint travel in one signed request, and each has a delivery of its own.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use postrider_testkit::engines::Scope;
use serde_json::{Value, json};

use crate::harness::independent::check_with_crate;
use crate::harness::{Answer, Cluster, Received, Receiver, Stage, Tenant, Urls};

/// Publishes this many events, whose `data` has their number. Returns their ids.
async fn publish(tenant: &Tenant, count: usize) -> Vec<String> {
    let event = |n: usize| json!({"type": "order.paid", "data": {"n": n}});
    let events = json!({"events": (0..count).map(event).collect::<Vec<_>>()});
    let answer = tenant.post("/v1/publish/batch", &events).await;
    let results = answer["results"].as_array().expect("results");
    results.iter().map(|result| result["id"].as_str().unwrap_or_else(|| panic!("{result:#}")).to_owned()).collect()
}

/// The ids of the events in a request, in their order.
fn events(request: &Received) -> Vec<String> {
    let body: Value = serde_json::from_str(request.text()).expect("JSON");
    let items = body.as_array().unwrap_or_else(|| panic!("an array: {body:#}"));
    items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

fn set(ids: &[String]) -> BTreeSet<&str> {
    ids.iter().map(String::as_str).collect()
}

/// Guarantee (What deliveries look like): A batched endpoint gets several events in one request, which is signed as a whole; each event has a
/// delivery of its own, which names its batch.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_gathered_and_signed_as_a_whole() {
    let stage = Stage::of("standard").await;
    let endpoint = stage.endpoint(json!({"batch": {"events_max": 20, "wait_ms_max": 60_000}})).await;
    let tenant = &stage.tenant;
    let shown = tenant.get(&format!("/v1/endpoints/{}", endpoint.id())).await;
    assert_eq!(shown["batch"], json!({"events_max": 20, "bytes_max": 1_048_576, "wait_ms_max": 60_000}));
    let ids = publish(tenant, 20).await;
    let request = stage.receiver.next().await;
    assert_eq!(set(&events(&request)), set(&ids));
    let batch = request.header("webhook-id");
    assert!(batch.starts_with("bat_"), "{batch}");
    assert_eq!((request.header("postrider-batch-size"), request.header("postrider-delivery")), ("20", batch));
    check_with_crate(endpoint.secret(), &request);
    let body: Value = serde_json::from_str(request.text()).expect("JSON");
    for id in &ids {
        let delivery = tenant.wait_for_delivery(id, "delivered").await;
        let place = &delivery["attempts"][0]["batch"];
        assert_eq!((&place["id"], &place["size"]), (&json!(batch), &json!(20)), "{delivery:#}");
        let position = usize::try_from(place["position"].as_u64().expect("a position")).expect("small");
        let item = &body[position - 1];
        assert_eq!(item["id"], json!(id));
        // The history shows the event's own part of the request.
        let own: Value = serde_json::from_str(delivery["body"].as_str().expect("a body")).expect("JSON");
        assert_eq!(item["body"], own);
    }
    // A test call and a single event have the same form.
    let test = stage.test_call(&endpoint, &json!({})).await;
    assert_eq!(events(&test).len(), 1);
    check_with_crate(endpoint.secret(), &test);
}

/// Guarantee (Attempts and retries): A batch that is too large for its receiver (413) is halved, which uses up no retry.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_is_halved() {
    let stage = Stage::of("standard").await;
    let members = json!({"batch": {"events_max": 10, "wait_ms_max": 2_000}, "retry_schedule_seconds": []});
    stage.receiver.answer_next([Answer::status(413)]);
    stage.endpoint(members).await;
    let ids = publish(&stage.tenant, 10).await;
    let requests = stage.receiver.take(3).await;
    assert_eq!(requests.iter().map(|request| events(request).len()).collect::<Vec<_>>(), [10, 5, 5]);
    let halves: Vec<_> = requests[1..].iter().flat_map(events).collect();
    assert_eq!(set(&halves), set(&ids));
    for id in &ids {
        let delivery = stage.tenant.wait_for_delivery(id, "delivered").await;
        let codes: Vec<_> = (0..2).map(|n| delivery["attempts"][n]["status_code"].clone()).collect();
        assert_eq!(codes, [json!(413), json!(200)], "{delivery:#}");
    }
}

/// Guarantee (Attempts and retries): All members of a batch that timed out or failed are retried, together, and none is marked delivered.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_failed_is_retried_as_a_whole() {
    let stage = Stage::of("standard").await;
    let members = json!({"batch": {"events_max": 5, "wait_ms_max": 2_000}, "retry_schedule_seconds": [1]});
    stage.receiver.answer_next([Answer::status(500)]);
    stage.endpoint(members).await;
    let ids = publish(&stage.tenant, 5).await;
    let requests = stage.receiver.take(2).await;
    assert_eq!((set(&events(&requests[0])), set(&events(&requests[1]))), (set(&ids), set(&ids)));
    check_each(&stage.tenant, &ids, |delivery| {
        let attempts = delivery["attempts"].as_array().expect("attempts");
        let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap_or_default()).collect();
        assert_eq!(outcomes, ["http_status", "success"], "{delivery:#}");
        assert_ne!(attempts[0]["batch"]["id"], attempts[1]["batch"]["id"]);
    })
    .await;
    // A batch counts as one failure, not as five.
    let failing = stage.tenant.get("/v1/endpoints?sort=trouble").await;
    assert_ne!(failing["data"][0]["health"]["state"], json!("failing"), "{failing:#}");
    // Each delivery can be sent again by itself.
    let delivery = stage.tenant.only_delivery(&ids[0]).await;
    stage.tenant.post(&format!("/v1/deliveries/{delivery}/retry"), &json!({})).await;
    assert_eq!(events(&stage.receiver.next().await), [ids[0].clone()]);
}

async fn check_each(tenant: &Tenant, ids: &[String], check: impl Fn(&Value)) {
    for id in ids {
        check(&tenant.wait_for_delivery(id, "delivered").await);
    }
}

/// Guarantee (Attempts and retries): Cancelled and expunged events leave a batch that is being gathered; the others are sent.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_and_expunged_events_leave_a_batch() {
    let stage = Stage::of("standard").await;
    stage.receiver.answer_next([Answer::status(500)]);
    // The batch fails once, so that its deliveries are on record. It is gathered again after 20 s.
    stage.endpoint(json!({"batch": {"events_max": 6, "wait_ms_max": 3_000}, "retry_schedule_seconds": [20]})).await;
    let tenant = &stage.tenant;
    let ids = publish(tenant, 6).await;
    assert_eq!(events(&stage.receiver.next().await).len(), 6);
    let mut deliveries = Vec::new();
    for id in &ids {
        deliveries.push(tenant.wait_for_first_attempt(id).await["id"].as_str().expect("an id").to_owned());
    }
    tenant.post(&format!("/v1/deliveries/{}/cancel", deliveries[0]), &json!({})).await;
    tenant.delete(&format!("/v1/events/{}/payload", ids[1])).await;
    let sent = stage.receiver.next().await;
    assert_eq!(set(&events(&sent)), set(&ids[2..]));
    assert_eq!(sent.header("postrider-batch-size"), "4");
    tenant.wait_for_delivery(&ids[0], "cancelled").await;
    let expunged = tenant.wait_for_delivery(&ids[1], "discarded").await;
    assert_eq!(expunged["discard_reason"], json!("expunged"));
    check_each(tenant, &ids[2..], |_| ()).await;
}

/// Guarantee (Faults and isolation): A batched endpoint that gathers delays no other endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn a_batched_endpoint_that_waits_delays_no_neighbour() {
    let stage = Stage::of("standard").await;
    let silent = Receiver::start().await;
    let batch = json!({"events_max": 1_000, "wait_ms_max": 60_000});
    stage.endpoint(json!({"url": silent.url("/"), "batch": batch, "event_types": ["order.paid"]})).await;
    let neighbour = stage.deployment.tenant("standard").await;
    neighbour.endpoint(stage.document(json!({}))).await;
    // The lane has room for 500.
    publish(&stage.tenant, 400).await;
    let id = neighbour.publish(&json!({"type": "a.b", "data": {}})).await;
    let request = stage.receiver.next().await;
    assert_eq!(request.header("webhook-id"), id);
    assert!(silent.all().is_empty(), "the batch still gathers");
}

/// Guarantee (What deliveries look like): Order and batches exclude each other, and chats get no batches; the error says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_batched_is_refused_with_the_reason() {
    let stage = Stage::of("standard").await;
    let tenant = &stage.tenant;
    let refused = async |members: Value, pointer: &str, reason: &str| {
        let (status, problem) = tenant.try_post("/v1/endpoints", &stage.document(members)).await;
        assert_eq!(status, 422, "{problem:#}");
        let errors = problem["errors"].as_array().expect("errors");
        let found = errors.iter().find(|error| error["pointer"] == json!(pointer));
        let detail = found.unwrap_or_else(|| panic!("{problem:#}"))["detail"].as_str().expect("a detail");
        assert!(detail.contains(reason), "{detail}");
    };
    refused(json!({"batch": {}, "ordering": {}}), "/batch", "one after the other").await;
    refused(json!({"batch": {"events_max": 1_001}}), "/batch/events_max", "1 to 1000").await;
    let slack = json!({"channel": "slack", "url": null, "chat": {"webhook_url": "https://hooks.slack.com/services/a/b/c"}, "batch": {}});
    refused(slack, "/batch", "does not apply").await;
    let endpoint = stage.endpoint(json!({"batch": {}})).await;
    let path = format!("/v1/endpoints/{}", endpoint.id());
    let edited = tenant.patch(&path, &json!({"batch": null, "ordering": {"key": null}})).await;
    assert!(edited["batch"].is_null() && edited["ordering"].is_object(), "{edited:#}");
}

/// Guarantee (Faults and isolation): Killing a dispatcher while it gathers and sends batches loses no event.
#[tokio::test(flavor = "multi_thread")]
async fn killing_a_dispatcher_loses_no_member_of_a_batch() {
    const EVENTS: usize = 3_000;
    let scope = Scope::new("batches-kill").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let mut cluster = Cluster::start(urls).await;
    let receiver = Receiver::start().await;
    let publisher = cluster.tenant(&[]).await;
    let endpoint = json!({
        "name": "batched", "channel": "web", "url": receiver.url("/"), "event_types": ["*"],
        "retry_schedule_seconds": [1, 1, 1, 2, 2, 4, 4], "batch": {"events_max": 100, "wait_ms_max": 1_000},
    });
    cluster.post_when_known("api", "/v1/endpoints", &publisher.key, &endpoint).await;
    let (client, url) = (reqwest::Client::new(), format!("{}/v1/publish/batch", cluster.base("ingest")));
    let mut expected = BTreeSet::new();
    for part in 0..EVENTS / 100 {
        let ids: Vec<_> = (0..100).map(|n| format!("e-{part}-{n}")).collect();
        let event = |id: &String| json!({"id": id, "type": "a.b", "data": {}});
        let body = json!({"events": ids.iter().map(event).collect::<Vec<_>>()}).to_string();
        let request =
            client.post(&url).bearer_auth(&publisher.key).header("content-type", "application/json").body(body);
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        expected.extend(ids);
        if part % 10 == 5 {
            cluster.kill9("dispatcher").await;
            cluster.restart("dispatcher").await;
        }
    }
    let arrived = |receiver: &Receiver| receiver.all().iter().flat_map(events).collect::<BTreeSet<_>>();
    let all = async {
        while arrived(&receiver) != expected {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(180), all).await;
    assert!(waited.is_ok(), "{} of {EVENTS} events arrived", arrived(&receiver).len());
    let requests = receiver.all();
    let mut times: HashMap<String, usize> = HashMap::new();
    requests.iter().flat_map(events).for_each(|id| *times.entry(id).or_default() += 1);
    println!("{EVENTS} events in {} requests, {} repeated", requests.len(), times.values().filter(|n| **n > 1).count());
}
