//! The page of a webhook's held keys.

use axum::http::StatusCode;
use serde_json::json;

use crate::all_forms::held_key;
use crate::pages::{get, post, sign_in};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_key_is_listed_and_released_by_its_buttons() {
    let world = crate::world("dash_held_keys").await;
    let tenant = world.tenant("standard").await;
    let [endpoint, _, delivery] = held_key(&world, &tenant).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let webhook = format!("/dashboard/{}/webhooks/{endpoint}", tenant.id);
    let at = format!("{webhook}/held-keys");
    assert!(get(&world, &cookie, &webhook).await.text.contains("1 key waits for a decision."));

    let list = get(&world, &cookie, &at).await;
    let key = format!("key of {endpoint}");
    assert!(list.text.contains(&key) && list.text.contains(&format!("/deliveries/{delivery}")), "{}", list.text);
    let reader = world.key(&tenant.id, &["read"]).await;
    let reader = sign_in(&world, &reader).await;
    let read = get(&world, &reader, &at).await.text;
    assert!(read.contains(&key) && !read.contains("Go on without it"), "{read}");

    let csrf = list.csrf();
    let form = |action| [("csrf", csrf.as_str()), ("delivery_id", delivery.as_str()), ("action", action)];
    let refused = post(&world, &reader, &at, &[("csrf", get(&world, &reader, &at).await.csrf().as_str())]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let skipped = post(&world, &cookie, &at, &form("skip")).await;
    assert_eq!(skipped.status, StatusCode::SEE_OTHER, "{}", skipped.text);
    assert!(skipped.header("location").starts_with(&format!("{at}?")), "{}", skipped.header("location"));
    let held = world.get(&tenant.key, &format!("/v1/endpoints/{endpoint}/held-keys")).await.ok(200);
    assert_eq!(held["data"], json!([]));
    assert!(get(&world, &cookie, &at).await.text.contains("No key is held"));
    assert!(!get(&world, &cookie, &webhook).await.text.contains("waits for a decision."));
    let again = post(&world, &cookie, &at, &form("retry")).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "an old copy of the page: {}", again.text);
}
