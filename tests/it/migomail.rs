//! Migomail's promises.

use serde_json::json;

use crate::harness::{Stage, independent};

const SUBSCRIBER: &str = r#"{"email":"jane@example.com","name":"Jane Smith","list_id":"lst_98c2f"}"#;

/// The documentation's events; it shows the data of email.opened.
const TYPES: [&str; 12] = [
    "email.sent",
    "email.opened",
    "email.clicked",
    "email.bounced",
    "email.spam_reported",
    "email.unsubscribed",
    "subscriber.created",
    "subscriber.updated",
    "automation.triggered",
    "automation.completed",
    "campaign.sent",
    "campaign.paused",
];

fn event(event_type: &str, data: &str) -> String {
    format!(r#"{{"data":{data},"timestamp":"2025-01-15T14:22:31.987Z","type":"{event_type}"}}"#)
}

/// Guarantee (What deliveries look like): Migomail: catalog, envelope, timestamp, signature header and value, signed bytes.
#[tokio::test]
async fn each_type_arrives_as_migomails_documentation_says() {
    let stage = Stage::of("migomail").await;
    stage.check_catalog(TYPES).await;
    let endpoint = stage.endpoint(json!({})).await;
    let data = format!(
        concat!(
            r#"{{ "message_id":"msg_01j8x4","campaign_id":"cmp_8f2a1b","subscriber":{subscriber},"#,
            r#""ip_address":"203.0.113.42","user_agent":"Apple Mail/...","client":"Apple Mail","device":"iPhone", "n":1.0}}"#
        ),
        subscriber = SUBSCRIBER
    );
    let mut requests = Vec::new();
    for event_type in TYPES {
        let (id, request) = stage.deliver(&event(event_type, &data)).await;
        let timestamp = r#""timestamp":"2025-01-15T14:22:31Z""#;
        assert_eq!(request.text(), format!(r#"{{"event":"{event_type}",{timestamp},"id":"{id}","data":{data}}}"#));
        request.check_headers(&id, &[("x-migomail-signature", None)]);
        assert!(request.header("x-migomail-signature").starts_with("sha256="));
        requests.push(request);
    }
    independent::check_all("migomail", endpoint.secret(), &requests).await;

    let test = stage.test_call(&endpoint, &json!({"event_type": "email.opened"})).await;
    let body: serde_json::Value = serde_json::from_slice(&test.body).unwrap();
    assert_eq!(body["data"]["device"], json!("iPhone"), "the sample of the documentation: {body}");
}

/// Guarantee (Attempts and retries): Migomail: 1, 5, 30 min.
#[tokio::test]
async fn migomail_retries_every_failure_after_1_5_and_30_minutes() {
    let stage = Stage::of("migomail").await;
    stage.endpoint(json!({})).await;
    let event = event("campaign.sent", "{}");
    stage.check_schedule(&event, &[60, 300, 1800], 0.0).await;
    let expected = [(204, "delivered"), (301, "pending"), (400, "pending"), (404, "pending"), (500, "pending")];
    stage.check_statuses(&event, &expected).await;
}
