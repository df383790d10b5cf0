//! Profiles are data: a new product is a file in a folder, and a mistake in it prevents the start.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::{Deployment, Stage, binary, independent};

/// An invented product: its own header, base64 over time and body, a flat body, its own filter.
const ACME: &str = r#"
description = "Acme: parcels"

[delivery]
url = "https_only"
timeout_seconds = 7
retry_schedule_seconds = [900]

[statuses]
not_retried = ["4xx"]

[[envelope]]
name = "what"
from = "wire_type"

[[envelope]]
flatten = "data"
required = { parcel = "string" }

[[envelope]]
name = "region"
from = "attributes.region"

[[envelope]]
name = "at"
from = "timestamp"
format = "unix_s"

[signature]
header = "X-Acme-Sign"
scheme = "hmac-sha256"
encoding = "base64"
signed = "timestamp_body"
template = "{timestamp};{signature}"

[headers]
user_agent = "Acme/7"
traceparent = false

[[headers.extra]]
name = "X-Acme-Version"
value = "2"

[filters]
region = "exact"

[[catalog.types]]
name = "Parcel Sent"
wire_name = "sent"
description = "A parcel has left the warehouse"
sample = '{ "parcel": "p-1" }'
"#;

fn folder(file: &str, text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(file), text).expect("a file");
    folder
}

/// Guarantee (What deliveries look like): A new product is one file.
#[tokio::test]
async fn a_new_product_is_a_file_in_a_folder() {
    let folder = folder("acme.toml", ACME);
    let directory = folder.path().to_str().expect("a path");
    let deployment = Deployment::start_with("acme", &[("POSTRIDER_PROFILES_DIR", directory)]).await;
    let stage = Stage::on(deployment, "acme").await;
    stage.check_catalog(["Parcel Sent"]).await;
    let north = stage.endpoint(json!({"filters": {"region": ["north", "east"]}})).await;
    stage.endpoint(json!({"filters": {"region": ["south"]}, "url": stage.receiver.url("/south")})).await;

    let event = concat!(
        r#"{"type":"Parcel Sent","timestamp":"2026-01-02T03:04:05Z","attributes":{"region":"north"},"#,
        r#""data":{"parcel":"p-7","kg":1.20}}"#
    );
    let (id, request) = stage.deliver(event).await;
    stage.tenant.wait_for_delivery(&id, "delivered").await;
    assert_eq!(stage.receiver.all().len(), 1, "the south does not hear of it");
    assert_eq!(request.text(), r#"{"what":"sent","parcel":"p-7","kg":1.20,"region":"north","at":1767323045}"#);
    assert_eq!(request.header("x-acme-version"), "2");
    assert_eq!(request.header("user-agent"), "Acme/7");
    assert!(request.header_names_but(&[]).iter().all(|name| name != "traceparent"));
    independent::check_with_crate(north.secret(), &request);
    let time = request.header("webhook-timestamp");
    let signed = format!("{time}.{}", request.text());
    let signature = independent::python_hmac_base64(north.secret(), signed.as_bytes()).await;
    assert_eq!(request.header("x-acme-sign"), format!("{time};{signature}"));

    let (status, problem) = stage.tenant.try_post("/v1/publish", &json!({"type": "Parcel Sent", "data": {}})).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/data/parcel")), "{problem:#}");
}

/// Guarantee: as `profiles::a_new_product_is_a_file_in_a_folder`.
#[tokio::test]
async fn a_new_products_schedule_and_statuses_are_its_files() {
    let folder = folder("acme.toml", ACME);
    let directory = folder.path().to_str().expect("a path");
    let deployment = Deployment::start_with("acme-retries", &[("POSTRIDER_PROFILES_DIR", directory)]).await;
    let stage = Stage::on(deployment, "acme").await;
    stage.endpoint(json!({})).await;
    let event = r#"{"type":"Parcel Sent","data":{"parcel":"p-7"}}"#;
    stage.check_schedule(event, &[900], 0.0).await;
    stage.check_statuses(event, &[(200, "delivered"), (404, "failed"), (500, "pending")]).await;
}

/// Guarantee: as `profiles::a_new_product_is_a_file_in_a_folder`.
#[tokio::test]
async fn a_broken_profile_is_refused_at_start_with_file_line_and_field() {
    for (right, wrong, told) in [
        ("timeout_seconds = 7", "timeout_seconds = 700", "delivery.timeout_seconds: 1 to 60"),
        ("[filters]", "[filter]", "filter: unknown field `filter`"),
        ("from = \"wire_type\"", "from = \"body\"", "envelope.from: type, wire_type"),
    ] {
        let mistake = ACME.replace(right, wrong);
        let line = 1 + mistake.lines().position(|line| line == wrong).expect("a line of its own");
        let told = format!("acme.toml, line {line}, {told}");
        let folder = folder("acme.toml", &mistake);
        let mut command = Command::new(binary());
        // Profiles are read before any connection is made.
        command
            .arg("all")
            .env("POSTRIDER_LISTEN", "127.0.0.1:0")
            .env("POSTRIDER_AMQP_URL", "amqp://127.0.0.1:1/none")
            .env("POSTRIDER_DATABASE_URL", "postgres://none@127.0.0.1:1/none")
            .env("POSTRIDER_OPERATOR_KEYS", "operator-key-of-the-scenarios-0123456789")
            .env("POSTRIDER_MASTER_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .env("POSTRIDER_PROFILES_DIR", folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let ended = timeout(Duration::from_secs(120), command.output()).await.expect("it ends at once");
        let output = ended.expect("postrider runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(&told), "{said}, expected {told}");
    }
}

/// Guarantee (What deliveries look like): All products but Mumara require https.
#[tokio::test]
async fn https_is_asked_for_by_every_product_but_mumara() {
    let deployment = Deployment::start_with("urls", &[("POSTRIDER_EGRESS_ALLOW_HTTP", "false")]).await;
    for (profile, expected) in
        [("migma", 422), ("migomail", 422), ("metigan", 422), ("magnetite", 422), ("standard", 422), ("mumara", 201)]
    {
        let tenant = deployment.tenant(profile).await;
        let endpoint = json!({"name": "x", "channel": "web", "url": "http://example.com/", "event_types": ["*"]});
        let (status, answer) = tenant.try_post("/v1/endpoints", &endpoint).await;
        assert_eq!(status, expected, "{profile}: {answer:#}");
        if expected == 422 {
            assert_eq!(answer["errors"][0]["pointer"], json!("/url"), "{answer:#}");
        }
    }
}
