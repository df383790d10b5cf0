//! One key publishes for many tenants, over HTTP and the exchange, named by the operator's own ids.

use serde_json::{Value, json};

use crate::harness::{Deployment, Message, Producer, Tenant};

/// The status and response of a publish with this key.
async fn publish(deployment: &Deployment, key: &str, path: &str, body: &Value) -> (u16, Value) {
    let operator = deployment.operator();
    let request = operator.client.post(operator.base.clone() + path).bearer_auth(key);
    let answer = request.header("content-type", "application/json").body(body.to_string()).send().await;
    let answer = answer.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn has(tenant: &Tenant, event: &str) {
    tenant.wait_for(&format!("/v1/events/{event}"), |found| found["id"] == event).await;
}

#[tokio::test]
async fn one_key_publishes_for_every_tenant_that_it_names() {
    let deployment = Deployment::start("product-keys").await;
    let (acme, other) = (deployment.tenant("standard").await, deployment.tenant("standard").await);
    let operator = deployment.operator();
    operator.patch(&format!("/v1/tenants/{}", acme.id), &json!({"external_id": "acme"})).await;
    let key = json!({"name": "mail", "scopes": ["publish"], "tenants": ["acme"]});
    let several = operator.post("/v1/keys", &key).await["key"].as_str().expect("a key").to_owned();
    let key = json!({"name": "all", "scopes": ["publish"], "tenants": "all"});
    let all = operator.post("/v1/keys", &key).await["key"].as_str().expect("a key").to_owned();
    let event = |id: &str| json!({"type": "order.paid", "data": {}, "id": id});
    let of = |id: &str, tenant: &str| json!({"type": "order.paid", "data": {}, "id": id, "tenant": tenant});

    // The tenant is named in the query, in the event, or with an operator key.
    assert_eq!(publish(&deployment, &several, "/v1/publish?tenant=acme", &event("query")).await.0, 202);
    assert_eq!(publish(&deployment, &several, "/v1/publish", &of("event", "acme")).await.0, 202);
    assert_eq!(publish(&deployment, &operator.key, "/v1/publish", &of("operator", &other.id)).await.0, 202);
    // One batch for several tenants. A member without a tenant, or with a foreign one, does not affect the others.
    let batch = json!({"events": [of("b1", "acme"), of("b2", &other.id), event("b3"), of("b4", "unknown")]});
    let (status, answer) = publish(&deployment, &all, "/v1/publish/batch", &batch).await;
    let errors: Vec<_> = answer["results"].as_array().expect("results").iter().map(|r| &r["error"]["status"]).collect();
    assert_eq!((status, errors), (202, vec![&Value::Null, &Value::Null, &json!(422), &json!(404)]), "{answer:#}");
    for id in ["query", "event", "b1"] {
        has(&acme, id).await;
    }
    for id in ["operator", "b2"] {
        has(&other, id).await;
    }

    // For the key other tenants do not exist, and it can only publish.
    for (key, path, body, status) in [
        (&several, "/v1/publish", of("no", &other.id), 404),
        (&several, "/v1/publish", event("no"), 422),
        (&acme.key, "/v1/publish", of("no", &other.id), 404),
        (&acme.key, "/v1/publish?dry_run=true", event("no"), 422),
        (&acme.key, "/v1/publish", json!(["order.paid", {}]), 422),
        (&several, "/v1/endpoints", json!({}), 403),
    ] {
        let (said, answer) = publish(&deployment, key, path, &body).await;
        assert_eq!(said, status, "{path} {body}: {answer:#}");
    }

    // The same on the exchange.
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    producer.publish(Message::new("acme.order.paid", of("amqp", "acme").to_string())).await;
    producer.publish(Message::new("acme.order.paid", of("amqp-id", &acme.id).to_string())).await;
    let batch = json!({"tenant": acme.id, "events": [event("amqp-batch")]});
    producer.publish(Message::new("acme.batch", batch.to_string())).await;
    producer.publish(Message::new("acme.order.paid", of("foreign", &other.id).to_string())).await;
    producer.publish(Message::new("unknown.order.paid", of("unknown", "unknown").to_string())).await;
    for id in ["amqp", "amqp-id", "amqp-batch"] {
        has(&acme, id).await;
    }
    let both = |page: &Value| page["data"].as_array().is_some_and(|data| data.len() == 2);
    let letters = operator.wait_for("/v1/dead-letters", both).await;
    let reasons = letters["data"].to_string();
    assert!(reasons.contains("there is no tenant") && reasons.contains("/tenant"), "{letters:#}");
}
