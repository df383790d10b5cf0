//! Mumara's promises.

use serde_json::{Value, json};

use crate::harness::{Stage, independent};

/// The types that customers select, and their wire names.
const EVENTS: [(&str, &str); 10] = [
    ("Received", "received"),
    ("Delivered", "delivered"),
    ("Bounced", "bounced"),
    ("Rejected", "rejected"),
    ("Delayed", "delayed"),
    ("Newsletter Opened", "opened"),
    ("Newsletter Clicked", "clicked"),
    ("Transactional Opened", "opened"),
    ("Transactional Clicked", "clicked"),
    ("Complaints", "complaint"),
];

/// The documented payload without the members that Postrider adds.
const DATA: &str = concat!(
    r#""email":"recipient@example.com","campaign_id":123,"broadcast_name":"January Newsletter","#,
    r#""message_id":"abc123xyz""#
);
const ATTRIBUTES: &str =
    r#"{"sending_domain":"mail.example.com","sending_node":"smtp1","bridge":"b1","dedicated_ip":"203.0.113.7"}"#;

fn event(event_type: &str, data: &str) -> String {
    format!(
        r#"{{"type":"{event_type}","timestamp":"2024-01-15T10:30:00Z","attributes":{ATTRIBUTES},"data":{{{data}}}}}"#
    )
}

/// Guarantee (What deliveries look like): Mumara: catalog and envelope, flat, under wire names.
#[tokio::test]
async fn each_type_of_mumaras_catalog_arrives_flat_under_its_wire_name() {
    let stage = Stage::of("mumara").await;
    stage.check_catalog(EVENTS.map(|(event_type, _)| event_type)).await;
    let endpoint = stage.endpoint(json!({})).await;
    let mut requests = Vec::new();
    for (event_type, wire_name) in EVENTS {
        let (id, request) = stage.deliver(&event(event_type, DATA)).await;
        let head = format!(r#""event":"{wire_name}","timestamp":"2024-01-15T10:30:00Z""#);
        let tail = r#""sending_domain":"mail.example.com","sending_node":"smtp1""#;
        assert_eq!(request.text(), format!("{{{head},{DATA},{tail}}}"));
        request.check_headers(&id, &[("x-mumara-token", Some(endpoint.secret()))]);
        requests.push(request);
    }
    independent::check_all("mumara", endpoint.secret(), &requests).await;
    // A test call sends the documentation's "Sample payload", unchanged.
    let test = stage.test_call(&endpoint, &json!({"event_type": "Delivered"})).await;
    let body: Value = serde_json::from_slice(&test.body).unwrap();
    let documented = json!({
        "event": "delivered", "timestamp": body["timestamp"], "email": "recipient@example.com", "campaign_id": 123,
        "broadcast_name": "January Newsletter", "sending_domain": "mail.example.com", "sending_node": "smtp1",
        "message_id": "abc123xyz",
    });
    assert_eq!(body, documented);
}

/// Guarantee (What deliveries look like): A subscription selects `Newsletter Opened`; the wire says `opened`.
#[tokio::test]
async fn newsletter_opened_is_selected_by_its_own_name_and_opened_on_the_wire() {
    let stage = Stage::of("mumara").await;
    stage.endpoint(json!({"event_types": ["Newsletter Opened"]})).await;
    let transactional = stage.tenant.publish_text(&event("Transactional Opened", DATA)).await;
    let (id, request) = stage.deliver(&event("Newsletter Opened", DATA)).await;
    stage.tenant.wait_for_delivery(&id, "delivered").await;
    assert!(request.text().starts_with(r#"{"event":"opened","#), "{}", request.text());
    let other = stage.tenant.get(&format!("/v1/events/{transactional}")).await;
    assert_eq!(other["deliveries"], json!([]), "opened on the wire, too, but not selected: {other:#}");
    let (status, problem) =
        stage.tenant.try_post("/v1/endpoints", &stage.document(json!({"event_types": ["opened"]}))).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/event_types/0")), "{problem:#}");
}

/// Guarantee: as `magnetite::a_member_that_magnetites_envelope_lacks_is_refused_by_name`.
#[tokio::test]
async fn the_flat_payload_keeps_the_producers_order_and_names_missing_members() {
    let stage = Stage::of("mumara").await;
    stage.endpoint(json!({})).await;
    let data =
        r#" "z" : 1.50, "message_id":"m", "event":"mine", "9":[ ], "sending_node":"own", "email":"e" , "a":null"#;
    let (_, request) = stage.deliver(&event("Complaints", data)).await;
    // Postrider's members come first and last. If a name is on both sides, the first one is kept.
    assert_eq!(
        request.text(),
        concat!(
            r#"{"event":"complaint","timestamp":"2024-01-15T10:30:00Z","z":1.50,"message_id":"m","9":[ ],"#,
            r#""sending_node":"own","email":"e","a":null,"sending_domain":"mail.example.com"}"#
        )
    );
    let bare = json!({"type": "Delivered", "data": {"email": "e", "message_id": "m"}});
    stage.tenant.publish(&bare).await;
    let bare = stage.receiver.next().await;
    assert!(bare.text().ends_with(r#""email":"e","message_id":"m"}"#), "without attributes nothing is added");

    let lacking = json!({"type": "Delivered", "data": {"email": 7}});
    let (status, problem) = stage.tenant.try_post("/v1/publish", &lacking).await;
    let pointers: Vec<_> = problem["errors"].as_array().into_iter().flatten().map(|error| &error["pointer"]).collect();
    assert_eq!((status, pointers), (422, vec![&json!("/data/email"), &json!("/data/message_id")]), "{problem:#}");
}

/// Guarantee (What deliveries look like): Mumara's token is in the header that the endpoint names.
#[tokio::test]
async fn the_secret_token_stands_in_the_header_that_the_endpoint_names() {
    let stage = Stage::of("mumara").await;
    let members =
        json!({"token_header": "X-Team-Token", "secret": "s3cret of the customer", "headers": {"X-Team": "7"}});
    let endpoint = stage.endpoint(members).await;
    let (id, request) = stage.deliver(&event("Bounced", DATA)).await;
    request.check_headers(&id, &[("x-team-token", Some("s3cret of the customer")), ("x-team", Some("7"))]);
    independent::check_with_crate_bytes(b"s3cret of the customer", &request);

    // The token is a secret: neither the history nor the endpoint shows it.
    let delivery = stage.tenant.wait_for_delivery(&id, "delivered").await;
    let shown = stage.tenant.get(&format!("/v1/endpoints/{}", endpoint.id())).await;
    for document in [&delivery, &shown] {
        assert!(!document.to_string().contains("s3cret"), "{document:#}");
    }
    let masked = json!({"name": "X-Team-Token", "value": "***"});
    assert!(delivery["attempts"][0]["request_headers"].as_array().unwrap().contains(&masked), "{delivery:#}");

    // From now on only the new token is sent.
    let path = format!("/v1/endpoints/{}/rotate-secret", endpoint.id());
    let rotated = stage.tenant.post(&path, &json!({})).await;
    stage.deployment.configuration_in_force().await;
    let (_, request) = stage.deliver(&event("Bounced", DATA)).await;
    assert_eq!(request.header("x-team-token"), rotated["secret"].as_str().expect("shown this once"));

    let unsendable = stage.document(json!({"secret": "pässwort"}));
    let (status, problem) = stage.tenant.try_post("/v1/endpoints", &unsendable).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/secret")), "{problem:#}");
}

/// Guarantee (Who gets an event): No endpoint over the tenant's limit.
#[tokio::test]
async fn no_endpoint_is_made_beyond_the_limit_and_the_existing_ones_go_on() {
    let stage = Stage::of("mumara").await;
    stage.endpoint(json!({})).await;
    stage.endpoint(json!({})).await;
    stage.deployment.limit_endpoints(&stage.tenant, 1).await;

    let (status, problem) = stage.tenant.try_post("/v1/endpoints", &stage.document(json!({}))).await;
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert_eq!(status, 409, "{problem:#}");
    assert!(detail.contains('2') && detail.contains('1'), "usage and limit: {problem:#}");
    let list = stage.tenant.get("/v1/endpoints").await;
    assert_eq!((&list["usage"], &list["limit"]), (&json!(2), &json!(1)), "{list:#}");

    let event = stage.tenant.publish_text(&event("Delayed", DATA)).await;
    let both = stage.receiver.take(2).await;
    assert!(both.iter().all(|request| request.header("webhook-id") == event));
}

/// Guarantee: as `test_call::a_test_call_sends_the_catalogs_sample_and_answers_with_the_attempt`.
#[tokio::test]
async fn an_inactive_endpoint_gets_nothing_but_its_test() {
    let stage = Stage::of("mumara").await;
    let inactive = stage.endpoint(json!({"status": "inactive", "url": stage.receiver.url("/inactive")})).await;
    stage.endpoint(json!({})).await;
    let (id, request) = stage.deliver(&event("Rejected", DATA)).await;
    assert_eq!(request.target, "/");
    stage.tenant.wait_for_delivery(&id, "delivered").await;
    let test = stage.test_call(&inactive, &json!({})).await;
    assert_eq!(test.target, "/inactive");
    assert!(test.text().starts_with(r#"{"event":"received","#), "{}", test.text());
}

/// Guarantee: as `metigan::metigan_retries_every_failure_by_the_platforms_schedule`.
#[tokio::test]
async fn mumara_retries_every_failure_by_the_platforms_schedule() {
    let stage = Stage::of("mumara").await;
    stage.endpoint(json!({})).await;
    let event = event("Delivered", DATA);
    stage.check_schedule(&event, &[10, 60, 300, 1_800, 7_200, 18_000, 36_000], 0.1).await;
    let expected = [(200, "delivered"), (302, "pending"), (403, "pending"), (429, "pending"), (500, "pending")];
    stage.check_statuses(&event, &expected).await;
}
