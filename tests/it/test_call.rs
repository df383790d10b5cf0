//! The test call: an immediate attempt, also while the endpoint is inactive.

use serde_json::json;

use crate::harness::{Answer, Deployment, Receiver, independent};

/// Guarantee (Who gets an event): A test call of a chosen type works, even while inactive.
#[tokio::test]
async fn a_test_call_sends_the_catalogs_sample_and_answers_with_the_attempt() {
    let deployment = Deployment::start("test-call").await;
    let tenant = deployment.tenant("magnetite").await;
    let receiver = Receiver::start().await;
    receiver.answer_next([Answer::status(200), Answer::status(500)]);
    let endpoint = tenant
        .endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["lead.*"], "status": "inactive"}))
        .await;
    let path = format!("/v1/endpoints/{}/test", endpoint.id());

    let (status, attempt) = tenant.try_post(&path, &json!({"event_type": "magnet.viewed"})).await;
    assert_eq!(status, 200, "{attempt:#}");
    assert_eq!((&attempt["outcome"], &attempt["trigger"]), (&json!("success"), &json!("test")), "{attempt:#}");
    let request = receiver.next().await;
    assert_eq!(request.header("x-magnetite-event"), "magnet.viewed");
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["data"]["viewer_ip"], json!("203.0.113.42"), "the sample of the documentation");
    independent::check_with_crate(endpoint.secret(), &request);

    // A failed test call also returns its result and is not retried. Each test call has its own id.
    let (status, attempt) = tenant.try_post(&path, &json!({})).await;
    assert_eq!((status, &attempt["outcome"]), (200, &json!("http_status")), "{attempt:#}");
    let second = receiver.next().await;
    assert_ne!(second.header("webhook-id"), request.header("webhook-id"));

    let (status, problem) = tenant.try_post(&path, &json!({"event_type": "no.such"})).await;
    assert_eq!(status, 422, "{problem:#}");
}
