//! The audit log, and the rate limits of edits and of requests with unknown keys.

use postrider_model::limits::{EDITS_BURST, REFUSED_KEYS_BURST};
use serde_json::{Value, json};

use crate::harness::{OPERATOR, World};

fn actions(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_says_who_changed_what() {
    let world = World::new("api_audit_log").await;
    let (own, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let made = world.endpoint(&own).await;
    world.endpoint(&other).await;
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/endpoints/{id}");
    let edit = json!({"name": "renamed", "headers": {"X-Api-Key": "hunter2"}});
    world.call(OPERATOR, "PATCH", &path, Some(&edit)).await.ok(200);
    world.call(&own.key, "PATCH", &path, Some(&json!({"name": "renamed"}))).await.ok(200);
    world.call(&own.key, "DELETE", &path, None).await.ok(204);

    let seen = world.get(&own.key, "/v1/audit-log").await.ok(200);
    let expected = ["endpoint.deleted", "endpoint.edited", "endpoint.created", "key.created", "tenant.created"];
    assert_eq!(actions(&seen), expected);
    assert!(!seen.to_string().contains("hunter2") && !seen.to_string().contains(&other.id));
    let edited = &seen["data"][1];
    assert_eq!(edited["actor"], json!({"type": "operator", "via": "api"}), "a tenant does not see which operator");
    assert_eq!((&edited["before"], &edited["target"]), (&json!({"name": "hook"}), &json!(id)));
    let after = json!({"name": "renamed", "header_names": ["X-Api-Key"], "secret_values": "changed"});
    assert_eq!(edited["after"], after);
    let by_key = &seen["data"][2]["actor"];
    assert_eq!((&by_key["type"], &by_key["name"]), (&json!("key"), &json!("k")));

    let one = world.get(&own.key, &format!("/v1/audit-log?target={id}&limit=2")).await.ok(200);
    assert_eq!(actions(&one), expected[..2]);
    let next = format!("/v1/audit-log?target={id}&limit=2&cursor={}", one["next_cursor"].as_str().unwrap());
    assert_eq!(actions(&world.get(&own.key, &next).await.ok(200)), expected[2..3]);
    let by = format!("/v1/audit-log?actor={}", by_key["id"].as_str().unwrap());
    assert_eq!(actions(&world.get(&own.key, &by).await.ok(200)), ["endpoint.deleted", "endpoint.created"]);
    world.get(&own.key, "/v1/audit-log?action=nonsense").await.problem(422, "action");
    world.get(&own.key, "/v1/audit-log?actor=0a1b2c3d").await.problem(422, "actor");
    world.get(&own.key, &format!("/v1/audit-log?tenant={}", other.id)).await.problem(404, "");

    let all = world.get(OPERATOR, "/v1/audit-log?action=endpoint.edited").await.ok(200);
    assert_eq!(all["data"][0]["actor"]["id"].as_str().unwrap().len(), 8, "{all:#}");
    let theirs = world.get(OPERATOR, &format!("/v1/audit-log?tenant={}", other.id)).await.ok(200);
    assert_eq!(actions(&theirs), expected[2..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_with_too_many_edits_gets_429_and_can_still_read() {
    let world = World::new("api_edits").await;
    let (eager, calm) = (world.tenant("standard").await, world.tenant("standard").await);
    let path = format!("/v1/endpoints/{}", world.endpoint(&eager).await["id"].as_str().unwrap());
    let calm_path = format!("/v1/endpoints/{}", world.endpoint(&calm).await["id"].as_str().unwrap());
    for n in 0..2 * EDITS_BURST.get() {
        let answer = world.call(&eager.key, "PATCH", &path, Some(&json!({"name": n.to_string()}))).await;
        if answer.status == 429 {
            assert_eq!(answer.headers["retry-after"], "1");
            world.get(&eager.key, &path).await.ok(200);
            world.call(&calm.key, "PATCH", &calm_path, Some(&json!({"name": "calm"}))).await.ok(200);
            world.call(OPERATOR, "PATCH", &path, Some(&json!({"name": "operator"}))).await.ok(200);
            return;
        }
        answer.ok(200);
    }
    panic!("the limit was never reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_wrong_keys_get_429_and_valid_keys_still_work() {
    let world = World::new("api_refused").await;
    let tenant = world.tenant("standard").await;
    for _ in 0..2 * REFUSED_KEYS_BURST.get() {
        let answer = world.get("unknown", "/v1/endpoints").await;
        if answer.status == 429 {
            world.get(&tenant.key, "/v1/endpoints").await.ok(200);
            world.get(OPERATOR, "/v1/tenants").await.ok(200);
            let refused = "/v1/audit-log?action=session.refused";
            while world.get(OPERATOR, refused).await.ok(200)["data"].as_array().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            return;
        }
        assert_eq!(answer.status, 401);
    }
    panic!("the limit was never reached");
}
