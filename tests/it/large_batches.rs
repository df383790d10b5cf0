//! Concurrent large batches: ingest stays within its memory limit and refuses batches over it with a reason.

use futures::future::join_all;
use postrider_testkit::engines::Scope;
use serde_json::{Value, json};

use crate::harness::{Cluster, OPERATOR_KEY, Urls};

/// The limit of a pod in k8s/base/ingest.yaml.
const MEMORY_MAX_KIB: u64 = 512 * 1024;
/// Concurrent batches of each of two tenants.
const BATCHES: usize = 12;

/// The peak memory of a process, KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn large_batches_at_once_are_refused_and_ingest_stays_within_memory() {
    let scope = Scope::new("bodies").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let cluster = Cluster::start(urls).await;
    let mut keys = Vec::new();
    for name in ["one", "other"] {
        let limits = json!({"events_per_second": 100_000});
        let tenant = json!({"name": name, "profile": "standard", "limits": limits});
        let tenant = cluster.post("api", "/v1/tenants", OPERATOR_KEY, &tenant).await;
        let path = format!("/v1/tenants/{}/keys", tenant["id"].as_str().expect("an id"));
        let key = json!({"name": "publisher", "scopes": ["publish"]});
        let key = cluster.post("api", &path, OPERATOR_KEY, &key).await;
        keys.push(key["key"].as_str().expect("a key").to_owned());
    }
    let event = json!({"type": "report.ready", "data": "x".repeat(250 * 1024)});
    let batch = json!({"events": vec![event; 31]}).to_string();
    let client = reqwest::Client::new();
    let url = cluster.base("ingest") + "/v1/publish/batch";
    let send = |key: &String| {
        let request = client.post(&url).bearer_auth(key).header("content-type", "application/json").body(batch.clone());
        async move {
            // A refusal may come before the body was read; then a write can fail first, and a producer repeats the request.
            let answer = loop {
                let again = request.try_clone().expect("a body that can be repeated");
                match again.send().await {
                    Ok(answer) => break answer,
                    Err(error) => println!("no answer, once more: {error}"),
                }
            };
            let (status, text) = (answer.status().as_u16(), answer.text().await.expect("text"));
            (status, serde_json::from_str::<Value>(&text).expect("JSON"))
        }
    };
    let answers = join_all(keys.iter().flat_map(|key| (0..BATCHES).map(|_| send(key)).collect::<Vec<_>>())).await;
    let count = |status: u16| answers.iter().filter(|(said, _)| *said == status).count();
    let peak = peak_kib(cluster.pid("ingest"));
    println!(
        "{} batches of 7.6 MiB at once: {} accepted, {} x 429, {} x 503; ingest's peak {} MiB of {} MiB",
        answers.len(),
        count(202),
        count(429),
        count(503),
        peak / 1024,
        MEMORY_MAX_KIB / 1024
    );
    for (status, answer) in &answers {
        let detail = answer["detail"].as_str().unwrap_or_default();
        let named = detail.contains("bytes, at most") || detail.contains("may or may not be accepted");
        assert!(*status == 202 || (matches!(status, 429 | 503) && named), "{status} {answer:#}");
    }
    assert!(count(202) > 0 && count(429) > 0, "some are accepted, and a tenant meets its limit");
    assert!(peak < MEMORY_MAX_KIB, "{peak} KiB");
    // Finished requests use no memory any more.
    let event = json!({"type": "report.ready", "data": {}});
    for key in &keys {
        cluster.post("ingest", "/v1/publish", key, &event).await;
    }
}
