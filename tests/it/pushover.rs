//! Pushover: a customer's events on a phone. The stand-in responds as documented for Pushover's API.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Deployment, Received, Receiver, Stage, instant};

const USER_KEY: &str = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG";
const API_TOKEN: &str = "azGDORePK8gMaC0QOYAMyEEuzJnyUi";

/// A deployment with the stand-in as Pushover, and a tenant of Mumara.
async fn stage(name: &str) -> Stage {
    let stand_in = Receiver::start().await;
    let deployment = Deployment::start_with(name, &[("POSTRIDER_PUSHOVER_URL", &stand_in.url(""))]).await;
    let mut stage = Stage::on(deployment, "mumara").await;
    stage.receiver = stand_in;
    stage
}

/// Creates an endpoint of the channel and returns its document.
async fn endpoint(stage: &Stage, members: Value) -> Value {
    let made = stage.tenant.post("/v1/endpoints", &document(members)).await;
    stage.deployment.configuration_in_force().await;
    made
}

fn document(members: Value) -> Value {
    let mut endpoint = json!({"name": "phone", "channel": "pushover", "event_types": ["*"],
        "pushover": {"user_key": USER_KEY, "api_token": API_TOKEN, "sound": "Cash Register"}});
    for (name, value) in members.as_object().expect("members") {
        endpoint[name] = value.clone();
    }
    endpoint
}

fn taken() -> Answer {
    Answer::status(200).body(r#"{"status":1,"request":"647d2300-702c-4b38-8b2f-d56326ae460b"}"#)
}

fn refused(status: u16, why: &str) -> Answer {
    Answer::status(status).body(&json!({"status": 0, "errors": [why], "request": "5042853c"}).to_string())
}

fn bounced(data: Value) -> Value {
    let mut event = json!({"type": "Bounced", "timestamp": "2024-01-15T10:30:00Z", "data": {"email": "a@example.com",
        "message_id": "m1", "bounce_type": "hard"}, "attributes": {"sending_domain": "mail.example.com", "sending_node": "smtp1"}});
    for (name, value) in data.as_object().expect("members") {
        event["data"][name] = value.clone();
    }
    event
}

/// The fields of the form, in order.
fn form(request: &Received) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://form/?{}", request.text())).expect("a form");
    url.query_pairs().into_owned().collect()
}

fn field(request: &Received, name: &str) -> String {
    form(request).into_iter().find_map(|(key, value)| (key == name).then_some(value)).expect("a field")
}

/// Guarantee (Who gets an event): Pushover: readable texts, 24 sounds, its limits and refusals.
#[tokio::test]
async fn an_event_is_a_readable_message_with_the_customers_credentials() {
    let stage = stage("pushover-message").await;
    stage.receiver.answer_next([taken()]);
    let made = endpoint(&stage, json!({})).await;
    let id = stage.tenant.publish(&bounced(json!({"broadcast_name": "January & more"}))).await;
    let request = stage.receiver.next().await;
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/1/messages.json"));
    let message = "The email to a@example.com bounced\nBounce: hard\nBroadcast: January & more\n\
        Sent from mail.example.com through smtp1\nMessage m1";
    let expected = [
        ("token", API_TOKEN),
        ("user", USER_KEY),
        ("title", "Bounced: a@example.com"),
        ("message", message),
        ("sound", "cashregister"),
        ("timestamp", "1705314600"),
    ];
    assert_eq!(form(&request), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    // A Pushover message is not a webhook: it has no signature and no webhook headers.
    let names = request.header_names_but(&["accept", "accept-encoding", "content-length", "host"]);
    assert_eq!(names, ["content-type", "user-agent"]);
    assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");

    // The credentials are secrets: no response and no record has them.
    let delivery = stage.tenant.wait_for_delivery(&id, "delivered").await;
    let shown = stage.tenant.get(&format!("/v1/endpoints/{}", made["id"].as_str().unwrap())).await;
    let masked = json!({"user_key": "********", "api_token": "********", "sound": "Cash Register"});
    assert_eq!((&made["pushover"], &shown["pushover"], made.get("secret")), (&masked, &masked, None));
    for document in [&made, &shown, &delivery] {
        assert!(!document.to_string().contains(USER_KEY) && !document.to_string().contains(API_TOKEN), "{document:#}");
    }
    let body: Value = serde_json::from_str(delivery["body"].as_str().expect("a body")).unwrap();
    assert_eq!((&body["title"], &body["message"]), (&json!("Bounced: a@example.com"), &json!(message)));
}

/// Guarantee: as `pushover::an_event_is_a_readable_message_with_the_customers_credentials`.
#[tokio::test]
async fn texts_are_cut_and_sounds_named_as_pushover_requires() {
    let stage = stage("pushover-limits").await;
    stage.receiver.answer_at("/1/messages.json", taken());
    let made = endpoint(&stage, json!({})).await;
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let long = json!({"email": "ü".repeat(300), "broadcast_name": "😀".repeat(1_100)});
    stage.tenant.publish(&bounced(long)).await;
    let request = stage.receiver.next().await;
    let chars = |name| field(&request, name).chars().count();
    assert_eq!((chars("title"), chars("message")), (250, 1_024));

    for (sound, wire) in [("Mute", "none"), ("None", "none"), ("Vibrate", "vibrate"), ("Alien Alarm", "alien")] {
        stage.tenant.patch(&path, &json!({"pushover": {"sound": sound, "user_key": "********"}})).await;
        stage.tenant.post(&format!("{path}/test"), &json!({"event_type": "Complaints"})).await;
        let request = stage.receiver.next().await;
        assert_eq!((field(&request, "sound").as_str(), field(&request, "user").as_str()), (wire, USER_KEY));
        assert_eq!(field(&request, "title"), "Complaint: recipient@example.com");
    }
    let (status, problem) =
        stage.tenant.send(reqwest::Method::PATCH, &path, Some(r#"{"channel":"web"}"#.into()), &[]).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/channel")), "{problem:#}");
    let (status, problem) = stage.tenant.try_post(&format!("{path}/rotate-secret"), &json!({})).await;
    assert_eq!(status, 409, "there is no secret: {problem:#}");
    let migma = stage.deployment.tenant("migma").await;
    let (status, problem) = migma.try_post("/v1/endpoints", &document(json!({}))).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/channel")), "only where the profile has it");
}

/// Guarantee: as `pushover::an_event_is_a_readable_message_with_the_customers_credentials`.
#[tokio::test]
async fn a_message_that_pushover_refuses_is_not_retried_and_says_why() {
    let stage = stage("pushover-refused").await;
    endpoint(&stage, json!({})).await;
    let cases = [
        (400, "user identifier is not a valid user, group, or subscribed user key", "Pushover refused the message: "),
        (429, "application is over its quota", "the Pushover application has used up its quota of messages: "),
    ];
    for (status, why, what) in cases {
        stage.receiver.answer_next([refused(status, why)]);
        let id = stage.tenant.publish(&bounced(json!({}))).await;
        stage.receiver.next().await;
        let delivery = stage.tenant.wait_for_delivery(&id, "failed").await;
        let attempt = &delivery["attempts"][0];
        assert_eq!((&attempt["outcome"], &attempt["status_code"]), (&json!("http_status"), &json!(status)));
        assert_eq!(attempt["error"], json!(format!("{what}{why}")), "{delivery:#}");
        assert_eq!(delivery["attempts"].as_array().map(Vec::len), Some(1));
    }
}

/// Guarantee: as `pushover::an_event_is_a_readable_message_with_the_customers_credentials`.
#[tokio::test]
async fn pushover_is_retried_after_at_least_5_s_and_redirects_are_not_followed() {
    let stage = stage("pushover-retried").await;
    endpoint(&stage, json!({"retry_schedule_seconds": [1, 1, 1]})).await;
    let redirect = Answer::status(302).header("location", &stage.receiver.url("/followed"));
    let unclear = Answer::status(200).body(r#"{"status":0}"#);
    stage.receiver.answer_next([Answer::status(503).body(&"x".repeat(10_000)), redirect, unclear, taken()]);
    let id = stage.tenant.publish(&bounced(json!({}))).await;
    let requests = stage.receiver.take(4).await;
    for pair in requests.windows(2) {
        let waited = pair[1].arrived.duration_since(pair[0].answered);
        assert!(waited >= Duration::from_secs(5), "tried again after {waited:?}");
        assert_eq!((&pair[1].target, &pair[1].body), (&pair[0].target, &pair[0].body));
    }
    let delivery = stage.tenant.wait_for_delivery(&id, "delivered").await;
    let attempts = delivery["attempts"].as_array().expect("attempts");
    let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["http_status", "http_status", "protocol_error", "success"], "{delivery:#}");
    assert_eq!(attempts[0]["response_excerpt"].as_str().map(str::len), Some(4_096), "{:#}", attempts[0]);
    let next = instant::parse(&attempts[0]["next_attempt_at"]);
    assert!(next >= requests[0].answered_at + Duration::from_secs(5));
}
