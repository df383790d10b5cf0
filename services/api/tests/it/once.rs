//! `Idempotency-Key` on POSTs of the API.

use axum::http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, OPERATOR, World, endpoint};

async fn post(world: &World, key: &str, path: &str, body: &Value, idempotency_key: &str) -> Answer {
    world.call_with(key, "POST", path, Some(body), &[("idempotency-key", idempotency_key)]).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed") == Some(&HeaderValue::from_static("true"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_post_acts_once_and_gets_the_first_answer() {
    let world = World::new("api_once").await;
    let tenant = world.tenant("standard").await;
    let path = "/v1/endpoints";
    let first = post(&world, &tenant.key, path, &endpoint(), "k1").await;
    assert!(!is_replayed(&first));
    let again = post(&world, &tenant.key, path, &endpoint(), "k1").await;
    assert!(is_replayed(&again));
    assert_eq!((again.headers.get("etag"), again.status), (first.headers.get("etag"), StatusCode::CREATED));
    assert!(first.body["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(again.body, first.body, "the repeat gets the secret again");
    assert_eq!(world.get(&tenant.key, path).await.ok(200)["usage"], json!(1));

    // Another request under the key is refused.
    let mut other = endpoint();
    other["name"] = json!("other");
    post(&world, &tenant.key, path, &other, "k1").await.problem(422, "Idempotency-Key");
    let elsewhere = format!("{path}/{}/rotate-secret", first.body["id"].as_str().unwrap());
    post(&world, &tenant.key, &elsewhere, &json!({}), "k1").await.problem(422, "Idempotency-Key");
    // Another caller may use the same key.
    let key = world.key(&tenant.id, &["read", "manage"]).await;
    assert!(!is_replayed(&post(&world, &key, path, &other, "k1").await));

    // A repeated rotation rotates once.
    let rotated = post(&world, &tenant.key, &elsewhere, &json!({}), "k2").await;
    let repeated = post(&world, &tenant.key, &elsewhere, &json!({}), "k2").await;
    assert_eq!(rotated.body, repeated.body);
    let read = world.get(&tenant.key, &format!("{path}/{}", first.body["id"].as_str().unwrap())).await.ok(200);
    assert_eq!(read["previous_secrets_until"].as_array().map(Vec::len), Some(1), "{read:#}");

    // A refused request changes nothing: the corrected request may use the same key.
    post(&world, &tenant.key, path, &json!({"name": "n"}), "k3").await.problem(422, "/event_types");
    post(&world, &tenant.key, path, &endpoint(), "k3").await.ok(201);
    world.call_with(&tenant.key, "POST", path, Some(&endpoint()), &[("idempotency-key", "")]).await.problem(400, "");
    let long = "x".repeat(257);
    post(&world, &tenant.key, path, &endpoint(), &long).await.problem(400, "");
    post(&world, "unknown", path, &endpoint(), "k4").await.problem(401, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_repeats_create_one_key_and_one_tenant() {
    let world = World::new("api_once_at_once").await;
    let tenant = world.tenant("standard").await;
    let body = json!({"name": "Acme", "profile": "standard"});
    let all = (0..8).map(|_| post(&world, OPERATOR, "/v1/tenants", &body, "one"));
    let answers = futures::future::join_all(all).await;
    let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!made.is_empty() && made.iter().all(|answer| answer.body == made[0].body));
    assert_eq!(made.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    for answer in &answers {
        assert!(answer.status == 201 || answer.status == 409, "{:#}", answer.body);
    }
    assert_eq!(world.get(OPERATOR, "/v1/tenants").await.ok(200)["data"].as_array().map(Vec::len), Some(3));

    let path = format!("/v1/tenants/{}/keys", tenant.id);
    let new = json!({"name": "k", "scopes": ["read"]});
    let first = post(&world, &tenant.key, &path, &new, "two").await.ok(201);
    let again = post(&world, &tenant.key, &path, &new, "two").await.ok(201);
    assert_eq!(first["key"], again["key"]);
    assert_eq!(world.get(&tenant.key, &path).await.ok(200)["data"].as_array().map(Vec::len), Some(2));
}
