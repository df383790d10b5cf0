//! What must not get out: secrets at rest, and requests into networks that nobody opened.

use serde_json::{Value, json};

use crate::harness::{Deployment, Receiver};

#[tokio::test]
async fn secrets_and_header_values_are_encrypted_at_rest() {
    let deployment = Deployment::start("at-rest").await;
    let tenant = deployment.tenant("mumara").await;
    let secrets = [
        "my-imported-secret-4711",
        "my-header-value-4711",
        "uQiRzpo4DXghDmr9QzzfQu27cmVRsG",
        "azGDORePK8gMaC0QOYAMyEEuzJnyUi",
    ];
    let [secret, header, user_key, api_token] = secrets;
    let web = json!({"name": "w", "url": "https://example.com/", "event_types": ["*"], "secret": secret, "headers": {"X-Key": header}});
    tenant.post("/v1/endpoints", &web).await;
    let pushover = json!({"user_key": user_key, "api_token": api_token, "sound": "Bike"});
    tenant
        .post("/v1/endpoints", &json!({"name": "p", "channel": "pushover", "pushover": pushover, "event_types": ["*"]}))
        .await;

    let connected = tokio_postgres::connect(&deployment.scope().database_url, tokio_postgres::NoTls).await;
    let (database, connection) = connected.expect("the database");
    tokio::spawn(connection);
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
    let (mut rows, mut seen) = (0, 0);
    for table in database.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        // Bytes read as hex here.
        for row in database.query(&format!("SELECT row_to_json(t)::text FROM \"{table}\" t"), &[]).await.unwrap() {
            let text: String = row.get(0);
            rows += 1;
            seen += usize::from(text.contains("https://example.com/"));
            for secret in secrets.iter().copied().chain([tenant.key.as_str()]) {
                let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
                assert!(!text.contains(secret) && !text.contains(&hex), "{table} holds {secret}");
            }
        }
    }
    assert!(seen > 0, "none of {rows} rows is the endpoint's");
}

#[tokio::test]
async fn an_address_that_nobody_opened_is_refused_when_it_is_saved_and_when_it_is_called() {
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
    // A row that was saved when the range was open.
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
