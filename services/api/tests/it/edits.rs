//! The answer to an edit is sent when the live instances have applied the edit, or names the instances that have not.

use std::time::{Duration, Instant};

use postrider_wire::messages::{AppliedVersion, Hint, ServiceRole};
use serde_json::json;

use crate::harness::{OPERATOR, World, endpoint};

const WAIT_MAX: Duration = Duration::from_millis(500);

fn applied(version: i64) -> Hint {
    Hint::Applied(AppliedVersion { instance: "other-0000abcd".into(), role: ServiceRole::Ingest, version })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_waits_for_a_lagging_instance_and_its_answer_names_it() {
    let world = World::new("api_edits").await;
    let tenant = world.tenant("standard").await;
    let hints = world.broker.hint_sender();
    // Edits until an answer names the instance: from then on, the API regards the instance as live.
    let (lagging, took) = loop {
        hints.send(applied(1));
        let started = Instant::now();
        let made = world.post(&tenant.key, "/v1/endpoints", endpoint()).await;
        if let Some(lagging) = made.headers.get("postrider-lagging") {
            break (lagging.clone(), started.elapsed());
        }
        assert_eq!(made.status, 201);
    };
    assert_eq!(lagging, "other-0000abcd");
    assert!(took >= WAIT_MAX, "{took:?}");

    // A read does not wait.
    let read = world.get(&tenant.key, "/v1/endpoints").await;
    assert!(!read.headers.contains_key("postrider-lagging"));
    // An edit that the instance has applied does not wait either.
    hints.send(applied(i64::MAX));
    let edited = loop {
        let edited = world.post(&tenant.key, "/v1/endpoints", endpoint()).await;
        if !edited.headers.contains_key("postrider-lagging") {
            break edited;
        }
    };
    assert_eq!(edited.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_of_every_kind_wait() {
    let world = World::new("api_edit_kinds").await;
    let tenant = world.tenant("standard").await;
    let made = world.endpoint(&tenant).await;
    let endpoint = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let tenant_path = format!("/v1/tenants/{}", tenant.id);
    let keys = format!("{tenant_path}/keys");
    let hints = world.broker.hint_sender();
    while !world.post(OPERATOR, &keys, json!({"name": "k", "scopes": ["read"]})).await.is_lagging() {
        hints.send(applied(1));
    }
    let edits = [
        ("PATCH", endpoint.clone(), json!({"name": "second"})),
        ("PATCH", endpoint.clone(), json!({"status": "inactive"})),
        ("POST", format!("{endpoint}/rotate-secret"), json!({})),
        ("POST", keys, json!({"name": "k", "scopes": ["read"]})),
        ("PUT", "/v1/event-types/order.paid".into(), json!({"description": "paid"})),
        ("DELETE", "/v1/event-types/order.paid".into(), json!({})),
        ("PATCH", tenant_path.clone(), json!({"name": "second"})),
        ("DELETE", endpoint, json!({})),
        ("DELETE", tenant_path, json!({})),
    ];
    for (method, path, body) in edits {
        hints.send(applied(1));
        let path = if path.starts_with("/v1/tenants") { path } else { format!("{path}?tenant={}", tenant.id) };
        let answer = world.call(OPERATOR, method, &path, Some(&body)).await;
        assert!(answer.status.is_success(), "{method} {path}: {:#}", answer.body);
        assert!(answer.is_lagging(), "{method} {path} did not wait");
    }
    let keyed = [("idempotency-key", "first")];
    hints.send(applied(1));
    let body = json!({"name": "Acme", "profile": "standard"});
    let answer = world.call_with(OPERATOR, "POST", "/v1/tenants", Some(&body), &keyed).await;
    assert!(answer.status.is_success() && answer.is_lagging(), "with an Idempotency-Key: {:#}", answer.body);
}
