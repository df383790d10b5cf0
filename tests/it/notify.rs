//! Told when it fails: an endpoint of the tenant gets notices about the state of another one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Receiver, Stage, independent};

const EVENT: &str = r#"{"type":"a.b","data":{"n":1}}"#;
const PATIENCE: Duration = Duration::from_secs(120);

/// A stage with an endpoint that notifies another one.
struct Told {
    stage: Stage,
    /// The receiver of the notices.
    receiver: Receiver,
    /// The endpoint that gets the notices.
    endpoint: String,
    secret: String,
    /// The endpoint that they are about.
    watched: String,
}

impl Told {
    async fn new() -> Self {
        let stage = Stage::of("standard").await;
        let receiver = Receiver::start().await;
        let members = json!({"name": "on call", "url": receiver.url("/"), "event_types": ["never.published"],
            "retry_schedule_seconds": []});
        let made = stage.endpoint(members).await;
        let (endpoint, secret) = (made.id().to_owned(), made.secret().to_owned());
        let notify = json!({"endpoint": endpoint});
        let members = json!({"event_types": ["a.b"], "retry_schedule_seconds": [], "notify": notify});
        let watched = stage.endpoint(members).await.id().to_owned();
        Self { stage, receiver, endpoint, secret, watched }
    }

    async fn fail(&self, times: usize) {
        self.stage.receiver.answer_next(vec![Answer::status(500); times]);
        for _ in 0..times {
            self.attempt("failed").await;
        }
    }

    async fn attempt(&self, status: &str) {
        let id = self.stage.tenant.publish_text(EVENT).await;
        self.stage.receiver.next().await;
        let path = format!("/v1/deliveries?event_id={id}&endpoint_id={}", self.watched);
        self.stage.tenant.wait_for(&path, |page| page["data"][0]["status"] == status).await;
    }

    async fn edit(&self, endpoint: &str, edit: Value) {
        self.stage.tenant.patch(&format!("/v1/endpoints/{endpoint}"), &edit).await;
        self.stage.deployment.configuration_in_force().await;
    }

    /// The `data` of the next notice, whose type and signature are checked.
    async fn next(&self, state: &str) -> Value {
        let request = self.receiver.next().await;
        independent::check_with_crate(&self.secret, &request);
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(
            (&body["type"], &body["data"]["state"]),
            (&json!(format!("endpoint.{state}")), &json!(state)),
            "{body:#}"
        );
        body["data"].clone()
    }

    /// Waits until a row of `endpoint_notices` fulfils the condition.
    async fn wait_for_row(&self, condition: &str) {
        let sql = format!("SELECT FROM endpoint_notices WHERE {condition}");
        let wait = async {
            while self.sql(&sql).await == 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no row with {condition}"));
    }

    /// Runs a statement. Returns the number of its rows.
    async fn sql(&self, statement: &str) -> u64 {
        let url = &self.stage.deployment.scope().database_url;
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the database");
        tokio::spawn(connection);
        client.execute(statement, &[]).await.expect("a statement")
    }

    /// Checks that nothing but what was taken was told.
    fn check_told(&self, times: usize) {
        assert_eq!(self.receiver.all().len(), times);
    }
}

/// Guarantee (Attempts and retries): An endpoint that fails, recovers, is paused or disabled causes one notice each, to the endpoint that
/// `notify` names and to no other.
#[tokio::test]
async fn another_endpoint_is_told_once_on_failing_recovered_paused_and_disabled() {
    let told = Told::new().await;
    let everything = Receiver::start().await;
    told.stage.endpoint(json!({"name": "all", "url": everything.url("/")})).await;
    let (watched, tenant) = (&told.watched, &told.stage.tenant);

    told.fail(4).await;
    told.fail(3).await;
    let failing = told.next("failing").await;
    assert_eq!((&failing["endpoint_id"], &failing["name"]), (&json!(watched), &json!("hook")), "{failing:#}");
    assert_eq!(
        (&failing["title"], &failing["last_error"]),
        (&json!("hook is failing"), &json!("status 500")),
        "{failing:#}"
    );
    assert!(failing["failures"].as_u64() >= Some(5) && failing["waiting"].is_u64(), "{failing:#}");
    let page = format!("/dashboard/{}/webhooks/{watched}", tenant.id);
    assert!(failing["url"].as_str().is_some_and(|url| url.ends_with(&page)), "{failing:#}");
    told.attempt("delivered").await;
    let recovered = told.next("recovered").await;
    assert_eq!(recovered["failing_since"], failing["since"], "{recovered:#}");
    told.edit(watched, json!({"status": "paused"})).await;
    let paused = told.next("paused").await;
    assert!(paused["text"].as_str().is_some_and(|text| text.contains("A person paused it.")), "{paused:#}");
    told.edit(watched, json!({"status": "active"})).await;
    told.stage.receiver.answer_next([Answer::status(410)]);
    told.attempt("failed").await;
    let disabled = told.next("disabled").await;
    assert_eq!(disabled["reason"], json!("it answered 410"), "{disabled:#}");
    told.check_told(4);

    // The notices are on record, and went to nobody else.
    let events = tenant.get("/v1/events?type=endpoint.failing").await;
    let event = &events["data"][0];
    assert_eq!((&event["origin"], events["data"].as_array().map(Vec::len)), (&json!("notice"), Some(1)), "{events:#}");
    let id = event["id"].as_str().expect("an id");
    let explained = tenant.get(&format!("/v1/events/{id}/explain")).await;
    for explanation in explained["data"].as_array().expect("explanations") {
        let is_addressee = explanation["endpoint_id"] == json!(told.endpoint);
        assert_eq!(explanation["matched"], json!(is_addressee), "{explanation:#}");
        assert_eq!(explanation["reasons"][1]["check"], json!("addressee"), "{explanation:#}");
    }
    assert!(everything.all().iter().all(|request| !request.text().contains("endpoint.")));
}

/// Guarantee (Attempts and retries): Two notices about the same state of an endpoint are an hour apart; the later one is sent if the
/// endpoint is still in that state.
#[tokio::test]
async fn an_endpoint_that_fails_and_recovers_all_the_time_is_told_once_an_hour() {
    let told = Told::new().await;
    told.fail(5).await;
    told.next("failing").await;
    told.attempt("delivered").await;
    told.next("recovered").await;
    told.fail(5).await;
    told.wait_for_row("state = 0 AND due_at > now() + interval '50 minutes'").await;
    told.attempt("delivered").await;
    told.wait_for_row("state = 3 AND due_at > now() + interval '50 minutes'").await;
    let an_hour_later =
        "UPDATE endpoint_notices SET sent_at = sent_at - interval '1 hour', due_at = due_at - interval '1 hour'";
    told.sql(an_hour_later).await;
    // It works, as the last notice said, so there is nothing to tell.
    told.wait_for_row("state = 0 AND due_at IS NULL").await;
    told.wait_for_row("state = 3 AND due_at IS NULL").await;
    told.check_told(2);

    told.sql("UPDATE endpoint_notices SET sent_at = now()").await;
    told.fail(5).await;
    told.wait_for_row("state = 0 AND due_at > now() + interval '50 minutes'").await;
    told.sql(an_hour_later).await;
    told.next("failing").await;
    told.check_told(3);
}

/// Guarantee (Attempts and retries): An endpoint never gets a notice about itself, also not through other endpoints.
#[tokio::test]
async fn endpoints_that_notify_each_other_are_refused_and_cut() {
    let told = Told::new().await;
    let (watched, tenant) = (&told.watched, &told.stage.tenant);
    let refused = async |endpoint: &str, target: &str, words: &str| {
        let body = json!({"notify": {"endpoint": target}}).to_string();
        let path = format!("/v1/endpoints/{endpoint}");
        let (status, problem) = tenant.send(reqwest::Method::PATCH, &path, Some(body), &[]).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/notify/endpoint")), "{problem:#}");
        assert!(problem["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{problem:#}");
    };
    refused(&told.endpoint, watched, "a loop").await;
    refused(watched, watched, "itself").await;
    let other = told.stage.deployment.tenant("standard").await;
    let foreign = other.endpoint(told.stage.document(json!({}))).await;
    refused(watched, foreign.id(), "no such endpoint").await;

    // Two edits at once can make a loop. Then neither gets a notice.
    let document =
        format!(r#"jsonb_set(document::jsonb, '{{notify}}', '{{"endpoint":"{watched}","on":["failing"]}}')::json"#);
    told.sql(&format!("UPDATE endpoints SET document = {document} WHERE document ->> 'name' = 'on call'")).await;
    told.fail(5).await;
    told.wait_for_row("state = 0 AND due_at IS NULL AND sent_at IS NULL").await;
    told.check_told(0);
}

/// Guarantee (Attempts and retries): A deleted endpoint gets no notices, and the endpoint that names it can still be edited.
#[tokio::test]
async fn a_deleted_endpoint_is_told_nothing() {
    let told = Told::new().await;
    let watched = &told.watched;
    told.stage.tenant.delete(&format!("/v1/endpoints/{}", told.endpoint)).await;
    told.stage.deployment.configuration_in_force().await;
    told.fail(5).await;
    told.wait_for_row("state = 0 AND due_at IS NULL AND sent_at IS NULL").await;
    told.check_told(0);
    told.edit(watched, json!({"name": "renamed"})).await;
    let path = format!("/v1/endpoints/{watched}");
    let shown = told.stage.tenant.get(&path).await;
    assert_eq!(shown["notify"]["endpoint"], json!(told.endpoint), "{shown:#}");
    assert_eq!(shown["notify"]["on"], json!(["failing", "disabled", "paused", "recovered"]));
    told.edit(watched, json!({"notify": null})).await;
    assert!(told.stage.tenant.get(&path).await["notify"].is_null());
}
