//! Scheduled retries: none is early; each has the same bytes, a new signature and a record.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::{Answer, Deployment, Received, Receiver, Tenant, independent, instant};

/// Magnetite's schedule in seconds.
const SCHEDULE: [u64; 3] = [1, 2, 4];

async fn publish_lead(tenant: &Tenant) -> String {
    let metadata = json!({"organization_id": "o", "project_id": "p", "lead_id": "l"});
    tenant.publish(&json!({"type": "lead.failed", "data": {"why": "tool error"}, "metadata": metadata})).await
}

/// Prints how late each retry came, and fails if one is early. Delays count from the end of the previous attempt, which is not
/// before the receiver wrote its response.
fn check_gaps(requests: &[Received]) {
    for (pair, scheduled) in requests.windows(2).zip(SCHEDULE) {
        let scheduled = Duration::from_secs(scheduled);
        let waited = pair[1].arrived.duration_since(pair[0].answered);
        let late = waited.saturating_sub(scheduled);
        println!("retry after {scheduled:?}: came after {waited:?}, {late:?} late");
        assert!(waited >= scheduled, "a retry due after {scheduled:?} came after {waited:?}");
    }
}

/// Guarantee (Attempts and retries): Magnetite: 1, 2, 4 s with the same bytes.
#[tokio::test]
async fn three_retries_come_after_1_2_and_4_seconds_with_the_same_bytes() {
    let deployment = Deployment::start("retries").await;
    let tenant = deployment.tenant("magnetite").await;
    let receiver = Receiver::start().await;
    receiver.answer_next([
        Answer::status(500).body("first"),
        Answer::status(404),
        Answer::status(302).header("location", "/x"),
    ]);
    let endpoint = tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
    let event = publish_lead(&tenant).await;

    let requests = receiver.take(4).await;
    let delivery = tenant.wait_for_delivery(&event, "delivered").await;
    check_gaps(&requests);

    for (index, request) in requests.iter().enumerate() {
        assert_eq!(request.body, requests[0].body, "the same bytes each attempt");
        assert_eq!(request.target, "/", "redirects are not followed");
        assert_eq!(request.header("webhook-id"), event);
        assert_eq!(request.header("postrider-delivery"), delivery["id"].as_str().unwrap());
        assert_eq!(request.header("postrider-attempt"), (index + 1).to_string());
        request.check_fresh_timestamp();
        if let Some(before) = index.checked_sub(1).map(|before| &requests[before]) {
            let signed: u64 = request.header("webhook-timestamp").parse().expect("Unix seconds");
            assert!(instant::whole_second(before.answered_at) <= UNIX_EPOCH + Duration::from_secs(signed));
        }
        independent::check_with_crate(endpoint.secret(), request);
    }
    let signatures = |name: &str| requests.iter().map(|r| r.header(name).to_owned()).collect::<Vec<_>>();
    let product = signatures("x-magnetite-signature");
    assert!(product.iter().all(|value| *value == product[0]), "over the body alone");
    assert_ne!(signatures("webhook-signature")[0], signatures("webhook-signature")[3], "signed afresh");
    check_attempts(&delivery, &[Some(500), Some(404), Some(302), Some(200)]);
    assert_eq!(delivery["attempts"][0]["response_excerpt"], json!("first"), "{delivery:#}");
}

/// Guarantee (The log, and repairs): Manual retry.
#[tokio::test]
async fn after_the_last_retry_a_delivery_has_failed_and_can_be_retried() {
    let deployment = Deployment::start("exhausted").await;
    let tenant = deployment.tenant("magnetite").await;
    let receiver = Receiver::start().await;
    receiver.answer_next([503, 503, 503, 503].map(Answer::status));
    tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
    let event = publish_lead(&tenant).await;

    let requests = receiver.take(4).await;
    let failed = tenant.wait_for_delivery(&event, "failed").await;
    check_gaps(&requests);
    check_attempts(&failed, &[Some(503); 4]);
    assert!(failed["next_attempt_at"].is_null(), "{failed:#}");

    let path = format!("/v1/deliveries/{}/retry", failed["id"].as_str().unwrap());
    let retried = tenant.post(&path, &json!({})).await;
    let again = receiver.next().await;
    assert_eq!(again.body, requests[0].body);
    assert_eq!(again.header("webhook-id"), event);
    let id = retried["id"].as_str().expect("the delivery that is attempted");
    assert_eq!(again.header("postrider-delivery"), id);
    let delivery = tenant.wait_for(&format!("/v1/deliveries/{id}"), |d| d["status"] == "delivered").await;
    assert_eq!(delivery["origin_id"], failed["id"], "{delivery:#}");
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_an_outcome_and_is_tried_again() {
    let deployment = Deployment::start("refused").await;
    let tenant = deployment.tenant("magnetite").await;
    // This address refuses connections.
    let port = postrider_testkit::ports::free_port();
    let endpoint = json!({
        "name": "gone", "url": format!("http://127.0.0.1:{port}/"), "event_types": ["*"], "retry_schedule_seconds": [1],
    });
    tenant.endpoint(endpoint).await;
    let event = publish_lead(&tenant).await;
    let failed = tenant.wait_for_delivery(&event, "failed").await;
    check_attempts(&failed, &[None, None]);
    for attempt in failed["attempts"].as_array().unwrap() {
        assert_eq!(attempt["outcome"], json!("connect_failed"), "{attempt:#}");
        assert!(attempt["error"].as_str().is_some_and(|error| !error.is_empty()), "{attempt:#}");
    }
}

/// Checks the record of every attempt, in order, with its timing.
fn check_attempts(delivery: &Value, codes: &[Option<u16>]) {
    let attempts = delivery["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), codes.len(), "{delivery:#}");
    let mut send_ids = std::collections::BTreeSet::new();
    for (index, (attempt, code)) in attempts.iter().zip(codes).enumerate() {
        assert_eq!(attempt["number"], json!(index + 1), "{attempt:#}");
        assert_eq!(attempt["trigger"], json!(if index == 0 { "first" } else { "retry" }), "{attempt:#}");
        assert_eq!(attempt.get("status_code").filter(|code| !code.is_null()), code.map(Value::from).as_ref());
        assert!(attempt["duration_ms"].as_f64().is_some(), "{attempt:#}");
        assert!(send_ids.insert(attempt["send_id"].to_string()), "a send_id twice: {delivery:#}");
        let late = &attempt["timing"]["late_ms"];
        assert!(if index == 0 { late.is_null() } else { late.is_u64() }, "{attempt:#}");
        let last = index + 1 == codes.len();
        assert_eq!(attempt["next_attempt_at"].is_null(), last, "{attempt:#}");
        if !last {
            assert!(attempt["next_attempt_at"].as_str() <= attempts[index + 1]["started_at"].as_str(), "{delivery:#}");
        }
    }
}
