//! The API against its own document: schemathesis generates valid and invalid requests from `/openapi.json` and checks every
//! response: no 5xx, and no undocumented status, content type or body. Every operation must succeed at least once, except for those
//! with scenarios of their own, so that the checks are meaningful.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use postrider_testkit::python;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::{Deployment, Message, OPERATOR_KEY, Producer, Receiver};

/// Timeout of the run.
const PATIENCE: Duration = Duration::from_secs(900);
/// Generated requests for each operation, in addition to examples and boundary values of its schema.
const EXAMPLES: &str = "12";
/// Tenants used in rotation, because each may only make 200 changes at once and five a second after that.
const TENANTS: usize = 8;
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance";

/// Operations that succeed only in a state that generated requests do not reach. Their own scenarios check their success.
const ELSEWHERE: [&str; 2] = [
    // Needs an erasure that has not ended: services/api/tests/it/erasures.rs.
    "post /v1/erasures/{id}/cancel",
    // Needs a key that is held: `ordering::a_held_key_waits_for_a_decision_and_delays_no_other_key`.
    "post /v1/endpoints/{id}/held-keys/release",
];

/// Guarantee (Secrets and tenants): The API answers as its OpenAPI document says.
#[tokio::test]
async fn fuzzed_requests_are_answered_as_the_document_says() {
    let mut command =
        tokio::task::spawn_blocking(|| python::with(&python::SCHEMATHESIS)).await.unwrap().expect("schemathesis");
    let deployment = Deployment::start("fuzz").await;
    let receiver = Receiver::start().await;
    let mut tenants = Vec::new();
    for _ in 0..TENANTS {
        let tenant = deployment.tenant("standard").await;
        deployment.limit_endpoints(&tenant, 100_000).await;
        let endpoint = tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
        let event = tenant.publish(&json!({"type": "a.b", "data": {}, "attributes": {"bridge": "b1"}})).await;
        let delivery = tenant.wait_for_delivery(&event, "delivered").await;
        let counts = tenant.post("/v1/erasures", &json!({"value": "nobody@example.com", "dry_run": true})).await;
        let ids = json!({"endpoints": endpoint.id(), "events": event, "deliveries": delivery["id"], "erasures": counts["id"]});
        tenants.push(json!({"id": tenant.id, "key": tenant.key, "ids": ids}));
    }
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    for number in 0..20 {
        let key = format!("{}.a.b", tenants[0]["id"].as_str().expect("an id"));
        producer.publish(Message::new(key, format!("no JSON {number}"))).await;
    }
    let all_there = |page: &serde_json::Value| page["data"].as_array().is_some_and(|data| data.len() == 20);
    deployment.operator().wait_for("/v1/dead-letters", all_there).await;

    let folder = tempfile::tempdir().expect("a folder");
    let answers = folder.path().join("answers");
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/fuzz/hooks.py");
    command
        .args(["-m", "schemathesis.cli", "run", "--phases", "examples,coverage,fuzzing", "--checks", CHECKS])
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--suppress-health-check", "all", "--continue-on-failure"])
        .args(["--request-timeout", "30", "--warnings", "off"])
        .arg(format!("{}/openapi.json", deployment.operator().base))
        .current_dir(folder.path())
        .env("SCHEMATHESIS_HOOKS", &hooks)
        .env("FUZZ_BASE", &deployment.operator().base)
        .env("FUZZ_OPERATOR", OPERATOR_KEY)
        .env("FUZZ_TENANTS", json!(tenants).to_string())
        .env("FUZZ_ANSWERS", &answers)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    let started = Instant::now();
    let run = Command::from(command).kill_on_drop(true).output();
    let output = timeout(PATIENCE, run).await.expect("it ends in time").expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));

    let answers = std::fs::read_to_string(answers).expect("the hooks' lines");
    println!("{} requests in {:.0?}", answers.lines().count(), started.elapsed());
    let document = deployment.operator().get("/openapi.json").await;
    let mut never = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys() {
            let operation = format!("{method} {path}");
            let succeeded = format!("{operation} 2");
            if !ELSEWHERE.contains(&&*operation) && !answers.lines().any(|line| line.starts_with(&succeeded)) {
                never.push(operation);
            }
        }
    }
    assert!(never.is_empty(), "never succeeded, so give hooks.py what they need: {never:?}");
}
