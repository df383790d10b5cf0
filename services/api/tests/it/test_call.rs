//! The test call, with a simulated dispatcher.

use std::time::Duration;

use bytes::Bytes;
use postrider_broker::Queue;
use postrider_model::attempt::Outcome;
use postrider_model::delivery::{DeliveryStatus, Trigger};
use postrider_model::ids::{Generation, SendId};
use postrider_model::time::UnixMillis;
use postrider_wire::bundle::Member;
use postrider_wire::headers::HeaderList;
use postrider_wire::messages::{AttemptRecord, OutcomeReport, TestCall};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::harness::World;

/// The answer of the simulated dispatcher.
fn answer(request: &Member) -> Option<Member> {
    let call: TestCall = request.head().ok()?;
    assert!(call.answer_by > UnixMillis::now());
    assert_eq!(call.task.trigger, Trigger::Test);
    assert!(matches!(call.task.delivery.generation, Generation::Test(_)));
    let report = OutcomeReport {
        delivery: call.task.delivery,
        epoch: 0,
        attempt: Some(AttemptRecord {
            number: 1,
            send_id: SendId::generate(),
            trigger: Trigger::Test,
            started_at: UnixMillis::now(),
            duration_us: 1_500,
            first_byte_us: Some(1_000),
            held_ms: 0,
            held_reason: None,
            late_ms: None,
            url: "https://example.com/hook".into(),
            status_code: Some(500),
            outcome: Outcome::HttpStatus,
            error: None,
            request_headers: HeaderList::of([("x", String::from_utf8_lossy(&request.payload))]),
            response_headers: HeaderList::default(),
        }),
        status: DeliveryStatus::Failed,
        at: UnixMillis::now(),
        next_attempt_at: None,
        discard_reason: None,
        disable_endpoint: false,
        expires_at: call.task.expires_at,
        traceparent: None,
    };
    Member::new(&report, Bytes::from_static(b"oh no")).ok()
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
    let body: serde_json::Value = serde_json::from_str(first["request_headers"][0]["value"].as_str().unwrap()).unwrap();
    assert_eq!(body["event"], json!("magnet.viewed"));

    // The body may be empty, and every test call is a new event.
    let second = world.call(&tenant.key, "POST", &path, None).await.ok(200);
    assert_ne!(second["event_id"], first["event_id"]);

    world.post(&tenant.key, &path, json!({"event_type": "no.such"})).await.problem(422, "/event_type");
    world.post(&tenant.key, &path, json!({"type": "x"})).await.problem(422, "/type");
    stop.cancel();
    dispatcher.await.unwrap();
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
