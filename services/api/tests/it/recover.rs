//! Failing endpoints: their health, what their deliveries wait for, and their recovery.

use postrider_model::delivery::DeliveryStatus;
use serde_json::{Value, json};

use crate::harness::{OPERATOR, Tenant, World};
use crate::recorded::recorded;

/// A tenant with two endpoints. The first endpoint has five deliveries with a failed attempt: one has failed, four wait for a
/// retry.
async fn failing(world: &World) -> (Tenant, Value) {
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    recorded(world, &tenant, &endpoint, DeliveryStatus::Failed).await;
    for _ in 0..4 {
        recorded(world, &tenant, &endpoint, DeliveryStatus::Pending).await;
    }
    world.endpoint(&tenant).await;
    (tenant, endpoint)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_endpoint_says_since_when_and_why_and_comes_first() {
    let world = World::new("api_failing").await;
    let (tenant, endpoint) = failing(&world).await;
    assert_eq!(endpoint["health"], json!({"state": "unknown", "failures_in_a_row": 0}));
    let listed = world.get(&tenant.key, "/v1/endpoints?sort=trouble").await.ok(200);
    let first = &listed["data"][0];
    assert_eq!((&first["id"], &first["failed_deliveries"]), (&endpoint["id"], &json!(5)));
    let newest = world.get(&tenant.key, "/v1/endpoints").await.ok(200);
    assert_eq!(newest["data"][1]["id"], endpoint["id"]);
    world.get(&tenant.key, "/v1/endpoints?sort=worst").await.problem(422, "sort");
    let cursor =
        world.get(&tenant.key, "/v1/endpoints?limit=1").await.ok(200)["next_cursor"].as_str().unwrap().to_owned();
    world.get(&tenant.key, &format!("/v1/endpoints?sort=trouble&cursor={cursor}")).await.problem(422, "cursor");

    let health =
        &world.get(&tenant.key, &format!("/v1/endpoints/{}", endpoint["id"].as_str().unwrap())).await.ok(200)["health"];
    assert_eq!((&health["state"], &health["failures_in_a_row"]), (&json!("failing"), &json!(5)));
    let failure = &health["last_failure"];
    assert_eq!((&failure["cause"], &failure["status_code"]), (&json!("the endpoint answers 503"), &json!(503)));
    let times = ["failing_since", "recover_since"].map(|name| health[name].as_str().expect("a time"));
    assert!(times[1] < times[0], "{health:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_delivery_says_what_it_waits_for() {
    let world = World::new("api_phase").await;
    let (tenant, _) = failing(&world).await;
    let list =
        async |filter: &str| world.get(&tenant.key, &format!("/v1/deliveries?{filter}")).await.ok(200)["data"].clone();
    let retrying = list("phase=retrying").await;
    assert_eq!(retrying.as_array().unwrap().len(), 4);
    assert_eq!((&retrying[0]["status"], &retrying[0]["phase"]), (&json!("pending"), &json!("retrying")));
    for (phase, count) in [("queued", 0), ("held", 0), ("waiting", 0)] {
        assert_eq!(list(&format!("phase={phase}")).await.as_array().unwrap().len(), count, "{phase}");
    }
    assert!(list("status=failed").await[0].get("phase").is_none());
    world.get(&tenant.key, "/v1/deliveries?phase=pending").await.problem(422, "phase");
    world.get(&tenant.key, "/v1/deliveries?holding=x").await.problem(422, "holding");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_is_counted_first_and_started_once() {
    let world = World::new("api_recover").await;
    let (tenant, endpoint) = failing(&world).await;
    let path = format!("/v1/endpoints/{}/recover", endpoint["id"].as_str().unwrap());
    let counted = world.post(&tenant.key, &path, json!({"dry_run": true})).await.ok(200);
    assert_eq!((&counted["failed"], &counted["missed"], &counted["retrying"]), (&json!(1), &json!(0), &json!(4)));
    let accepted = world.post(&tenant.key, &path, json!({})).await.ok(202);
    assert_eq!(accepted["since"], counted["since"]);
    assert_eq!(world.post(&tenant.key, &path, json!({})).await.ok(202)["id"], accepted["id"], "one at a time");
    let replay = world.get(&tenant.key, &format!("/v1/replays/{}", accepted["id"].as_str().unwrap())).await.ok(200);
    assert_eq!((&replay["mode"], &replay["endpoint_id"]), (&json!("recover"), &endpoint["id"]));
    world.post(&tenant.key, &path, json!({"since": "2020-01-01T00:00:00Z"})).await.problem(409, "");

    for (body, pointer) in [
        (json!({"since": "yesterday"}), "/since"),
        (json!({"since": "2999-01-01T00:00:00Z"}), "/since"),
        (json!({"from": "2020-01-01T00:00:00Z"}), "/from"),
    ] {
        world.post(&tenant.key, &path, body).await.problem(422, pointer);
    }
    let healthy = world.endpoint(&tenant).await;
    let of_healthy = format!("/v1/endpoints/{}/recover", healthy["id"].as_str().unwrap());
    world.post(&tenant.key, &of_healthy, json!({})).await.problem(422, "/since");
    let other = world.tenant("standard").await;
    world.post(&other.key, &path, json!({"dry_run": true})).await.problem(404, "");
    world.post(OPERATOR, &path, json!({"dry_run": true})).await.ok(200);

    let off = json!({"status": "inactive"});
    world.call(&tenant.key, "PATCH", path.trim_end_matches("/recover"), Some(&off)).await.ok(200);
    let since = json!({"since": "2026-01-01T00:00:00Z"});
    let refused = world.post(&tenant.key, &path, since).await.problem(409, "");
    assert!(refused["detail"].as_str().unwrap().contains("activate it first"), "{refused:#}");
}
