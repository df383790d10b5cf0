//! Invalid or hostile input of producers is accepted unchanged or refused with a reason, over HTTP and the exchange, and the next
//! request is served.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::sleep;

use crate::harness::{Deployment, Message, Producer, Receiver};

/// Legal JSON that breaks careless software. It is delivered unchanged, byte by byte.
const TAKEN: &[(&str, &str)] = &[
    ("NUL in a string", r#"{"a":"\u0000","b":"x\u0000y"}"#),
    ("half of a surrogate pair", r#"{"a":"\ud83d","b":"\udc00\ud800"}"#),
    ("a name twice", r#"{"a":1,"a":2,"a":3}"#),
    ("a number that no double holds", r#"{"a":1e400,"b":-1e400,"c":1e-400}"#),
    ("digits without end", r#"{"a":123456789012345678901234567890123456789012345678901234567890.5}"#),
    ("an empty name", r#"{"":{"":[]}}"#),
    ("names of a prototype", r#"{"__proto__":{"admin":true},"constructor":null}"#),
    ("text that turns around", "{\"a\":\"\u{202e}evil\u{2066}\"}"),
    ("markup", r#"{"a":"<script>alert(1)</script>","b":"' OR 1=1 --"}"#),
    ("no object", "null"),
];

fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let event = |data: &str| format!(r#"{{"id":"refused","type":"a.b","data":{data}}}"#).into_bytes();
    let deep = |open: &str, close: &str| event(&format!("{}1{}", open.repeat(10_000), close.repeat(10_000)));
    vec![
        ("10,000 arrays", deep("[", "]"), "nested"),
        ("10,000 objects", deep(r#"{"a":"#, "}"), "nested"),
        ("10,000 brackets that are not closed", vec![b'['; 10_000], "expected"),
        ("a member twice", br#"{"type":"a.b","type":"c.d","data":1}"#.to_vec(), "duplicate field"),
        ("a type with half of a surrogate pair", br#"{"type":"a.\ud800","data":1}"#.to_vec(), "an incomplete "),
        ("a type with NUL", br#"{"type":"a.\u0000","data":1}"#.to_vec(), "/type"),
        ("an id with NUL", br#"{"type":"a.b","id":"a\u0000b","data":1}"#.to_vec(), "/id"),
        ("not a number", event("NaN"), "expected"),
        ("a comment", event("/* 1 */ 1"), "expected"),
        ("two events", br#"{"type":"a.b","data":1}{"type":"a.b","data":1}"#.to_vec(), "more text follows"),
        ("bytes that are no UTF-8", event("\"\u{fffd}\"").replace(b"\xef\xbf\xbd", b"\xff\xfe"), "unicode"),
        ("an unknown member", br#"{"type":"a.b","data":1,"__proto__":{}}"#.to_vec(), "unknown field"),
        (
            "an attribute that is no text",
            br#"{"type":"a.b","data":1,"attributes":{"a":1e400}}"#.to_vec(),
            "out of range",
        ),
        ("nothing", Vec::new(), "got none"),
    ]
}

trait Replace {
    fn replace(self, from: &[u8], to: &[u8]) -> Self;
}

impl Replace for Vec<u8> {
    fn replace(self, from: &[u8], to: &[u8]) -> Self {
        let at = self.windows(from.len()).position(|window| window == from).expect("it is in there");
        [&self[..at], to, &self[at + from.len()..]].concat()
    }
}

/// Guarantee (Hostile clients): Any input is accepted byte for byte or refused with a reason, and the next request is served.
#[tokio::test]
async fn any_producer_input_is_taken_unchanged_or_refused_with_a_reason() {
    let (deployment, receiver) = (Deployment::start("hostile").await, Receiver::start().await);
    let tenant = deployment.tenant("standard").await;
    tenant.endpoint(json!({"name": "all", "url": receiver.url("/all"), "event_types": ["*"]})).await;
    // One endpoint has a payload filter.
    let filter = json!({"any": [{"field": "data.a", "op": "eq", "value": 1}, {"field": "data.a.b", "op": "exists"}]});
    let looking =
        json!({"name": "looking", "url": receiver.url("/some"), "event_types": ["*"], "payload_filter": filter});
    tenant.endpoint(looking).await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;

    for (number, (what, data)) in TAKEN.iter().enumerate() {
        for way in ["http", "amqp"] {
            let id = format!("{way}-{number}");
            if way == "http" {
                tenant.publish_text(&format!(r#"{{"id":"{id}","type":"a.b","data":{data}}}"#)).await;
            } else {
                let event = format!(r#"{{"tenant":"{}","id":"{id}","type":"a.b","data":{data}}}"#, tenant.id);
                producer.publish(Message::new(format!("{}.a.b", tenant.id), event)).await;
            }
            let path = format!("/v1/deliveries?event_id={id}&status=delivered");
            let found =
                tenant.wait_for(&path, |page| page["data"].as_array().is_some_and(|data| !data.is_empty())).await;
            let bodies = receiver.all().into_iter().filter(|request| request.header("webhook-id") == id);
            for request in bodies {
                assert!(request.text().ends_with(&format!(r#""data":{data}}}"#)), "{what}: {}", request.text());
            }
            // The dashboard can show the delivery.
            let delivery = found["data"][0]["id"].as_str().expect("an id");
            assert!(tenant.get(&format!("/v1/deliveries/{delivery}")).await["body"].is_string(), "{what}");
        }
    }

    for (what, event, why) in refused() {
        let request = tenant.client.post(format!("{}/v1/publish", tenant.base)).bearer_auth(&tenant.key);
        let answer = request.body(event).send().await.expect("an answer");
        let status = answer.status().as_u16();
        let problem = answer.text().await.expect("a body");
        assert!((400..500).contains(&status) && problem.contains(why), "{what}: {status} {problem}");
    }
    // The server stops reading after its 431, so a client may only see a broken connection.
    let megabyte = tenant.client.post(format!("{}/v1/publish", tenant.base)).header("x-long", "a".repeat(1_000_000));
    if let Ok(answer) = megabyte.send().await {
        assert_eq!(answer.status(), 431, "a megabyte of headers");
    }

    let before = receiver.all().len();
    for (what, event, _) in refused() {
        let named = String::from_utf8_lossy(&event).replacen('{', &format!(r#"{{"tenant":"{}","#, tenant.id), 1);
        // Invalid UTF-8 is sent unchanged.
        let body = if std::str::from_utf8(&event).is_ok() { named.into_bytes() } else { event };
        producer
            .publish(Message { message_id: Some("refused"), ..Message::new(format!("{}.a.b", tenant.id), body) })
            .await;
        println!("sent {what} to the exchange");
    }
    let letters = refused().len();
    deployment
        .operator()
        .wait_for("/v1/dead-letters?limit=200", |page| {
            page["data"].as_array().is_some_and(|data| data.len() == letters)
        })
        .await;
    // The next request is served.
    let next = tenant.publish(&json!({"type": "a.b", "data": "well"})).await;
    tenant.wait_for_delivery(&next, "delivered").await;
    assert_eq!(receiver.all().len(), before + 1, "nothing of what was refused was delivered");
}

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Guarantee (Hostile clients): Publishing too fast gets 429 with `Retry-After`, for that tenant only.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_over_its_rate_gets_429_and_others_do_not() {
    let deployment = Deployment::start("greedy").await;
    let (greedy, calm) = (deployment.tenant("standard").await, deployment.tenant("standard").await);
    deployment
        .operator()
        .patch(&format!("/v1/tenants/{}", greedy.id), &json!({"limits": {"events_per_second": 1}}))
        .await;
    deployment.configuration_in_force().await;
    let publish = async |tenant: &crate::harness::Tenant| {
        let request = tenant.client.post(format!("{}/v1/publish", tenant.base)).bearer_auth(&tenant.key);
        request.body(r#"{"type":"a.b","data":1}"#).send().await.expect("an answer")
    };
    let started = Instant::now();
    let late = loop {
        // The requests are concurrent, so that even a slow machine exceeds the limit.
        let answers = join_all((0..20).map(|_| publish(&greedy))).await;
        assert!(answers.iter().all(|answer| matches!(answer.status().as_u16(), 202 | 429)), "{answers:?}");
        if let Some(late) = answers.into_iter().find(|answer| answer.status() == 429) {
            break late;
        }
        assert!(started.elapsed() < PATIENCE, "one event a second is no limit");
    };
    let after = late.headers()["retry-after"].to_str().expect("text").parse::<u64>().expect("seconds");
    assert!((1..=60).contains(&after), "{after}");
    assert_eq!(late.headers()["content-type"], "application/problem+json");
    assert_eq!(publish(&calm).await.status(), 202);
}

/// Guarantee (Hostile clients): More clients than file descriptors do not end the process.
#[tokio::test(flavor = "multi_thread")]
async fn more_clients_than_file_descriptors_do_not_end_the_process() {
    let (deployment, receiver) = (Deployment::start("descriptors").await, Receiver::start().await);
    let tenant = deployment.tenant("standard").await;
    tenant.endpoint(json!({"name": "all", "url": receiver.url("/"), "event_types": ["*"]})).await;
    let pid = deployment.pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").count();
    let limit = format!("--nofile={0}:{0}", open + 20);
    let limited =
        Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status().await.expect("prlimit runs");
    assert!(limited.success(), "{limited}");

    let address = deployment.operator().base.trim_start_matches("http://").to_owned();
    let clients = join_all((0..100).map(|_| TcpStream::connect(&address))).await;
    let started = Instant::now();
    while !deployment.log().contains("cannot accept a connection") {
        assert!(started.elapsed() < PATIENCE, "a hundred clients fit into twenty descriptors");
        sleep(LOOK_EVERY).await;
    }

    drop(clients);
    let event = tenant.publish(&json!({"type": "a.b", "data": "well"})).await;
    tenant.wait_for_delivery(&event, "delivered").await;
}
