//! Magnetite's promises. (`retries.rs` tests its schedule, `retry_after.rs` its maximum `Retry-After`.)

use serde_json::json;

use crate::harness::{Deployment, Stage, independent};

/// The documented events, with the documented data or similar data.
const EVENTS: [(&str, &str); 8] = [
    (
        "lead.created",
        concat!(
            r#"{"lead_id":"lead_789ghi","input_data":{"fullName":"John Smith","company":"Acme Corp","#,
            r#""email":"john@acme.com"},"status":"processing","created_at":1703123456789}"#
        ),
    ),
    ("research.started", r#"{ "lead_id":"lead_789ghi" }"#),
    ("research.completed", r#"{ "lead_id":"lead_789ghi", "score":0.50 }"#),
    ("research.failed", r#"{ "lead_id":"lead_789ghi", "error":"API limit – reached ☹" }"#),
    ("magnet.generated", r#"{ "lead_id":"lead_789ghi", "generated_content":{"contentLength":4521} }"#),
    (
        "lead.completed",
        concat!(
            r#"{"lead_id":"lead_789ghi","status":"completed","#,
            r#""research_results":{"company_info":"...","industry_insights":"..."},"#,
            r#""generated_content":{"contentLength":4521},"completed_at":1703123756789}"#
        ),
    ),
    ("lead.failed", r#"{ "lead_id":"lead_789ghi", "status":"failed" }"#),
    (
        "magnet.viewed",
        r#"{"lead_id":"lead_789ghi","viewer_ip":"203.0.113.42","user_agent":"Mozilla/5.0...","viewed_at":1703124056789}"#,
    ),
];

fn event(event_type: &str, data: &str) -> String {
    format!(
        concat!(
            r#"{{"type":"{event_type}","timestamp":"2023-12-21T01:55:56.789Z","data":{data},"#,
            r#""metadata":{{"lead_id":"lead_789ghi","organization_id":"org_123abc","project_id":"proj_456def"}}}}"#
        ),
        event_type = event_type,
        data = data
    )
}

/// Guarantee (What deliveries look like): Magnetite: catalog, envelope and signature; `X-Magnetite-Timestamp` equals the body's `timestamp`.
#[tokio::test]
async fn each_type_arrives_as_magnetites_documentation_says() {
    let stage = Stage::of("magnetite").await;
    stage.check_catalog(EVENTS.map(|(event_type, _)| event_type)).await;
    let endpoint = stage.endpoint(json!({})).await;
    let mut requests = Vec::new();
    for (event_type, data) in EVENTS {
        let (id, request) = stage.deliver(&event(event_type, data)).await;
        assert_eq!(
            request.text(),
            format!(
                concat!(
                    r#"{{"event":"{event_type}","timestamp":1703123756789,"organization_id":"org_123abc","#,
                    r#""project_id":"proj_456def","lead_id":"lead_789ghi","data":{data}}}"#
                ),
                event_type = event_type,
                data = data
            )
        );
        let own = [
            ("user-agent", Some("Magnetite-Webhooks/1.0")),
            ("x-magnetite-event", Some(event_type)),
            ("x-magnetite-signature", None),
            ("x-magnetite-timestamp", Some("1703123756789")),
        ];
        request.check_headers(&id, &own);
        assert!(request.header("x-magnetite-signature").starts_with("sha256="));
        requests.push(request);
    }
    independent::check_all("magnetite", endpoint.secret(), &requests).await;
}

/// Guarantee: as `retries::three_retries_come_after_1_2_and_4_seconds_with_the_same_bytes`.
#[tokio::test]
async fn magnetite_retries_every_failure() {
    let stage = Stage::of("magnetite").await;
    let expected = [(201, "delivered"), (308, "pending"), (400, "pending"), (410, "pending"), (503, "pending")];
    stage.check_statuses(&event("lead.created", "{}"), &expected).await;
}

/// Guarantee (What deliveries look like): Missing members that an envelope requires are refused by name.
#[tokio::test]
async fn a_member_that_magnetites_envelope_lacks_is_refused_by_name() {
    let stage = Stage::of("magnetite").await;
    let event = json!({"type": "lead.created", "data": {}, "metadata": {"project_id": "p", "lead_id": 7}});
    let (status, problem) = stage.tenant.try_post("/v1/publish", &event).await;
    assert_eq!(status, 422, "{problem:#}");
    let errors = problem["errors"].as_array().expect("errors");
    let pointers: Vec<_> = errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
    assert_eq!(pointers, ["/metadata/organization_id", "/metadata/lead_id"], "{problem:#}");
}

/// Guarantee (Publishing): An enforced catalog refuses other types and includes the tenant's own.
#[tokio::test]
async fn a_tenant_that_enforces_its_catalog_refuses_other_types_by_name() {
    let deployment = Deployment::start("catalog").await;
    let tenant = deployment.tenant("magnetite").await;
    let metadata = json!({"organization_id": "o", "project_id": "p", "lead_id": "l"});
    let event = |name: &str| json!({"type": name, "data": {}, "metadata": metadata});
    tenant.publish(&event("lead.lost")).await;

    let path = format!("/v1/tenants/{}", tenant.id);
    deployment.operator().patch(&path, &json!({"enforce_catalog": true})).await;
    deployment.configuration_in_force().await;
    let (status, problem) = tenant.try_post("/v1/publish", &event("lead.lost")).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/type")), "{problem:#}");
    assert!(
        problem["errors"][0]["detail"].as_str().unwrap().starts_with("lead.lost is not in the catalog"),
        "{problem:#}"
    );
    tenant.publish(&event("lead.created")).await;
}
