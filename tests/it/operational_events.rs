//! Operational events: the operator's own tenant gets signed events about its customers' endpoints.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Deployment, Receiver, Stage, Tenant, independent};

/// The operator's tenant with an endpoint at its own receiver.
struct Operator {
    receiver: Receiver,
    secret: String,
}

impl Operator {
    async fn of(deployment: &Deployment) -> Self {
        let receiver = Receiver::start().await;
        let body = json!({"name": "operator", "channel": "web", "url": receiver.url("/"),
            "event_types": ["endpoint.*", "limit.reached"]});
        let made = deployment.operator().post("/v1/endpoints?tenant=ten_operator", &body).await;
        deployment.configuration_in_force().await;
        Self { receiver, secret: made["secret"].as_str().expect("a secret").to_owned() }
    }

    /// Waits for the next operational event, and checks its type and its signature.
    async fn next_event(&self, event_type: &str) -> Value {
        let request = self.receiver.next().await;
        independent::check_with_crate(&self.secret, &request);
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(body["type"], json!(event_type), "{body:#}");
        body["data"].clone()
    }

    /// Checks that the test has taken every operational event.
    fn check_no_other_event(&self, taken: usize) {
        assert_eq!(self.receiver.all().len(), taken);
    }
}

const EVENT: &str = r#"{"type":"a.b","data":{"n":1}}"#;

async fn fail(stage: &Stage, times: usize) {
    stage.receiver.answer_next(vec![Answer::status(500); times]);
    for _ in 0..times {
        let id = stage.tenant.publish_text(EVENT).await;
        stage.receiver.next().await;
        stage.tenant.wait_for_delivery(&id, "failed").await;
    }
}

async fn succeed(stage: &Stage) {
    let id = stage.tenant.publish_text(EVENT).await;
    stage.receiver.next().await;
    stage.tenant.wait_for_delivery(&id, "delivered").await;
}

async fn sql(deployment: &Deployment, statement: &str) -> u64 {
    let url = &deployment.scope().database_url;
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the database");
    tokio::spawn(connection);
    client.execute(statement, &[]).await.expect("a statement")
}

async fn status(tenant: &Tenant, path: &str, status: &str) -> Value {
    tenant.wait_for(path, |endpoint| endpoint["status"] == status).await
}

/// Guarantee (The log, and repairs): Failing and recovering endpoints are reported once each.
#[tokio::test]
async fn an_endpoints_failure_and_recovery_are_reported_once_each() {
    let stage = Stage::of("standard").await;
    let operator = Operator::of(&stage.deployment).await;
    let endpoint = stage.endpoint(json!({"retry_schedule_seconds": []})).await;

    // Four failures and a success cause no event.
    fail(&stage, 4).await;
    succeed(&stage).await;
    fail(&stage, 7).await;
    let failing = operator.next_event("endpoint.failing").await;
    let about = json!({"tenant_id": stage.tenant.id, "endpoint_id": endpoint.id(), "name": "hook"});
    for (name, value) in about.as_object().expect("members") {
        assert_eq!((&failing[name], &failing["failures"]), (value, &json!(5)), "{failing:#}");
    }
    succeed(&stage).await;
    let recovered = operator.next_event("endpoint.recovered").await;
    assert_eq!(recovered["failing_since"], failing["failing_since"], "{recovered:#}");
    assert!(recovered["recovered_at"].as_str() > recovered["failing_since"].as_str(), "{recovered:#}");
    succeed(&stage).await;
    fail(&stage, 5).await;
    operator.next_event("endpoint.failing").await;
    operator.check_no_other_event(3);
}

/// Guarantee (Attempts and retries): Days of failures disable an endpoint if profile or tenant ask for it; the customer can
/// enable it again.
#[tokio::test]
async fn an_endpoint_that_fails_for_days_is_disabled_and_can_be_enabled_again() {
    let stage = Stage::of("standard").await;
    let operator = Operator::of(&stage.deployment).await;
    let endpoint = stage.endpoint(json!({"retry_schedule_seconds": []})).await;
    let path = format!("/v1/endpoints/{}", endpoint.id());
    fail(&stage, 5).await;
    operator.next_event("endpoint.failing").await;
    // Four days of failures are not enough.
    sql(&stage.deployment, "UPDATE endpoint_health SET failing_since = failing_since - interval '4 days'").await;
    fail(&stage, 1).await;
    status(&stage.tenant, &path, "active").await;
    sql(&stage.deployment, "UPDATE endpoint_health SET failing_since = failing_since - interval '1 day'").await;
    let disabled = operator.next_event("endpoint.disabled").await;
    assert_eq!(disabled["endpoint_id"], json!(endpoint.id()));
    assert!(disabled["reason"].as_str().unwrap_or_default().contains("5 days"), "{disabled:#}");
    let shown = status(&stage.tenant, &path, "disabled").await;
    assert_eq!(shown["disabled_reason"], disabled["reason"], "{shown:#}");

    stage.tenant.patch(&path, &json!({"status": "active"})).await;
    stage.deployment.configuration_in_force().await;
    fail(&stage, 1).await;
    succeed(&stage).await;
    operator.next_event("endpoint.recovered").await;
    status(&stage.tenant, &path, "active").await;
    operator.check_no_other_event(3);
}

/// Guarantee (Attempts and retries): 410 disables a `standard` endpoint at once.
#[tokio::test]
async fn a_410_disables_at_once_and_the_operators_own_endpoints_tell_nothing() {
    let stage = Stage::of("standard").await;
    let operator = Operator::of(&stage.deployment).await;
    // The operator's own endpoint with the same response causes no event.
    let gone = Receiver::start().await;
    gone.answer_at("/", Answer::status(410));
    let body = json!({"name": "gone", "channel": "web", "url": gone.url("/"), "event_types": ["*"]});
    let own = stage.deployment.operator().post("/v1/endpoints?tenant=ten_operator", &body).await;
    let endpoint = stage.endpoint(json!({})).await;
    stage.receiver.answer_next([Answer::status(410)]);
    stage.tenant.publish_text(EVENT).await;
    let disabled = operator.next_event("endpoint.disabled").await;
    assert_eq!(disabled["endpoint_id"], json!(endpoint.id()));
    assert_eq!(disabled["reason"], json!("it answered 410"), "{disabled:#}");
    gone.next().await;
    let own = format!("/v1/endpoints/{}", own["id"].as_str().expect("an id"));
    status(stage.deployment.operator(), &own, "disabled").await;
    // The next event is about a customer's endpoint.
    stage.deployment.limit_endpoints(&stage.tenant, 2).await;
    stage.endpoint(json!({})).await;
    let reached = operator.next_event("limit.reached").await;
    assert_eq!(reached, json!({"tenant_id": stage.tenant.id, "limit": "endpoints", "value": 2}));
    let (refused, _) =
        stage.tenant.send(Method::POST, "/v1/endpoints", Some(stage.document(json!({})).to_string()), &[]).await;
    assert_eq!(refused, 409);
    operator.check_no_other_event(2);
}
