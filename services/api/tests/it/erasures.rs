//! Erasures through the API: requests, answers without the value, and who may do what. No eraser runs in these tests.

use serde_json::json;

use crate::harness::{OPERATOR, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_is_requested_shown_and_cancelled_and_no_answer_has_its_value() {
    let world = World::new("api_erasures").await;
    let (tenant, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let request =
        json!({"field": "data.email", "value": "jo@example.com", "since": "2026-01-01T00:00:00Z", "dry_run": true});
    let made = world.post(&tenant.key, "/v1/erasures", request).await.ok(202);
    let path = format!("/v1/erasures/{}", made["id"].as_str().unwrap());
    let shown = world.get(&tenant.key, &path).await.ok(200);
    let facts = (&shown["status"], &shown["field"], &shown["dry_run"], &shown["since"], &shown["stage"]);
    let expected =
        (&json!("waiting"), &json!("data.email"), &json!(true), &json!("2026-01-01T00:00:00.000Z"), &json!("events"));
    assert_eq!(facts, expected, "{shown:#}");
    assert!(shown["value_hash"].as_str().is_some_and(|hash| hash.starts_with("k1:")), "{shown:#}");
    let listed = world.get(OPERATOR, &format!("/v1/erasures?tenant={}", tenant.id)).await.ok(200);
    assert_eq!(listed["data"], json!([shown]));
    assert_eq!(world.get(&other.key, "/v1/erasures").await.ok(200)["data"], json!([]));
    world.get(&other.key, &path).await.problem(404, "");
    let cancel = format!("{path}/cancel");
    world.post(&other.key, &cancel, json!({})).await.problem(404, "");
    for _ in 0..2 {
        world.post(&tenant.key, &cancel, json!({})).await.ok(202);
    }
    let cancelled = world.get(&tenant.key, &path).await.ok(200);
    assert_eq!(cancelled["status"], json!("cancelled"));
    let audit = world.get(OPERATOR, "/v1/audit-log").await.ok(200);
    for answer in [&shown, &cancelled, &audit] {
        assert!(!answer.to_string().contains("jo@"), "{answer:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_request_is_refused_at_its_field_and_a_reader_may_not_erase() {
    let world = World::new("api_erasures_bad").await;
    let tenant = world.tenant("standard").await;
    for (body, pointer) in [
        (json!({"value": "ab"}), "/value"),
        (json!({"value": "abc", "field": "email"}), "/field"),
        (json!({"value": "abc", "until": "soon"}), "/until"),
        (json!({"value": "abc", "since": "2999-01-01T00:00:00Z"}), "/since"),
    ] {
        world.post(&tenant.key, "/v1/erasures", body).await.problem(422, pointer);
    }
    let reader = world.key(&tenant.id, &["read"]).await;
    while world.get(&reader, "/v1/erasures").await.status == 401 {
        tokio::task::yield_now().await;
    }
    world.post(&reader, "/v1/erasures", json!({"value": "abc"})).await.problem(403, "");
    world.post(OPERATOR, "/v1/erasures", json!({"value": "abc"})).await.problem(422, "tenant");
    let mut open = 0;
    while world.post(&tenant.key, "/v1/erasures", json!({"value": "abc"})).await.status == 202 {
        open += 1;
    }
    assert_eq!(open, 10);
}
