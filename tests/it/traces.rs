//! One trace from publishing to the endpoint, over separate processes, as a collector sees it.

use std::time::{Duration, Instant};

use postrider_testkit::engines::Scope;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{Answer, Cluster, Collector, Received, Receiver, Span, Urls};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The producer's own span.
const PRODUCER: &str = "b7ad6b7169203331";

/// A cluster that exports traces, with a tenant and an endpoint in force.
struct World {
    cluster: Cluster,
    collector: Collector,
    receiver: Receiver,
    key: String,
    client: reqwest::Client,
    _scope: Scope,
}

impl World {
    async fn start(name: &str) -> Self {
        let scope = Scope::new(name).await;
        let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
        let collector = Collector::start().await;
        let mut settings = collector.settings();
        settings
            .push(("RUST_LOG", "info,postrider_ingest=debug,postrider_fanout=debug,postrider_dispatcher=debug".into()));
        let cluster = Cluster::start_with(urls, settings).await;
        let receiver = Receiver::start().await;
        let publisher = cluster.tenant(&[(&receiver.url("/"), json!({}))]).await;
        let client = reqwest::Client::new();
        let world = Self { cluster, collector, receiver, key: publisher.key, client, _scope: scope };
        let started = Instant::now();
        while world.receiver.all().is_empty() {
            assert!(started.elapsed() < PATIENCE, "the endpoint is not in force after {PATIENCE:?}");
            // An error is ignored, because the key may not be known yet.
            let _ = world.publish("00-11111111111111111111111111111111-1111111111111111-00").await;
            sleep(LOOK_EVERY).await;
        }
        world
    }

    /// The event's id, when the key is known.
    async fn publish(&self, traceparent: &str) -> Option<String> {
        let request = self.client.post(self.cluster.base("ingest") + "/v1/publish").bearer_auth(&self.key);
        let request = request.header("traceparent", traceparent).header("content-type", "application/json");
        let answer = request.body(json!({"type": "a.b", "data": {}}).to_string()).send().await.expect("an answer");
        let answer: Value = serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
        answer["id"].as_str().map(str::to_owned)
    }

    /// Waits for the next request for this event.
    async fn next_of(&self, event: &str) -> Received {
        loop {
            let request = self.receiver.next().await;
            if request.header("webhook-id") == event {
                return request;
            }
        }
    }

    /// Waits for the span with this id.
    async fn span(&self, id: &str) -> Span {
        self.collector.wait_for(id, |span| span.id == id).await
    }

    /// Waits for a JSON log line of a process.
    async fn log_line(&self, processes: &[&str], fulfils: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let text: String = processes.iter().map(|name| self.cluster.log(name)).collect();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = lines.find(&fulfils) {
                return line;
            }
            assert!(started.elapsed() < PATIENCE, "no such line in the log of {processes:?}");
            sleep(LOOK_EVERY).await;
        }
    }
}

/// The trace, the span and the flags of a request's `traceparent`.
fn traceparent(request: &Received) -> (String, String, String) {
    let parts: Vec<_> = request.header("traceparent").split('-').map(str::to_owned).collect();
    let [version, trace, span, flags] = <[String; 4]>::try_from(parts).expect("four parts");
    assert_eq!(version, "00");
    (trace, span, flags)
}

/// Guarantee (The log, and repairs): One trace over HTTP and AMQP.
#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_publish_to_endpoint_and_retries_link_to_it() {
    const PRODUCERS: &str = "0af7651916cd43dd8448eb211c80319c";
    let world = World::start("traces").await;
    world.receiver.answer_next([Answer::status(503), Answer::status(503)]);
    let event = world.publish(&format!("00-{PRODUCERS}-{PRODUCER}-01")).await.expect("accepted");
    let first = world.next_of(&event).await;
    let (trace, attempt, flags) = traceparent(&first);
    assert_eq!(flags, "01");
    assert_ne!(trace, PRODUCERS, "a trace of our own, linked to the producer's");

    // From the endpoint back to the publish, parent by parent.
    let mut id = attempt.clone();
    let mut way = Vec::new();
    while !id.trim_start_matches('0').is_empty() {
        let span = world.span(&id).await;
        assert_eq!(span.trace, trace, "{span:?}");
        id.clone_from(&span.parent);
        way.push(span);
    }
    let names: Vec<_> = way.iter().map(|span| (span.service.as_str(), span.name.as_str())).collect();
    let expected = [
        ("postrider-dispatcher", "attempt"),
        ("postrider-dispatcher", "process postrider.lane.live"),
        ("postrider-fanout", "process postrider.fanout"),
        ("postrider-ingest", "publish postrider.accepted"),
        ("postrider-ingest", "POST /v1/publish"),
    ];
    assert_eq!(names, expected);
    assert_eq!(way[4].links, [(PRODUCERS.to_owned(), PRODUCER.to_owned())]);
    for span in &way[1..4] {
        assert_eq!(span.attributes["messaging.system"], "rabbitmq", "{span:?}");
    }
    assert_eq!(way[2].attributes["messaging.message.id"], event);
    assert_eq!(way[0].attributes["delivery.id"], first.header("postrider-delivery"));
    assert_eq!(way[0].attributes["error.type"], "http_status");

    // Each retry is a separate trace, linked to the first attempt.
    for _ in 0..2 {
        let (retry_trace, retry, _) = traceparent(&world.next_of(&event).await);
        assert_ne!(retry_trace, trace);
        let retry = world.span(&retry).await;
        assert_eq!((retry.trace, retry.links), (retry_trace, vec![(trace.clone(), attempt.clone())]));
    }

    // The recorder writes batches, linked to the traces of their messages.
    for told in [&attempt, &way[3].id] {
        let link = (trace.clone(), told.clone());
        let recorded = world
            .collector
            .wait_for("the recorder's", |span| span.service == "postrider-recorder" && span.links.contains(&link))
            .await;
        assert_eq!(recorded.name, "process postrider.record");
    }

    // The log lines of each process name their span.
    for (processes, message, span) in [
        (&["ingest"][..], "accepted an event", &way[4]),
        (&["fanout"], "decided about an event", &way[2]),
        (&["dispatcher", "dispatcher-2"], "made an attempt", &way[1]),
    ] {
        let line = world.log_line(processes, |line| line["message"] == message && line["trace_id"] == trace).await;
        assert_eq!(line["span_id"], json!(span.id), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producers_sampling_flag_does_not_decide_recording() {
    const PRODUCERS: &str = "2222222222222222222222222222222a";
    let world = World::start("unsampled").await;
    let event = world.publish(&format!("00-{PRODUCERS}-{PRODUCER}-00")).await.expect("accepted");
    let (trace, _, flags) = traceparent(&world.next_of(&event).await);
    assert_eq!(flags, "01", "the sampler records every trace");
    for service in ["postrider-ingest", "postrider-fanout", "postrider-dispatcher"] {
        world.collector.wait_for(service, |span| span.service == service && span.trace == trace).await;
    }
}
