//! `Retry-After`: both forms are honoured, up to the profile's maximum.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::harness::{Answer, Deployment, Receiver, Tenant, instant};

async fn publish_lead(tenant: &Tenant) -> String {
    let metadata = json!({"organization_id": "o", "project_id": "p", "lead_id": "l"});
    tenant.publish(&json!({"type": "lead.created", "data": {}, "metadata": metadata})).await
}

/// Guarantee (Attempts and retries): `Retry-After`, in seconds or as a date, up to the profile's maximum.
#[tokio::test]
async fn seconds_and_dates_put_the_retry_off() {
    let deployment = Deployment::start("retry-after").await;
    let tenant = deployment.tenant("magnetite").await;
    let receiver = Receiver::start().await;
    // The first retry would come after 1 s, the second after 2 s.
    let date = SystemTime::now() + Duration::from_secs(12);
    receiver.answer_next([
        Answer::status(503).header("retry-after", "3"),
        Answer::status(429).header("retry-after", &instant::http_date(date)),
    ]);
    tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
    let event = publish_lead(&tenant).await;

    let requests = receiver.take(3).await;
    let waited = requests[1].arrived.duration_since(requests[0].answered);
    println!("Retry-After: 3: came after {waited:?}");
    assert!(waited >= Duration::from_secs(3), "{waited:?}");

    // A date has whole seconds: it means the start of its second.
    let due = instant::whole_second(date);
    let early = due.duration_since(requests[2].arrived_at).unwrap_or_default();
    println!("Retry-After as a date: {:?} after it", requests[2].arrived_at.duration_since(due).unwrap_or_default());
    // Each process truncates the time to milliseconds, so the difference may be a millisecond.
    assert!(early <= Duration::from_millis(1), "{early:?} before the date");
    let waited = requests[2].arrived.duration_since(requests[1].answered);
    assert!(waited > Duration::from_secs(2), "later than the schedule alone: {waited:?}");
    tenant.wait_for_delivery(&event, "delivered").await;
}

/// Guarantee: as `retry_after::seconds_and_dates_put_the_retry_off`.
#[tokio::test]
async fn a_longer_one_is_cut_to_the_profiles_longest() {
    let deployment = Deployment::start("retry-after-cap").await;
    // Magnetite honours 30 seconds at most, and a rung has exactly this delay; `standard` honours the hour.
    for (profile, honoured) in [("magnetite", 30_u64), ("standard", 3_600)] {
        let tenant = deployment.tenant(profile).await;
        let receiver = Receiver::start().await;
        receiver.answer_at("/", Answer::status(503).header("retry-after", "3600"));
        tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
        let event = publish_lead(&tenant).await;
        let request = receiver.next().await;
        let pending = tenant.wait_for_first_attempt(&event).await;
        assert_eq!(pending["status"], json!("pending"), "{pending:#}");
        let next = instant::parse(&pending["attempts"][0]["next_attempt_at"]);
        let honoured = Duration::from_secs(honoured);
        // Timestamps have whole milliseconds.
        assert!(next + Duration::from_millis(2) >= request.answered_at + honoured, "{profile}: {pending:#}");
        assert!(next <= SystemTime::now() + honoured, "{profile}: {pending:#}");
        if profile == "magnetite" {
            deployment.wait_for_messages("postrider.delay.30000", 1).await;
        }
    }
}
