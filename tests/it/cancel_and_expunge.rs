//! Cancelling and expunging end to end: a pending delivery ends at once and is not sent again, and the history says why.

use serde_json::{Value, json};

use crate::harness::{Answer, Deployment, Receiver, Tenant};

/// Creates an endpoint whose first attempt fails. The retry is due after 20 seconds, so that a test can withdraw the delivery
/// first.
async fn failing_once(tenant: &Tenant, receiver: &Receiver) {
    receiver.answer_next([Answer::status(500)]);
    let retries = json!({"retry_schedule_seconds": [20]});
    let mut endpoint = json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]});
    endpoint.as_object_mut().unwrap().extend(retries.as_object().unwrap().clone());
    tenant.endpoint(endpoint).await;
}

/// Waits until the retry was due and dropped, and checks that the next request is for another event.
async fn pass_the_retry(deployment: &Deployment, tenant: &Tenant, receiver: &Receiver) {
    deployment.wait_for_metric("postrider_dispatcher_stale_copies_total", 1).await;
    let marker = tenant.publish(&json!({"type": "a.marker", "data": {}})).await;
    assert_eq!(receiver.next().await.header("webhook-id"), marker, "nothing came in between");
}

/// Guarantee (The log, and repairs): Cancel.
#[tokio::test]
async fn a_cancelled_delivery_is_never_attempted_again() {
    let deployment = Deployment::start("cancel").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    failing_once(&tenant, &receiver).await;
    let event = tenant.publish(&json!({"type": "a.b", "data": {"n": 1}})).await;
    receiver.next().await;
    let pending = tenant.wait_for_first_attempt(&event).await;
    let path = format!("/v1/deliveries/{}", pending["id"].as_str().unwrap());

    let other = deployment.tenant("standard").await;
    assert_eq!(other.try_post(&format!("{path}/cancel"), &json!({})).await.0, 404);
    let answer = tenant.post(&format!("{path}/cancel"), &json!({})).await;
    assert_eq!(answer["id"], pending["id"]);
    let cancelled = tenant.get(&path).await;
    assert_eq!(cancelled["status"], json!("cancelled"), "at once: {cancelled:#}");
    assert!(cancelled["next_attempt_at"].is_null() && cancelled["finished_at"].is_string(), "{cancelled:#}");

    pass_the_retry(&deployment, &tenant, &receiver).await;
    let still = tenant.get(&path).await;
    assert_eq!((&still["status"], &still["attempt_count"]), (&json!("cancelled"), &json!(1)), "{still:#}");
    let (status, problem) = tenant.try_post(&format!("{path}/cancel"), &json!({})).await;
    assert_eq!(status, 409, "{problem:#}");
    assert_eq!(problem["detail"], json!("the delivery is cancelled; only a pending one can be cancelled"));

    // An ended delivery can be retried as a new delivery, which is not cancelled.
    let again = tenant.post(&format!("{path}/retry"), &json!({})).await;
    assert_eq!(receiver.next().await.header("postrider-delivery"), again["id"].as_str().unwrap());
}

/// Guarantee (The log, and repairs): Expunge.
#[tokio::test]
async fn an_expunged_payload_is_gone_and_nothing_more_of_it_is_delivered() {
    let deployment = Deployment::start("expunge").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    failing_once(&tenant, &receiver).await;
    let event = tenant.publish(&json!({"type": "a.b", "data": {"secret": "x"}, "metadata": {"also": "y"}})).await;
    receiver.next().await;
    let pending = tenant.wait_for_first_attempt(&event).await;
    assert!(pending["body"].as_str().is_some_and(|body| body.contains("secret")), "{pending:#}");
    let (path, payload) =
        (format!("/v1/deliveries/{}", pending["id"].as_str().unwrap()), format!("/v1/events/{event}/payload"));

    let other = deployment.tenant("standard").await;
    assert_eq!(other.send(reqwest::Method::DELETE, &payload, None, &[]).await.0, 404);
    tenant.delete(&payload).await;
    let log = tenant.get(&format!("/v1/events/{event}")).await;
    assert!(log["data"].is_null() && log.get("metadata").is_none(), "{log:#}");
    let discarded = tenant.get(&path).await;
    let ended = (&discarded["status"], &discarded["discard_reason"], &discarded["body"]);
    assert_eq!(ended, (&json!("discarded"), &json!("expunged"), &Value::Null), "{discarded:#}");

    pass_the_retry(&deployment, &tenant, &receiver).await;
    assert_eq!(tenant.get(&path).await["attempt_count"], json!(1));
    let (status, problem) = tenant.try_post(&format!("{path}/retry"), &json!({})).await;
    assert_eq!((status, &problem["detail"]), (409, &json!("the event's payload was expunged")));
    tenant.delete(&payload).await;
}
