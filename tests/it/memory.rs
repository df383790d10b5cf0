//! The memory limits of `k8s/` hold under requests and responses designed to use memory. Each row prints the process's peak
//! (`VmHWM` of /proc) and the limit of its Deployment.
//!
//! One scenario, in the order of the processes: a peak never falls, so a process is checked after each attack.

use std::time::{Duration, Instant};

use postrider_testkit::engines::Scope;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::{Cluster, Publisher, Urls};

/// Timeout of responses, and of writes to a peer that does not read.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_below_the_limits_of_kubernetes_under_attack() {
    let scope = Scope::new("memory").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let cluster = Cluster::start(urls).await;
    let heads = endless_heads().await;
    let urls: Vec<String> = (0..60).map(|number| format!("{heads}{number}")).collect();
    let endpoints: Vec<(&str, Value)> = urls.iter().map(|url| (url.as_str(), json!({}))).collect();
    let (alone, few, many) =
        (cluster.tenant(&[]).await, cluster.tenant(&endpoints[..10]).await, cluster.tenant(&endpoints).await);
    // This also waits until the keys are in force.
    for publisher in [&alone, &few, &many] {
        small_events(&cluster, publisher, 1).await;
    }
    for name in ["ingest", "fanout", "dispatcher", "api"] {
        check(&cluster, name, "at rest");
    }

    let held = half_sent_forms(&cluster).await;
    check(&cluster, "api", "200 half-sent sign-in forms of 250 KB");
    drop(held);
    let held = half_sent_batches(&cluster, &alone).await;
    whole_batches(&cluster, &alone, 12).await;
    check(&cluster, "ingest", "30 half-sent batches of 8 MiB and 12 whole ones");
    drop(held);
    let held = unread_lists(&cluster, &alone).await;
    check(&cluster, "api", "40 lists of event types that the clients do not read");
    drop(held);
    reached(&cluster, "recorder", "postrider_recorder_rows_total{", 60.0).await;
    dry_runs(&cluster, &alone).await;
    check(&cluster, "api", "6 dry runs over a log of large payloads");
    whole_batches(&cluster, &few, 1).await;
    small_events(&cluster, &many, 5).await;
    reached(&cluster, "dispatcher", "postrider_dispatcher_attempts_total", 100.0).await;
    check(&cluster, "fanout", "a batch of 7.5 MB for 10 endpoints, 5 events for 60");
    check(&cluster, "dispatcher", "at least 100 answers with endless heads, large bodies");
}

/// Prints a process's peak and limit, and fails if the peak exceeds it.
fn check(cluster: &Cluster, name: &'static str, attack: &str) {
    let (peak, limit) = (peak_mib(cluster.pid(name)), limit_mib(name));
    println!("{name:<10} {peak:>5} MiB of {limit:>5} MiB  {attack}");
    assert!(peak < limit, "{name} took {peak} MiB, its limit is {limit} MiB: {attack}");
}

fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kB") / 1_024
}

/// The memory limit in the Deployment of a service.
fn limit_mib(service: &str) -> u64 {
    let path = format!("{}/../k8s/base/{service}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a manifest");
    let limits = text.lines().find_map(|line| line.trim().strip_prefix("limits: ")).expect("limits");
    let memory = limits.split("memory: ").nth(1).expect("memory").trim_end_matches([' ', '}']);
    match memory.strip_suffix("Gi") {
        Some(gibi) => gibi.parse::<u64>().expect("Gi") * 1_024,
        None => memory.strip_suffix("Mi").expect("Mi").parse().expect("Mi"),
    }
}

/// Starts an endpoint that responds with an endless head. Returns its base URL.
async fn endless_heads() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
                let line = format!("x-filler: {}\r\n", "x".repeat(8_000));
                while stream.write_all(line.as_bytes()).await.is_ok() {}
            });
        }
    });
    format!("http://{address}/")
}

/// Opens connections and sends an incomplete request on each. They stay open until dropped.
async fn half_sent(cluster: &Cluster, to: &'static str, count: usize, head: String, body: usize) -> Vec<TcpStream> {
    let address = cluster.base(to).trim_start_matches("http://").to_owned();
    let mut sending = JoinSet::new();
    for _ in 0..count {
        let (address, head) = (address.clone(), head.clone());
        sending.spawn(async move {
            let mut stream = TcpStream::connect(&address).await.expect("a connection");
            let rest = vec![b'x'; body - 1];
            // The server may close the connection or stop reading: both are valid responses to the attack.
            let _ = timeout(PATIENCE, async {
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&rest).await
            })
            .await;
            stream
        });
    }
    sending.join_all().await
}

async fn half_sent_forms(cluster: &Cluster) -> Vec<TcpStream> {
    let size = 250_000;
    let head = format!(
        "POST /dashboard/sign-in HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {size}\r\n\r\n"
    );
    half_sent(cluster, "api", 200, head, size).await
}

async fn half_sent_batches(cluster: &Cluster, publisher: &Publisher) -> Vec<TcpStream> {
    let size = 8 * 1_024 * 1_024;
    let head = format!(
        "POST /v1/publish/batch HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         authorization: Bearer {}\r\ncontent-length: {size}\r\n\r\n",
        publisher.key
    );
    half_sent(cluster, "ingest", 30, head, size).await
}

/// Publishes concurrent batches of 30 events of 250 KB. A refusal for lack of memory is a valid response.
async fn whole_batches(cluster: &Cluster, publisher: &Publisher, count: usize) {
    let event = json!({"type": "order.paid", "data": {"filler": "x".repeat(250_000)}});
    let batch = json!({"events": vec![event; 30]}).to_string();
    let client = reqwest::Client::new();
    let mut sending = JoinSet::new();
    for _ in 0..count {
        let request = client.post(cluster.base("ingest") + "/v1/publish/batch").bearer_auth(&publisher.key);
        let request = request.header("content-type", "application/json").body(batch.clone());
        sending.spawn(async move { request.send().await.map(|answer| answer.status().as_u16()) });
    }
    let answers = sending.join_all().await;
    println!("batches were answered with {answers:?}");
}

/// Publishes events of ordinary size.
async fn small_events(cluster: &Cluster, publisher: &Publisher, count: usize) {
    for number in 0..count {
        let event = json!({"type": "order.paid", "data": {"number": number}});
        cluster.post_when_known("ingest", "/v1/publish", &publisher.key, &event).await;
    }
}

/// Waits until a metric of a process, summed over its labels, reaches this value.
async fn reached(cluster: &Cluster, name: &str, metric: &str, least: f64) {
    let url = format!("{}/metrics", cluster.base(name));
    let started = Instant::now();
    loop {
        let text = reqwest::get(&url).await.expect("an answer").text().await.expect("text");
        let lines = text.lines().filter(|line| line.starts_with(metric));
        let sum: f64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        if sum >= least {
            return;
        }
        assert!(started.elapsed() < PATIENCE * 30, "{metric} is {sum} after {:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Defines 40 event types with large samples and schemas. Then 40 clients request the list and do not read it.
async fn unread_lists(cluster: &Cluster, publisher: &Publisher) -> Vec<TcpStream> {
    let client = reqwest::Client::new();
    for number in 0..40 {
        let said = json!({
            "sample": {"filler": "x".repeat(15_000)},
            "schema": {"type": "object", "description": "x".repeat(60_000)},
        });
        let request = client.put(format!("{}/v1/event-types/filler.{number}", cluster.base("api")));
        let answer = request.bearer_auth(&publisher.key).json(&said).send().await.expect("an answer");
        // The catalog may reach its limit of bytes before it has 40 types.
        if !answer.status().is_success() {
            println!("event type {number}: {}", answer.status());
            break;
        }
    }
    let address = cluster.base("api").trim_start_matches("http://").to_owned();
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        let request = format!(
            "GET /v1/event-types?limit=200 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
            publisher.key
        );
        stream.write_all(request.as_bytes()).await.expect("written");
        held.push(stream);
    }
    // Once the first byte arrives, the whole response is in memory.
    for stream in &held {
        let _ = timeout(PATIENCE, stream.readable()).await;
    }
    held
}

/// Starts dry runs of replays that match every recorded event again.
async fn dry_runs(cluster: &Cluster, publisher: &Publisher) {
    let filter = json!({"all": [{"field": "data.filler", "op": "eq", "value": "y"}]});
    let endpoint = json!({
        "name": "filtered", "channel": "web", "url": "http://127.0.0.1:9/", "event_types": ["*"],
        "payload_filter": filter,
    });
    let client = reqwest::Client::new();
    let post = |path: &str, key: &str, body: &Value| {
        let request = client.post(format!("{}{path}", cluster.base("api"))).bearer_auth(key);
        request.json(body).send()
    };
    let made = post("/v1/endpoints", &publisher.key, &endpoint).await.expect("an answer");
    println!("endpoint with a payload filter: {}", made.status());
    let ask = json!({"event_types": ["*"], "mode": "rematch", "dry_run": true});
    let answers = futures::future::join_all((0..6).map(|_| post("/v1/replays", &publisher.key, &ask))).await;
    let statuses: Vec<u16> = answers.into_iter().flatten().map(|answer| answer.status().as_u16()).collect();
    println!("dry runs were answered with {statuses:?}");
}
