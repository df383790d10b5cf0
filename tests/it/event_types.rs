//! The catalog: a tenant's own event types, and data checked by their JSON Schemas, over HTTP and over the exchange.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Deployment, Message, Producer, Receiver, Tenant};

const PAID: &str = "order.paid";

fn schema() -> Value {
    json!({"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer", "minimum": 1}}})
}

/// Defines a type and waits until it is in force.
async fn define(deployment: &Deployment, tenant: &Tenant, name: &str, definition: Value) {
    let path = format!("/v1/event-types/{name}");
    let (status, answer) = tenant.send(Method::PUT, &path, Some(definition.to_string()), &[]).await;
    assert!(matches!(status, 200 | 201), "{status} {answer:#}");
    deployment.configuration_in_force().await;
}

async fn enforce(deployment: &Deployment, tenant: &Tenant, what: &str, yes: bool) {
    deployment.operator().patch(&format!("/v1/tenants/{}", tenant.id), &json!({what: yes})).await;
    deployment.configuration_in_force().await;
}

/// The pointers of a problem.
fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().into_iter().flatten().filter_map(|error| error["pointer"].as_str()).collect()
}

/// Guarantee (Publishing): Enforced JSON Schemas check every way in; edits apply to the next event.
#[tokio::test]
async fn data_that_violates_its_schema_is_refused_over_http_and_the_exchange() {
    let deployment = Deployment::start("event-types").await;
    let (tenant, other) = (deployment.tenant("standard").await, deployment.tenant("standard").await);
    let receiver = Receiver::start().await;
    tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
    define(&deployment, &tenant, PAID, json!({"schema": schema()})).await;
    let (good, bad) = (json!({"type": PAID, "data": {"amount": 5}}), json!({"type": PAID, "data": {"amount": 0}}));
    // A schema is only documentation until the tenant enforces schemas.
    tenant.publish(&bad).await;
    receiver.next().await;
    enforce(&deployment, &tenant, "enforce_schemas", true).await;

    // One event over HTTP.
    let (status, problem) = tenant.try_post("/v1/publish", &bad).await;
    assert_eq!((status, pointers(&problem)), (422, vec!["/data/amount"]), "{problem:#}");
    tenant.publish_text(r#"{"type":"order.paid","data":{ "amount": 5, "more" : 1.50 }}"#).await;
    let body = receiver.next().await;
    assert!(
        body.text().ends_with(r#""data":{ "amount": 5, "more" : 1.50 }}"#),
        "still the producer's bytes: {}",
        body.text()
    );

    // Only the bad member of a batch is refused.
    let batch = json!({"events": [good, bad, {"type": "other.type", "data": 7}]});
    let results = tenant.post("/v1/publish/batch", &batch).await["results"].clone();
    assert_eq!(pointers(&results[1]["error"]), ["/data/amount"], "{results:#}");
    assert!(results[0]["id"].is_string() && results[2]["id"].is_string(), "{results:#}");
    receiver.take(2).await;

    // CloudEvents, structured and binary.
    let event = json!({"specversion": "1.0", "id": "c1", "source": "/shop", "type": PAID, "data": {"amount": "5"}});
    let kind = [("content-type", "application/cloudevents+json")];
    let (status, problem) = tenant.publish_as(&kind, &event.to_string()).await;
    assert_eq!((status, pointers(&problem)), (422, vec!["/data/amount"]), "{problem:#}");
    let headers = [("ce-specversion", "1.0"), ("ce-id", "c2"), ("ce-source", "/shop"), ("ce-type", PAID)];
    let headers = [&headers[..], &[("content-type", "application/json")]].concat();
    let (status, problem) = tenant.publish_as(&headers, "{}").await;
    assert_eq!((status, pointers(&problem)), (422, vec!["/data"]), "{problem:#}");
    let (status, answer) = tenant.publish_as(&headers, r#"{"amount":7}"#).await;
    assert_eq!(status, 202, "{answer:#}");
    receiver.next().await;

    // A publisher to the exchange gets no response: the reason is in a dead letter.
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let on_exchange =
        |id: &str, amount: i32| json!({"tenant": tenant.id, "id": id, "type": PAID, "data": {"amount": amount}});
    let key = format!("{}.{PAID}", tenant.id);
    producer.publish(Message::new(key.clone(), on_exchange("x1", -1).to_string())).await;
    producer.publish(Message::new(key, on_exchange("x2", 1).to_string())).await;
    assert_eq!(receiver.next().await.header("webhook-id"), "x2");
    let one = |page: &Value| page["data"].as_array().is_some_and(|data| data.len() == 1);
    let letters = deployment.operator().wait_for("/v1/dead-letters", one).await;
    let reason = letters["data"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("/data/amount: "), "{reason}");

    // Another tenant does not have these types, even if its catalog is enforced.
    enforce(&deployment, &other, "enforce_schemas", true).await;
    other.publish(&bad).await;
}

/// Guarantee: as `event_types::data_that_violates_its_schema_is_refused_over_http_and_the_exchange`.
#[tokio::test]
async fn an_edited_schema_is_in_force_for_the_next_event() {
    let deployment = Deployment::start("event-types-edit").await;
    let tenant = deployment.tenant("standard").await;
    enforce(&deployment, &tenant, "enforce_schemas", true).await;
    let event = json!({"type": PAID, "data": {"amount": 0}});
    tenant.publish(&event).await;
    define(&deployment, &tenant, PAID, json!({"schema": schema()})).await;
    assert_eq!(tenant.try_post("/v1/publish", &event).await.0, 422);
    define(&deployment, &tenant, PAID, json!({"schema": {"required": ["currency"]}})).await;
    let (status, problem) = tenant.try_post("/v1/publish", &event).await;
    assert_eq!((status, pointers(&problem)), (422, vec!["/data"]), "{problem:#}");
    tenant.publish(&json!({"type": PAID, "data": {"currency": "EUR"}})).await;
    tenant.delete(&format!("/v1/event-types/{PAID}")).await;
    deployment.configuration_in_force().await;
    tenant.publish(&event).await;
    // After the tenant stops enforcing schemas, nothing is checked.
    define(&deployment, &tenant, PAID, json!({"schema": false})).await;
    assert_eq!(tenant.try_post("/v1/publish", &event).await.0, 422);
    enforce(&deployment, &tenant, "enforce_schemas", false).await;
    tenant.publish(&event).await;
}

/// Guarantee: as `magnetite::a_tenant_that_enforces_its_catalog_refuses_other_types_by_name`.
#[tokio::test]
async fn a_tenants_own_type_is_in_its_enforced_catalog_and_has_a_test_event() {
    let deployment = Deployment::start("event-types-own").await;
    let (tenant, other) = (deployment.tenant("migma").await, deployment.tenant("migma").await);
    for tenant in [&tenant, &other] {
        enforce(&deployment, tenant, "enforce_catalog", true).await;
    }
    let event = json!({"type": PAID, "data": {"amount": 5}});
    assert_eq!(tenant.try_post("/v1/publish", &event).await.0, 422);
    define(&deployment, &tenant, PAID, json!({"description": "An order was paid", "sample": {"amount": 42}})).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": [PAID]})).await;
    tenant.publish(&event).await;
    assert!(receiver.next().await.text().contains(r#""data":{"amount":5}"#));
    let (status, problem) = other.try_post("/v1/publish", &event).await;
    assert_eq!((status, pointers(&problem)), (422, vec!["/type"]), "{problem:#}");

    let tested = tenant.post(&format!("/v1/endpoints/{}/test", endpoint.id()), &json!({"event_type": PAID})).await;
    assert_eq!(tested["outcome"], "success", "{tested:#}");
    let sent = receiver.next().await;
    assert!(sent.text().contains(r#""data":{"amount":42}"#), "{}", sent.text());
    let delivery = format!("/v1/deliveries/{}", tested["delivery_id"].as_str().unwrap());
    let shown = tenant.wait_for(&delivery, |delivery| delivery["status"] == "delivered").await;
    assert_eq!(shown["body"], sent.text());
    // The body of a test call can no longer be rendered once the sample was edited.
    define(&deployment, &tenant, PAID, json!({"sample": {"amount": 43}})).await;
    assert_eq!(tenant.get(&delivery).await["body"], Value::Null);
}

/// Guarantee: as `magnetite::a_tenant_that_enforces_its_catalog_refuses_other_types_by_name`.
#[tokio::test]
async fn an_enforced_open_catalog_has_the_tenants_own_types() {
    let deployment = Deployment::start("event-types-open").await;
    let tenant = deployment.tenant("standard").await;
    let event = json!({"type": PAID, "data": {}});
    tenant.publish(&event).await;
    enforce(&deployment, &tenant, "enforce_catalog", true).await;
    assert_eq!(tenant.try_post("/v1/publish", &event).await.0, 422);
    define(&deployment, &tenant, PAID, json!({})).await;
    tenant.publish(&event).await;
}
