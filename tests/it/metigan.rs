//! Metigan's promises.

use serde_json::json;

use crate::harness::{Answer, Received, Stage, independent};

const TYPES: [&str; 5] = ["email.delivered", "email.opened", "email.clicked", "email.bounced", "email.complained"];

fn event(event_type: &str, data: &str, more: &str) -> String {
    format!(r#"{{"type":"{event_type}","timestamp":"2025-03-01T08:09:10.011Z","data":{data}{more}}}"#)
}

/// `t` and `v1` of the product's header.
fn parts(request: &Received) -> (&str, &str) {
    let value = request.header("x-webhook-signature");
    value.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).unwrap_or_else(|| panic!("{value}"))
}

/// Guarantee (What deliveries look like): Metigan: catalog, envelope and signature; other types are accepted; `messageId` is the event's, at the top
/// level.
#[tokio::test]
async fn each_type_arrives_as_metigans_documentation_says() {
    let stage = Stage::of("metigan").await;
    stage.check_catalog(TYPES).await;
    let endpoint = stage.endpoint(json!({})).await;
    let data = r#"{ "messageId":"<em-1@example.com>", "recipient":"jane@example.com", "bounceType":"hard" }"#;
    let mut requests = Vec::new();
    for event_type in TYPES.into_iter().chain(["contact.created"]) {
        let (id, request) = stage.deliver(&event(event_type, data, "")).await;
        // The deduplication key at the top level is the event's id. The e-mail's own id stays in `data`.
        let timestamp = r#""timestamp":"2025-03-01T08:09:10.011Z""#;
        assert_eq!(
            request.text(),
            format!(r#"{{"event":"{event_type}",{timestamp},"messageId":"{id}","data":{data}}}"#)
        );
        request.check_headers(&id, &[("x-webhook-signature", None)]);
        assert_eq!(parts(&request).0, request.header("webhook-timestamp"), "the attempt's time");
        requests.push(request);
    }
    let (_, named) = stage.deliver(&event("email.opened", "{}", r#","metadata":{"messageId":"msg-7"}"#)).await;
    assert!(named.text().contains(r#""messageId":"msg-7","data":{}"#), "{}", named.text());
    requests.push(named);
    independent::check_all("metigan", endpoint.secret(), &requests).await;

    let test = stage.test_call(&endpoint, &json!({"event_type": "email.bounced"})).await;
    let body: serde_json::Value = serde_json::from_slice(&test.body).unwrap();
    assert_eq!((&body["event"], &body["data"]["bounceType"]), (&json!("email.bounced"), &json!("hard")), "{body}");
}

/// Guarantee (Attempts and retries): Metigan, Mumara: the default schedule.
#[tokio::test]
async fn metigan_retries_every_failure_by_the_platforms_schedule() {
    let stage = Stage::of("metigan").await;
    stage.endpoint(json!({})).await;
    let event = event("email.opened", "{}", "");
    stage.check_schedule(&event, &[10, 60, 300, 1_800, 7_200, 18_000, 36_000], 0.1).await;
    let expected = [(200, "delivered"), (307, "pending"), (401, "pending"), (410, "pending"), (502, "pending")];
    stage.check_statuses(&event, &expected).await;
}

/// Guarantee (What deliveries look like): Each attempt is signed with its own time.
#[tokio::test]
async fn every_attempt_of_metigan_is_signed_with_its_own_time() {
    let stage = Stage::of("metigan").await;
    let endpoint = stage.endpoint(json!({"retry_schedule_seconds": [2]})).await;
    stage.receiver.answer_next([Answer::status(500)]);
    stage.tenant.publish_text(&event("email.clicked", "{}", "")).await;
    let requests = stage.receiver.take(2).await;
    let times: Vec<u64> = requests.iter().map(|request| parts(request).0.parse().expect("Unix seconds")).collect();
    assert!(times[1] >= times[0] + 2, "{times:?}");
    assert_ne!(parts(&requests[0]).1, parts(&requests[1]).1);
    assert_eq!(requests[0].body, requests[1].body);
    independent::check_all("metigan", endpoint.secret(), &requests).await;
}
