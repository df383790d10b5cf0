//! Operator commands: the audit, and resealing secrets with a new key.

use std::process::Output;
use std::time::{Duration, Instant};

use postrider_testkit::engines::Scope;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::harness::{Cluster, InForce, Receiver, Stage, Urls, binary};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The master key of the scenarios' deployments.
const KEY: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW_KEY: &str = "k2:HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

async fn tool(scope: &Scope, arguments: &[&str], master_keys: &str) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).env("POSTRIDER_DATABASE_URL", &scope.database_url);
    command.env("POSTRIDER_MASTER_KEYS", master_keys).kill_on_drop(true).output().await.expect("postrider runs")
}

async fn audit(scope: &Scope) -> (Option<i32>, Value) {
    let said = tool(scope, &["audit", "--json", "--recheck-after", "3s"], KEY).await;
    let report = serde_json::from_slice(&said.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr))
    });
    (said.status.code(), report)
}

/// Guarantee (Faults and isolation): The audit balances under traffic and names a removed row.
#[tokio::test(flavor = "multi_thread")]
async fn the_audit_balances_under_traffic_and_names_a_removed_row() {
    let stage = Stage::of("standard").await;
    stage.endpoint(json!({})).await;
    // Traffic continues during the audit.
    let stop = CancellationToken::new();
    let (url, key, stopped) = (format!("{}/v1/publish", stage.tenant.base), stage.tenant.key.clone(), stop.clone());
    let traffic = tokio::spawn(async move {
        let client = reqwest::Client::new();
        let mut accepted = 0;
        while !stopped.is_cancelled() {
            let event = json!({"type": "audit.test", "id": format!("audited-{accepted}"), "data": {}});
            let request = client.post(&url).bearer_auth(&key).header("content-type", "application/json");
            let answer = request.body(event.to_string()).send().await.expect("an answer");
            assert_eq!(answer.status(), 202);
            accepted += 1;
        }
        accepted
    });
    for _ in 0..3 {
        let (code, report) = audit(stage.deployment.scope()).await;
        assert_eq!((code, &report["conserved"]), (Some(0), &json!(true)), "{report:#}");
    }
    stop.cancel();
    let accepted: u64 = traffic.await.expect("published");

    // Every number is reported as settled, and every delivery has ended.
    let started = Instant::now();
    loop {
        let (code, report) = audit(stage.deployment.scope()).await;
        assert_eq!(code, Some(0), "{report:#}");
        let (day, numbers) = (&report["tenants"][0], &report["instances"][0]);
        if day["delivered"] == json!(accepted) && numbers["settled_below"] == json!(accepted) {
            assert_eq!(
                (&day["accepted"], &day["decided"], &day["matched"]),
                (&json!(accepted), &json!(accepted), &json!(accepted))
            );
            assert_eq!((&numbers["recorded"], &numbers["missing"]), (&json!(accepted), &json!(0)));
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{report:#}");
        sleep(LOOK_EVERY).await;
    }

    let url = &stage.deployment.scope().database_url;
    let (database, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the database");
    tokio::spawn(connection);
    let removed = database.execute("DELETE FROM events WHERE id = 'audited-3'", &[]).await.expect("removed");
    assert_eq!(removed, 1);
    let (code, report) = audit(stage.deployment.scope()).await;
    assert_eq!((code, &report["conserved"]), (Some(1), &json!(false)), "{report:#}");
    let instance = &report["instances"][0]["instance"];
    assert_eq!(report["gaps"][0], json!({"missing": "numbers", "instance": instance, "first": 3, "last": 3}));
    let said = tool(stage.deployment.scope(), &["audit", "--recheck-after", "0s"], KEY).await;
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(text.contains("NOT CONSERVED") && text.contains(r#""missing":"numbers""#), "{text}");
    let kept = database.query_one("SELECT count(*) FROM audits WHERE NOT conserved", &[]).await.expect("a count");
    assert_eq!(kept.get::<_, i64>(0), 2);
}

/// Guarantee: as `operator_commands::the_audit_balances_under_traffic_and_names_a_removed_row`.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_does_not_add_up_without_a_gap_is_an_exit_code_and_a_metric() {
    let scope = Scope::new("unbalanced").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let mut cluster = Cluster::start(urls).await;
    let receiver = Receiver::start().await;
    let publisher = cluster.tenant(&[(&receiver.url("/"), json!({}))]).await;
    let client = reqwest::Client::new();
    InForce::new(&scope, client, &cluster.base("ingest"), &cluster.base("fanout")).await.wait().await;
    let event = json!({"id": "e", "type": "a.b", "data": {}});
    cluster.post_when_known("ingest", "/v1/publish", &publisher.key, &event).await;
    let started = Instant::now();
    while audit(&scope).await.1["tenants"][0]["delivered"] != json!(1) {
        assert!(started.elapsed() < PATIENCE, "nothing is delivered");
        sleep(LOOK_EVERY).await;
    }
    let (code, report) = audit(&scope).await;
    assert_eq!((code, &report["conserved"]), (Some(0), &json!(true)), "{report:#}");

    // A duplicate row: no missing row can be named, but matched and delivered counts differ.
    let (database, connection) =
        tokio_postgres::connect(&scope.database_url, tokio_postgres::NoTls).await.expect("the database");
    tokio::spawn(connection);
    let twice = "UPDATE decisions SET matched = matched || matched WHERE event_id = 'e'";
    assert_eq!(database.execute(twice, &[]).await.expect("changed"), 1);
    let (code, report) = audit(&scope).await;
    assert_eq!((code, &report["gaps_total"]), (Some(1), &json!(0)), "{report:#}");
    assert_eq!(report["tenants"][0]["conserved"], json!(false));

    // A recorder shows the last audit from its start on.
    cluster.terminate("recorder").await;
    cluster.restart("recorder").await;
    let url = cluster.base("recorder") + "/metrics";
    let metric = async |name: &str| {
        let text = reqwest::get(&url).await.expect("metrics").text().await.expect("text");
        let value = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.rsplit(' ').next());
        value.map(str::to_owned)
    };
    let started = Instant::now();
    while metric("postrider_recorder_audit_unbalanced_days").await.as_deref() != Some("1") {
        assert!(started.elapsed() < PATIENCE, "the metric does not show it");
        sleep(LOOK_EVERY).await;
    }
    assert_eq!(metric("postrider_recorder_audit_gaps").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn an_audit_that_cannot_be_made_exits_with_2() {
    let mut command = Command::new(binary());
    let said = command.arg("audit").env("POSTRIDER_DATABASE_URL", "postgres://127.0.0.1:1/none").output().await;
    let said = said.expect("postrider runs");
    assert_eq!(said.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&said.stderr).contains("not available"), "{said:?}");
}

/// Guarantee (Secrets and tenants): The master key can be replaced.
#[tokio::test]
async fn secrets_resealed_with_a_new_key_do_not_need_the_old_one() {
    let stage = Stage::of("standard").await;
    stage.endpoint(json!({"headers": {"x-own": "value"}})).await;
    let keys = format!("{NEW_KEY},{KEY}");
    let done = tool(stage.deployment.scope(), &["reencrypt"], &keys).await;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && text.contains("2 values sealed by k1 were sealed again"), "{done:?}");
    let alone = tool(stage.deployment.scope(), &["reencrypt"], NEW_KEY).await;
    assert!(String::from_utf8_lossy(&alone.stdout).contains("no other key is needed any more"), "{alone:?}");
    let refused = tool(stage.deployment.scope(), &["reencrypt"], KEY).await;
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("master key \"k2\", which is not configured"), "{text}");
}
