//! Migma's promises. (`reserialising_verifiers.rs` tests its verifiers with hostile data.)

use serde_json::json;

use crate::harness::{Stage, independent};

/// The documented events, with the documented data or similar data.
const EVENTS: [(&str, &str); 15] = [
    ("email.generation.started", r#"{"conversationId":"conv_xyz789","projectId":"proj_abc123"}"#),
    (
        "email.generation.completed",
        concat!(
            r#"{"conversationId":"conv_xyz789","projectId":"proj_abc123","#,
            r#""subject":"Welcome to Our Newsletter","generationTime":3245,"wordCount":428}"#
        ),
    ),
    ("email.generation.failed", r#"{"conversationId":"conv_xyz789","error":"no answer"}"#),
    ("project.import.started", r#"{"projectId":"proj_abc123"}"#),
    ("project.import.processing", r#"{"projectId":"proj_abc123"}"#),
    (
        "project.import.completed",
        r#"{"projectId":"proj_abc123","name":"My Brand","url":"https://mybrand.com","importTime":45230}"#,
    ),
    ("project.import.failed", r#"{"projectId":"proj_abc123","error":"not found"}"#),
    (
        "export.completed",
        r#"{"conversationId":"conv_xyz789","provider":"mailchimp","campaignId":"mc_campaign_123","exportTime":2340}"#,
    ),
    ("export.failed", r#"{"conversationId":"conv_xyz789","provider":"hubspot","error":"refused"}"#),
    ("subscriber.added", r#"{"email":"jane@example.com","projectId":"proj_abc123","tags":["newsletter","customer"]}"#),
    ("subscriber.updated", r#"{"email":"jane@example.com","tags":[]}"#),
    ("subscriber.unsubscribed", r#"{"email":"jane@example.com"}"#),
    ("subscriber.bulk_imported", r#"{"imported":250}"#),
    ("api_key.created", r#"{"name":"Zoë ☃ 😀"}"#),
    ("api_key.revoked", r#"{"name":"Zoë ☃ 😀"}"#),
];

const METADATA: &str = r#"{"projectId":"proj_abc123","conversationId":"conv_xyz789"}"#;

fn event(event_type: &str, data: &str) -> String {
    format!(r#"{{"type":"{event_type}","timestamp":"2025-01-30T12:34:56.789Z","metadata":{METADATA},"data":{data}}}"#)
}

/// Guarantee (What deliveries look like): Migma: catalog, envelope, timestamp, signature header and value, signed bytes.
#[tokio::test]
async fn each_type_arrives_as_migmas_documentation_says() {
    let stage = Stage::of("migma").await;
    stage.check_catalog(EVENTS.map(|(event_type, _)| event_type)).await;
    let plain = stage.endpoint(json!({})).await;
    let mut requests = Vec::new();
    for (event_type, data) in EVENTS {
        let (id, request) = stage.deliver(&event(event_type, data)).await;
        let timestamp = r#""timestamp":"2025-01-30T12:34:56.789Z""#;
        assert_eq!(
            request.text(),
            format!(r#"{{"id":"{id}","type":"{event_type}",{timestamp},"data":{data},"metadata":{METADATA}}}"#)
        );
        request.check_headers(&id, &[("x-migma-signature", None)]);
        let signature = request.header("x-migma-signature");
        let hex = signature.len() == 64 && signature.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        assert!(hex, "64 lowercase hex, no prefix: {signature}");
        requests.push(request);
    }
    // Python's verifier escapes non-ASCII characters: the last two are for endpoints with ascii_json.
    independent::check_all("migma", plain.secret(), &requests[..13]).await;
    let cases: Vec<_> = requests[13..].iter().map(|request| independent::Case::of(plain.secret(), request)).collect();
    assert_eq!(independent::Language::JavaScript.verify("migma", &cases).await, [true, true]);
}

/// Guarantee (Attempts and retries): Migma: 1, 5, 15 min; of 4xx only 408 and 429.
#[tokio::test]
async fn migma_retries_after_1_5_15_minutes_and_of_4xx_only_408_and_429() {
    let stage = Stage::of("migma").await;
    stage.endpoint(json!({})).await;
    let event = event("export.failed", "{}");
    stage.check_schedule(&event, &[60, 300, 900], 0.0).await;
    let expected = [
        (200, "delivered"),
        (299, "delivered"),
        (302, "pending"),
        (400, "failed"),
        (404, "failed"),
        (408, "pending"),
        (410, "failed"),
        (429, "pending"),
        (499, "failed"),
        (500, "pending"),
        (503, "pending"),
    ];
    stage.check_statuses(&event, &expected).await;
}

/// Guarantee (What deliveries look like): Migma's test event is the documented one, with a fresh id.
#[tokio::test]
async fn migmas_test_event_is_the_documented_one_under_a_fresh_id() {
    let stage = Stage::of("migma").await;
    let endpoint = stage.endpoint(json!({"event_types": ["export.*"]})).await;
    let first = stage.test_call(&endpoint, &json!({})).await;
    assert_eq!(
        first.text(),
        concat!(
            r#"{"id":"evt_test_123","type":"email.generation.completed","timestamp":"2025-01-30T12:00:00.000Z","#,
            r#""data":{"conversationId":"test_conv","projectId":"test_proj","subject":"Test Email"},"#,
            r#""metadata":{"test":true}}"#
        )
    );
    // The second test call has another `webhook-id`, so a receiver that deduplicates by it accepts the call.
    let second = stage.test_call(&endpoint, &json!({"event_type": "email.generation.completed"})).await;
    assert_eq!(second.body, first.body);
    assert_ne!(second.header("webhook-id"), first.header("webhook-id"));
    independent::check_all("migma", endpoint.secret(), &[first, second]).await;

    let other = stage.test_call(&endpoint, &json!({"event_type": "export.failed"})).await;
    let body: serde_json::Value = serde_json::from_slice(&other.body).unwrap();
    assert_eq!(body["id"], json!(other.header("webhook-id")), "others carry their own id: {body}");
}

/// Guarantee (What deliveries look like): Events of Migma's dashboard do not fire, except those of API keys.
#[tokio::test]
async fn events_of_migmas_dashboard_do_not_fire_except_those_of_api_keys() {
    let stage = Stage::of("migma").await;
    stage.endpoint(json!({})).await;
    let of = |event_type: &str, origin: &str| json!({"type": event_type, "origin": origin, "data": {}});
    let silent = stage.tenant.publish(&of("subscriber.added", "dashboard")).await;
    let mut fired = Vec::new();
    for event in [
        of("api_key.created", "dashboard"),
        of("api_key.revoked", "dashboard"),
        of("subscriber.added", "api"),
        json!({"type": "subscriber.updated", "data": {}}),
    ] {
        fired.push(stage.tenant.publish(&event).await);
    }
    for event in &fired {
        stage.tenant.wait_for_delivery(event, "delivered").await;
    }
    // The silent event was decided before the others, so it is on record. No endpoint got it.
    let recorded = stage.tenant.get(&format!("/v1/events/{silent}")).await;
    assert_eq!(recorded["deliveries"], json!([]), "{recorded:#}");
    let came: Vec<_> = stage.receiver.all().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(came.len(), fired.len());
    assert!(fired.iter().all(|event| came.contains(event)), "{came:?}");
}
