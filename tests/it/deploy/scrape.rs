//! A Prometheus scrapes the running services: every metric of the dashboards, alerts and the autoscaler is there.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use postrider_testkit::debian::PROMETHEUS;
use postrider_testkit::ports::free_port;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::stack::Stack;
use super::{checkout, text, tool};
use crate::harness::{Answer, Receiver};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The queries, and the files that they are in.
fn queries() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for board in ["overview", "profile", "dispatcher", "broker"] {
        let json: Value =
            serde_json::from_str(&text(&format!("deploy/grafana/dashboards/{board}.json"))).expect("JSON");
        for panel in json["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().expect("targets") {
                let query = target["expr"].as_str().expect("a query");
                let query = query.replace("$__rate_interval", "1m").replace("$profile", ".*");
                found.push((format!("{board}, {}", panel["title"]), query));
            }
        }
    }
    let scaled = text("k8s/components/scale-by-members/scaled-object.yaml");
    let scaled = scaled.lines().find_map(|line| line.trim().strip_prefix("query: ")).expect("a query");
    found.push(("KEDA".into(), scaled.to_owned()));
    found
}

/// The selectors in a text: names of our metrics with their label matchers, such as `postrider_store_connections{state="idle"}`.
fn selectors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some(at) = rest.find("postrider_") {
        let tail = &rest[at..];
        let name = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
        let end =
            if tail[name..].starts_with('{') { name + tail[name..].find('}').expect("a brace") + 1 } else { name };
        found.insert(tail[..end].to_owned());
        rest = &tail[end..];
    }
    found
}

/// A Prometheus that scrapes every replica once a second.
struct Prometheus {
    base: String,
    client: reqwest::Client,
    _process: tokio::process::Child,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    async fn start(stack: &Stack) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("127.0.0.1:{}", free_port());
        // The real configuration except for service discovery, because there is no DNS for the replicas.
        let own = text("deploy/prometheus/prometheus.yml");
        let head = own.split("    dns_sd_configs:").next().expect("a head").replace(": 15s", ": 1s");
        let rules = checkout().join("deploy/prometheus/alerts.yml");
        let mut config = head.replace("[alerts.yml]", &format!("[{}]", rules.display())) + "    static_configs:\n";
        for replica in &stack.replicas {
            config += &format!(
                "      - {{ targets: [\"{}\"], labels: {{ service: {} }} }}\n",
                replica.address, replica.service
            );
        }
        std::fs::write(folder.path().join("prometheus.yml"), config).expect("written");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let mut command = tool(PROMETHEUS).await;
        command
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address={address}"));
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let process = command.spawn().expect("prometheus runs");
        Self { base: format!("http://{address}"), client: reqwest::Client::new(), _process: process, _folder: folder }
    }

    /// The response of its API; `None` while it starts.
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.base), query).expect("a URL");
        let answer = self.client.get(url).send().await.ok()?;
        serde_json::from_str(&answer.text().await.ok()?).ok()
    }

    /// Evaluates a query. Returns the number of series; `None` while it starts.
    async fn series(&self, query: &str) -> Option<usize> {
        let answer = self.get("/api/v1/query", &[("query", query)]).await?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().map(Vec::len)
    }

    /// Waits until each query, listed with its file, has a result.
    async fn wait_for(&self, mut asked: Vec<(&str, &str)>) {
        let started = Instant::now();
        loop {
            let answers = futures::future::join_all(asked.iter().map(|(_, query)| self.series(query))).await;
            let mut answers = answers.into_iter();
            asked.retain(|_| answers.next().flatten().unwrap_or_default() == 0);
            if asked.is_empty() {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "these are asked for and not measured: {asked:#?}");
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Causes a delivery, a retry and held deliveries.
async fn traffic(stack: &Stack) -> Receiver {
    let receiver = Receiver::start().await;
    receiver.answer_next([Answer::status(500)]);
    let key = stack.tenant().await;
    let endpoint = json!({
        "name": "hook", "channel": "web", "url": receiver.url("/"), "event_types": ["*"],
        "retry_schedule_seconds": [1, 1, 1], "rate_per_second": 2,
    });
    stack.post("/v1/endpoints", &key, &endpoint).await;
    let started = Instant::now();
    while receiver.all().len() < 3 {
        assert!(started.elapsed() < PATIENCE, "the endpoint is not in force");
        stack.post("/v1/publish", &key, &json!({"type": "a.b", "data": {}})).await;
        sleep(LOOK_EVERY).await;
    }
    receiver
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_dashboards_alerts_and_autoscaler_are_exported() {
    let stack = Stack::start("scrape", 2).await;
    let prometheus = Prometheus::start(&stack).await;
    let _receiver = traffic(&stack).await;

    let asked = queries();
    let alerts = text("deploy/prometheus/alerts.yml");
    let mut wanted: BTreeSet<_> =
        asked.iter().flat_map(|(_, query)| selectors(query)).chain(selectors(&alerts)).collect();
    // A text also contains `postrider_` within other words, such as the name of a group, a job or a link.
    wanted.retain(|selector| selector.len() > "postrider_".len());
    assert!(wanted.len() > 40, "{wanted:?}");
    prometheus.wait_for(wanted.iter().map(|selector| ("a selector", selector.as_str())).collect()).await;
    // Waits until every query is valid and has a result, so that also divisions and comparisons have operands.
    prometheus.wait_for(asked.iter().map(|(place, query)| (place.as_str(), query.as_str())).collect()).await;
    let rules = prometheus.get("/api/v1/rules", &[]).await.expect("an answer");
    for group in rules["data"]["groups"].as_array().expect("groups") {
        for rule in group["rules"].as_array().expect("rules") {
            assert_eq!(rule["health"], "ok", "{rule:#}");
            assert_ne!(rule["state"], "firing", "nothing is wrong here: {rule:#}");
        }
    }
    // The services' own label is kept, and every replica responds.
    assert_eq!(prometheus.series("count by (service) (up{job=\"postrider\"} == 1)").await, Some(5));
    assert_eq!(prometheus.series("up{job=\"postrider\",exported_service!=\"\"}").await, Some(0));
}
