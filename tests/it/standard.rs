//! A `standard` event from publishing to the history, with everything that the receiver gets.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Deployment, Received, Receiver, independent};

/// Deliberately unusual: whitespace, number forms, order, escapes and a repeated name must arrive unchanged.
const DATA: &str = r#"{ "z":1.50, "a":12345678901234567890, "e":1E2, "text":"Zo\u00eb ☃ \/", "z":null }"#;

/// Guarantee (What deliveries look like): `standard`: Standard Webhooks 1.0.0.
///
/// Guarantee (The log, and repairs): Request, response and timing of every attempt are on record, credentials masked.
#[tokio::test]
async fn a_standard_event_arrives_signed_and_is_on_record() {
    let deployment = Deployment::start("standard").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    let endpoint = tenant
        .endpoint(json!({
            "name": "hook", "url": receiver.url("/hook?team=7"), "event_types": ["user.*"],
            "headers": {"X-Team": "blue"},
        }))
        .await;
    let secret = endpoint.secret();
    assert!(secret.starts_with("whsec_"), "a made secret");

    let event = tenant
        .publish_text(&format!(
            r#"{{"type":"user.created","timestamp":"2026-01-02T03:04:05.678Z","data":{DATA},"metadata":{{"not":"sent"}}}}"#
        ))
        .await;
    let request = receiver.next().await;
    let delivery = tenant.wait_for_delivery(&event, "delivered").await;

    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/hook?team=7"));
    let expected = format!(r#"{{"type":"user.created","timestamp":"2026-01-02T03:04:05.678Z","data":{DATA}}}"#);
    assert_eq!(request.text(), expected);

    request.check_headers(&event, &[("x-team", Some("blue"))]);
    assert_eq!(request.header("postrider-delivery"), delivery["id"].as_str().unwrap());
    assert_eq!(request.header("postrider-attempt"), "1");

    independent::check_with_crate(secret, &request);
    let signed = format!("{event}.{}.{expected}", request.header("webhook-timestamp"));
    let expected = format!("v1,{}", independent::python_hmac_base64_of_whsec(secret, signed.as_bytes()).await);
    assert_eq!(request.header("webhook-signature"), expected);

    check_record(&delivery, &request);
    check_event(&tenant.get(&format!("/v1/events/{event}")).await, &delivery);
}

fn check_record(delivery: &Value, request: &Received) {
    let attempts = delivery["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 1, "{delivery:#}");
    let attempt = &attempts[0];
    assert_eq!((&attempt["number"], &attempt["trigger"]), (&json!(1), &json!("first")), "{attempt:#}");
    assert_eq!((&attempt["outcome"], &attempt["status_code"]), (&json!("success"), &json!(200)), "{attempt:#}");
    assert!(attempt["send_id"].as_str().is_some_and(|id| id.starts_with("snd_")), "{attempt:#}");
    assert!(attempt["url"].as_str().is_some_and(|url| url.ends_with(&request.target)), "{attempt:#}");
    assert!(attempt["duration_ms"].as_f64().is_some_and(|ms| (0.0..5_000.0).contains(&ms)), "{attempt:#}");
    let first_byte = attempt["timing"]["first_byte_ms"].as_f64().expect("a first byte");
    assert!(first_byte <= attempt["duration_ms"].as_f64().unwrap(), "{attempt:#}");
    assert_eq!(delivery["body"], json!(request.text()), "rendered again, the same bytes");
    check_recorded_headers(attempt, request);
    assert!(attempt["started_at"].as_str() >= delivery["created_at"].as_str(), "{delivery:#}");
    assert!(attempt["next_attempt_at"].is_null(), "{attempt:#}");
    assert!(delivery["next_attempt_at"].is_null() && delivery["test"] == json!(false), "{delivery:#}");
}

/// Checks that every sent header is on record. Values of the endpoint's own headers may be credentials, so they are masked.
fn check_recorded_headers(attempt: &Value, request: &Received) {
    let recorded: BTreeMap<_, _> = attempt["request_headers"]
        .as_array()
        .expect("headers")
        .iter()
        .map(|header| (header["name"].as_str().expect("a name"), header["value"].as_str().expect("a value")))
        .collect();
    for (name, value) in &recorded {
        let sent = request.header(name);
        assert_eq!(*value, if *name == "X-Team" { "***" } else { sent }, "{name}");
        assert!(request.headers.iter().any(|(sent, _)| sent == name), "{name} is spelled as it was sent");
    }
    for name in request.header_names_but(&["accept", "accept-encoding", "content-length", "host"]) {
        assert!(
            recorded.keys().any(|recorded| recorded.eq_ignore_ascii_case(&name)),
            "{name} is not on record: {attempt:#}"
        );
    }
}

fn check_event(event: &Value, delivery: &Value) {
    let listed = event["deliveries"].as_array().expect("deliveries of the event");
    assert_eq!(listed.len(), 1, "{event:#}");
    assert_eq!(listed[0]["id"], delivery["id"]);
    assert_eq!(event["type"], json!("user.created"));
}

/// Guarantee (Publishing): An idempotency key makes one event; a batch of 1,000 has a result for each.
#[tokio::test]
async fn an_event_published_twice_under_one_key_is_delivered_once() {
    let deployment = Deployment::start("idempotency").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;

    let event = json!({"type": "order.paid", "data": {"order": 1}});
    let first = tenant.publish_with_key(&event, "order-1").await;
    tenant.wait_for_delivery(first["id"].as_str().expect("an id"), "delivered").await;
    let second = tenant.publish_with_key(&event, "order-1").await;
    assert_eq!((&second["id"], &second["duplicate"]), (&first["id"], &json!(true)), "{second}");

    // When the event of the later batch has arrived, a delivery of the repeat would have arrived, too.
    let batch = json!({"events": [{"type": "order.sent", "data": {}}, {"type": "bad type!", "data": {}}]});
    let answer = tenant.post("/v1/publish/batch", &batch).await;
    let results = answer["results"].as_array().expect("results");
    let pointer = &results[1]["error"]["errors"][0]["pointer"];
    assert!(pointer.as_str().is_some_and(|pointer| pointer.ends_with("/type")), "{answer:#}");
    tenant.wait_for_delivery(results[0]["id"].as_str().expect("an id"), "delivered").await;

    let ids: Vec<_> = receiver.all().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, [first["id"].as_str().unwrap(), results[0]["id"].as_str().unwrap()]);
}

/// Guarantee: as `standard::an_event_published_twice_under_one_key_is_delivered_once`.
#[tokio::test]
async fn a_batch_of_1000_events_has_a_result_for_each_and_1001_are_refused() {
    let deployment = Deployment::start("batch").await;
    let tenant = deployment.tenant("standard").await;
    let event =
        |n: usize| json!({"type": if n % 100 == 7 { "bad type!" } else { "a.b" }, "data": n, "id": format!("e-{n}")});
    let batch = json!({"events": (0..1_000).map(event).collect::<Vec<_>>()});
    let answer = tenant.post("/v1/publish/batch", &batch).await;
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), 1_000);
    for (n, result) in results.iter().enumerate() {
        match n % 100 {
            7 => assert_eq!(result["error"]["errors"][0]["pointer"], "/type", "{result:#}"),
            _ => assert_eq!(result["id"], format!("e-{n}"), "{result:#}"),
        }
    }
    tenant.wait_for("/v1/events/e-999", |event| event["type"] == "a.b").await;
    let one_more = json!({"events": (0..1_001).map(event).collect::<Vec<_>>()});
    let (status, problem) = tenant.try_post("/v1/publish/batch", &one_more).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/events")), "{problem:#}");
}
