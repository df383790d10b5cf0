//! The pages of erasures: a person counts first, and erases by entering the value once more.

use axum::http::StatusCode;
use postrider_model::ids::DeliveryId;
use postrider_store::erasures::{Claim, ErasureStep, Examined, Hits, StepEnd};
use serde_json::json;

use crate::harness::{Tenant, World};
use crate::pages::{get, post, sign_in};

/// Starts a dry run of an erasure of this value, which finds something. Returns its id.
pub(crate) async fn counted(world: &World, tenant: &Tenant, value: &str) -> String {
    let made = world.post(&tenant.key, "/v1/erasures", json!({"value": value, "dry_run": true})).await.ok(202);
    let id = made["id"].as_str().unwrap().to_owned();
    finish(world, &id).await;
    id
}

/// Makes the only step of a dry run, which finds a test call.
async fn finish(world: &World, id: &str) {
    // Erasures of other tenants may come first.
    while let Some(Claim::Step(claimed)) = world.store.claim_erasure().await.unwrap() {
        if claimed.erasure.id.to_string() == id {
            let hits = Hits::TestCalls(vec![DeliveryId::generate()]);
            let step = ErasureStep { hits, examined: Examined::default(), reached_at: None, end: StepEnd::Finish };
            assert!(world.store.commit_erasure_step(&claimed, step).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_counts_first_and_erases_by_the_same_value() {
    let world = crate::world("dash_erasures").await;
    let tenant = world.tenant("standard").await;
    let cookie = sign_in(&world, &tenant.key).await;
    let own = format!("/dashboard/{}", tenant.id);
    let new = format!("{own}/erasures/new");
    let csrf = get(&world, &cookie, &new).await.csrf();
    let wrong = post(&world, &cookie, &new, &[("csrf", csrf.as_str()), ("value", "x"), ("field", "email")]).await;
    assert!(wrong.text.contains("a value has 3 to 1024 bytes, got 1"), "{}", wrong.text);

    let csrf = get(&world, &cookie, &new).await.csrf();
    let fields = [("csrf", csrf.as_str()), ("value", "jo@example.com"), ("field", "data.email")];
    let counting = post(&world, &cookie, &new, &fields).await;
    let at = counting.header("location").split('?').next().unwrap().to_owned();
    let waits = get(&world, &cookie, &at).await.text;
    assert!(waits.contains("Count: data.email") && !waits.contains("Erase for good"), "{waits}");
    finish(&world, at.rsplit('/').next().unwrap()).await;

    let counted = get(&world, &cookie, &at).await;
    assert!(counted.text.contains("Erase for good") && !counted.text.contains("jo@"), "{}", counted.text);
    let erase = format!("{at}/erase");
    let csrf = counted.csrf();
    let other = post(&world, &cookie, &erase, &[("csrf", csrf.as_str()), ("value", "al@example.com")]).await;
    assert!(other.text.contains("this is not the value that was counted"), "{}", other.text);
    let csrf = get(&world, &cookie, &at).await.csrf();
    let erasing = post(&world, &cookie, &erase, &[("csrf", csrf.as_str()), ("value", "jo@example.com")]).await;
    assert_eq!(erasing.status, StatusCode::SEE_OTHER, "{}", erasing.text);
    let listed = world.get(&tenant.key, "/v1/erasures").await.ok(200);
    let newest = &listed["data"][0];
    assert_eq!((&newest["dry_run"], &newest["field"]), (&json!(false), &json!("data.email")), "{listed:#}");
    assert_eq!(newest["value_hash"], listed["data"][1]["value_hash"]);

    let reader = world.key(&tenant.id, &["read"]).await;
    let reader = sign_in(&world, &reader).await;
    let seen = get(&world, &reader, &at).await.text;
    assert!(seen.contains("Count: data.email") && !seen.contains("Erase for good"), "{seen}");
    assert_eq!(get(&world, &reader, &new).await.status, StatusCode::FORBIDDEN);
}
