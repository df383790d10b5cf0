//! The test call, with a simulated dispatcher.

use std::time::Duration;

use bytes::Bytes;
use postrider_broker::Queue;
use postrider_model::delivery::Trigger;
use postrider_model::ids::Generation;
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use postrider_wire::bundle::Member;
use postrider_wire::headers::HeaderList;
use postrider_wire::messages::{OutcomeReport, TestCall};
use postrider_wire::testing;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{OPERATOR, World};

/// The report of the simulated dispatcher. Its attempt has the request's body in a header.
fn report(request: &Member) -> Option<OutcomeReport> {
    let call: TestCall = request.head().ok()?;
    assert!(call.answer_by > UnixMillis::now());
    assert_eq!(call.task.trigger, Trigger::Test);
    assert!(matches!(call.task.delivery.generation, Generation::Test(_)));
    let mut report = testing::tested(call, 500);
    let body = String::from_utf8_lossy(&request.payload);
    report.attempt.as_mut().expect("an attempt").request_headers = HeaderList::of([("x", body)]);
    Some(report)
}

/// The answer of the simulated dispatcher.
fn answer(request: &Member) -> Option<Member> {
    Member::new(&report(request)?, Bytes::from_static(b"oh no")).ok()
}

/// The body that a test call sent.
fn sent(tested: &Value) -> Value {
    serde_json::from_str(tested["request_headers"][0]["value"].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_call_returns_its_attempt_and_each_has_its_own_id() {
    let world = World::new("api_test").await;
    let tenant = world.tenant("magnetite").await;
    let made = world.endpoint(&tenant).await;
    let path = format!("/v1/endpoints/{}/test", made["id"].as_str().unwrap());
    let stop = CancellationToken::new();
    let (broker, stopped) = (world.broker.clone(), stop.clone());
    let dispatcher = tokio::spawn(async move {
        broker.serve_rpc(Queue::RpcTest, 4, |request: Member| async move { answer(&request) }, stopped).await;
    });

    let first = world.post(&tenant.key, &path, json!({"event_type": "magnet.viewed"})).await.ok(200);
    assert_eq!((&first["outcome"], &first["status_code"]), (&json!("http_status"), &json!(500)));
    assert_eq!((&first["duration_ms"], &first["response_excerpt"]), (&json!(1.5), &json!("oh no")));
    assert!(first["delivery_id"].as_str().unwrap().starts_with("dlv_"));
    assert_eq!(sent(&first)["event"], json!("magnet.viewed"));

    // The body may be empty, and every test call is a new event.
    let second = world.call(&tenant.key, "POST", &path, None).await.ok(200);
    assert_ne!(second["event_id"], first["event_id"]);

    world.post(&tenant.key, &path, json!({"event_type": "no.such"})).await.problem(422, "/event_type");
    world.post(&tenant.key, &path, json!({"type": "x"})).await.problem(422, "/type");
    stop.cancel();
    dispatcher.await.unwrap();
}

/// Starts a simulated dispatcher that also records its reports.
fn recording_dispatcher(world: &World, stop: CancellationToken) {
    let (broker, store) = (world.broker.clone(), world.store.clone());
    let handle = move |request: Member| {
        let store = store.clone();
        async move {
            let outcomes = vec![(report(&request)?, Bytes::from_static(b"oh no"))];
            let rows = RecordBatch { outcomes, ..RecordBatch::default() };
            store.record().write(&rows).await.ok()?;
            answer(&request)
        }
    };
    tokio::spawn(async move { broker.serve_rpc(Queue::RpcTest, 4, handle, stop).await });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_call_sends_edited_data_and_the_history_shows_it() {
    let world = World::new("api_test_data").await;
    let tenant = world.tenant("magnetite").await;
    let made = world.endpoint(&tenant).await;
    let path = format!("/v1/endpoints/{}/test", made["id"].as_str().unwrap());
    let stop = CancellationToken::new();
    recording_dispatcher(&world, stop.clone());
    for data in [json!({"lead_id": "mine", "viewed": [1, null]}), json!(null)] {
        let request = json!({"event_type": "magnet.viewed", "data": data});
        let tested = world.post(&tenant.key, &path, request).await.ok(200);
        let body = sent(&tested);
        let expected = if data.is_null() { &json!("lead_789ghi") } else { &data["lead_id"] };
        assert_eq!((&body["event"], &body["data"]["lead_id"]), (&json!("magnet.viewed"), expected));
        let delivery = tested["delivery_id"].as_str().unwrap();
        let read = world.get(&tenant.key, &format!("/v1/deliveries/{delivery}")).await.ok(200);
        let shown: Value = serde_json::from_str(read["body"].as_str().unwrap()).unwrap();
        assert_eq!(shown["data"], body["data"], "{shown:#}");
    }
    for (data, pointer) in [(json!([1]), "/data"), (json!({"x": "y".repeat(17_000)}), "/data"), (json!("x"), "/data")] {
        let request = json!({"event_type": "magnet.viewed", "data": data});
        world.post(&tenant.key, &path, request).await.problem(422, pointer);
    }
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edited_data_must_have_what_the_profile_and_an_enforced_schema_require() {
    let world = World::new("api_test_checks").await;
    let tenant = world.tenant("mumara").await;
    let made = world.endpoint(&tenant).await;
    let path = format!("/v1/endpoints/{}/test", made["id"].as_str().unwrap());
    let stop = CancellationToken::new();
    recording_dispatcher(&world, stop.clone());
    let schema = json!({"schema": {"properties": {"n": {"type": "integer"}}}});
    world.call(&tenant.key, "PUT", "/v1/event-types/Delivered", Some(&schema)).await.ok(201);
    let test = |data: Value| world.post(&tenant.key, &path, json!({"event_type": "Delivered", "data": data}));
    let wrong = json!({"email": "a@example.com", "message_id": "m1", "n": "one"});

    test(json!({"message_id": "m1"})).await.problem(422, "/data/email");
    test(wrong.clone()).await.ok(200);
    let enforce = json!({"enforce_schemas": true});
    world.call(OPERATOR, "PATCH", &format!("/v1/tenants/{}", tenant.id), Some(&enforce)).await.ok(200);
    test(wrong).await.problem(422, "/data/n");
    test(json!({"email": "a@example.com", "message_id": "m1", "n": 1})).await.ok(200);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_call_without_an_answer_returns_its_delivery_id() {
    let world = World::new("api_test_late").await;
    let tenant = world.tenant("standard").await;
    let mut body = crate::harness::endpoint();
    body["timeout_seconds"] = json!(1);
    let made = world.post(&tenant.key, "/v1/endpoints", body).await.ok(201);
    let path = format!("/v1/endpoints/{}/test", made["id"].as_str().unwrap());
    let began = std::time::Instant::now();
    let answer = world.post(&tenant.key, &path, json!({"event_type": "user.created"})).await.ok(202);
    assert!(answer["id"].as_str().unwrap().starts_with("dlv_"));
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
}
