//! Retry schedules: a long retry waits in the broker, not in a process.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::harness::{Answer, Deployment, Receiver, Stage, instant};

#[tokio::test]
async fn a_retry_after_30_minutes_is_parked_on_the_rung_of_30_minutes() {
    let mut deployment = Deployment::start("parked").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    receiver.answer_next([Answer::status(500)]);
    let endpoint = json!({
        "name": "hook", "url": receiver.url("/"), "event_types": ["*"], "retry_schedule_seconds": [1800],
    });
    tenant.endpoint(endpoint).await;
    let event = tenant.publish(&json!({"type": "report.ready", "data": {}})).await;
    let request = receiver.next().await;
    let pending = tenant.wait_for_first_attempt(&event).await;

    assert_eq!(pending["status"], json!("pending"), "{pending:#}");
    let (next, scheduled) = (instant::parse(&pending["next_attempt_at"]), Duration::from_secs(1_800));
    // Timestamps have whole milliseconds.
    assert!(next + Duration::from_millis(2) >= request.answered_at + scheduled, "{pending:#}");
    assert!(next <= SystemTime::now() + scheduled, "{pending:#}");
    deployment.wait_for_messages("postrider.delay.1800000", 1).await;

    // The broker keeps the retry: Postrider may stop.
    deployment.stop().await;
    assert_eq!(deployment.messages("postrider.delay.1800000").await, Some(1));
}

/// Guarantee (Attempts and retries): `standard`: 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h.
#[tokio::test]
async fn the_standard_schedule_parks_each_retry_and_fails_after_the_last() {
    let stage = Stage::of("standard").await;
    stage.endpoint(json!({})).await;
    // Standard Webhooks 1.0.0, "Retry schedule": 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
    let seconds = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    stage.check_schedule(r#"{"type":"report.ready","data":{}}"#, &seconds, 0.0).await;
}

/// Guarantee: as `retry_schedule::the_standard_schedule_parks_each_retry_and_fails_after_the_last`.
#[tokio::test]
async fn the_standard_schedule_parks_its_first_retry_for_5_seconds() {
    let deployment = Deployment::start("five-seconds").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    receiver.answer_next([Answer::status(500)]);
    tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
    let event = tenant.publish(&json!({"type": "report.ready", "data": {}})).await;
    let requests = receiver.take(2).await;
    let waited = requests[1].arrived.duration_since(requests[0].answered);
    println!("retry after 5s: came after {waited:?}");
    assert!(waited >= Duration::from_secs(5), "{waited:?}");
    tenant.wait_for_delivery(&event, "delivered").await;
}
