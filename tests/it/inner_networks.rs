//! Deliveries do not reach private networks that the operator has not opened.

use serde_json::{Value, json};

use crate::harness::{Deployment, Receiver};

/// Guarantee (Secrets and tenants): No request into a network that the operator has not opened.
#[tokio::test]
async fn an_inner_address_is_refused_when_saved_and_when_called() {
    let deployment = Deployment::start_with("ssrf", &[("POSTRIDER_EGRESS_ALLOW", "")]).await;
    let tenant = deployment.tenant("mumara").await;
    let receiver = Receiver::start().await;
    let hook = |url: &str| json!({"name": "hook", "url": url, "event_types": ["*"]});
    for url in [
        &receiver.url("/"),
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest",
        "http://localhost/",
        "http://2130706433/",
    ] {
        let (status, problem) = tenant.try_post("/v1/endpoints", &hook(url)).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/url")), "{url}: {problem:#}");
    }
    // The endpoint's row is changed as if it had been saved while the range was allowed.
    let made = tenant.post("/v1/endpoints", &hook("http://example.com/")).await;
    let connected = tokio_postgres::connect(&deployment.scope().database_url, tokio_postgres::NoTls).await;
    let (database, connection) = connected.expect("the database");
    tokio::spawn(connection);
    let moved = format!(
        "UPDATE endpoints SET document = replace(document::text, 'http://example.com/', '{}')::json",
        receiver.url("/")
    );
    assert_eq!(database.execute(&moved, &[]).await.unwrap(), 1);
    let tested = tenant.post(&format!("/v1/endpoints/{}/test", made["id"].as_str().unwrap()), &json!({})).await;
    assert_eq!((&tested["outcome"], &tested["status_code"]), (&json!("address_blocked"), &Value::Null), "{tested:#}");
    assert!(receiver.all().is_empty());
}
