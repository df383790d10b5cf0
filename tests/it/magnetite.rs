//! A `magnetite` event as Magnetite's documentation shows it.

use serde_json::json;

use crate::harness::{Deployment, Receiver, independent};

#[tokio::test]
async fn a_magnetite_event_arrives_as_its_documentation_says() {
    let deployment = Deployment::start("magnetite").await;
    let tenant = deployment.tenant("magnetite").await;
    let receiver = Receiver::start().await;
    let endpoint = tenant
        .endpoint(json!({"name": "hook", "url": receiver.url("/webhook"), "event_types": ["lead.completed"]}))
        .await;

    let event = tenant
        .publish_text(concat!(
            r#"{"type":"lead.completed","timestamp":"2023-12-21T01:55:56.789Z","#,
            r#""metadata":{"lead_id":"lead_789ghi","organization_id":"org_123abc","project_id":"proj_456def"},"#,
            r#""data":{"lead_id":"lead_789ghi","status":"completed","completed_at":1703123756789}}"#
        ))
        .await;
    let request = receiver.next().await;
    let delivery = tenant.wait_for_delivery(&event, "delivered").await;

    assert_eq!(
        request.text(),
        concat!(
            r#"{"event":"lead.completed","timestamp":1703123756789,"organization_id":"org_123abc","#,
            r#""project_id":"proj_456def","lead_id":"lead_789ghi","#,
            r#""data":{"lead_id":"lead_789ghi","status":"completed","completed_at":1703123756789}}"#
        )
    );
    let names = request.header_names_but(&["accept", "accept-encoding", "content-length", "host"]);
    let all = [
        "content-type",
        "postrider-attempt",
        "postrider-delivery",
        "traceparent",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-magnetite-event",
        "x-magnetite-signature",
        "x-magnetite-timestamp",
    ];
    assert_eq!(names, all);
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("user-agent"), "Magnetite-Webhooks/1.0");
    assert_eq!(request.header("x-magnetite-event"), "lead.completed");
    assert_eq!(request.header("x-magnetite-timestamp"), "1703123756789");
    assert_eq!(request.header("webhook-id"), event);
    assert_eq!(request.header("postrider-delivery"), delivery["id"].as_str().unwrap());
    request.check_fresh_timestamp();

    // Both signatures, each by code that is not ours. Magnetite's is keyed with the secret's text.
    let hex = independent::python_hmac_hex(endpoint.secret(), &request.body).await;
    assert_eq!(request.header("x-magnetite-signature"), format!("sha256={hex}"));
    independent::check_with_crate(endpoint.secret(), &request);
}

#[tokio::test]
async fn what_magnetites_envelope_requires_is_refused_by_name_when_it_is_missing() {
    let deployment = Deployment::start("required").await;
    let tenant = deployment.tenant("magnetite").await;
    let event = json!({"type": "lead.created", "data": {}, "metadata": {"project_id": "p", "lead_id": 7}});
    let (status, problem) = tenant.try_post("/v1/publish", &event).await;
    assert_eq!(status, 422, "{problem:#}");
    let errors = problem["errors"].as_array().expect("errors");
    let pointers: Vec<_> = errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
    assert_eq!(pointers, ["/metadata/organization_id", "/metadata/lead_id"], "{problem:#}");
}
