//! Portal links through the API: what a link may be, who may create it, and its entries in the audit log.

use serde_json::json;

use crate::harness::{OPERATOR, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_created_with_defaults_and_named_in_the_audit_log() {
    let world = World::new("portal_link").await;
    let tenant = world.tenant("standard").await;
    let links = format!("/v1/tenants/{}/portal-links", tenant.id);
    let link = world.call(OPERATOR, "POST", &links, None).await.ok(201);
    let url = link["url"].as_str().unwrap();
    let token = url.strip_prefix("https://hooks.example.com/dashboard/portal?link=").expect(url);
    assert!(token.len() == 43 && link["id"].as_str().unwrap().starts_with("plk_"), "{link:#}");
    assert_eq!(
        (&link["scopes"], &link["landing"], &link["embed"], &link["session_seconds"], &link["tenant_id"]),
        (&json!(["read", "manage"]), &json!("/webhooks"), &json!(false), &json!(28_800), &json!(tenant.id))
    );

    let body = json!({
        "scopes": ["read"], "user": "jane@example.com", "landing": "/deliveries?status=failed", "embed": true,
        "expires_in_seconds": 60, "session_seconds": 604_800,
    });
    let headers = [("idempotency-key", "one")];
    let first = world.call_with(&tenant.key, "POST", &links, Some(&body), &headers).await.ok(201);
    let again = world.call_with(&tenant.key, "POST", &links, Some(&body), &headers).await.ok(201);
    assert_eq!(first, again, "a repeat has the same link");
    let log = world.get(&tenant.key, "/v1/audit-log?action=portal_link.created").await.ok(200);
    assert_eq!(log["data"].as_array().unwrap().len(), 2);
    let entry = &log["data"][0];
    assert_eq!((&entry["target"], &entry["after"]["user"]), (&first["id"], &json!("jane@example.com")));
    assert!(!log.to_string().contains(token), "no token in the log");

    world.call(&tenant.key, "DELETE", &format!("/v1/tenants/{}/portal-sessions", tenant.id), None).await.ok(204);
    let log = world.get(&tenant.key, "/v1/audit-log?action=portal_sessions.ended").await.ok(200);
    assert_eq!(log["data"][0]["after"], json!({"ended": 2}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_gives_no_more_than_its_creator_has() {
    let world = World::new("portal_scopes").await;
    let (tenant, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let links = format!("/v1/tenants/{}/portal-links", tenant.id);
    let with = async |scopes: &[&str]| world.key(&tenant.id, scopes).await;
    for scopes in [&["read"][..], &["publish"], &["publish", "read"]] {
        world.post(&with(scopes).await, &links, json!({})).await.problem(403, "");
    }
    let manage = with(&["manage"]).await;
    world.post(&manage, &links, json!({})).await.problem(403, "/scopes/0");
    world.post(&with(&["read", "manage"]).await, &links, json!({})).await.ok(201);
    world.post(&other.key, &links, json!({})).await.problem(404, "");
    let product = world.post(OPERATOR, "/v1/keys", json!({"name": "p", "scopes": ["publish"], "tenants": "all"}));
    let product = product.await.ok(201)["key"].as_str().unwrap().to_owned();
    world.post(&product, &links, json!({})).await.problem(403, "");
    world.post(OPERATOR, "/v1/tenants/nobody/portal-links", json!({})).await.problem(404, "");
    world
        .post(OPERATOR, "/v1/tenants/ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6/portal-links", json!({}))
        .await
        .problem(404, "");

    let wrong = [
        (json!({"scopes": ["publish", "read"]}), "/scopes"),
        (json!({"scopes": ["manage"]}), "/scopes"),
        (json!({"scopes": []}), "/scopes"),
        (json!({"scopes": ["admin"]}), "/scopes/0"),
        (json!({"landing": "//evil.example"}), "/landing"),
        (json!({"landing": "https://evil.example"}), "/landing"),
        (json!({"landing": "/../operator/tenants"}), "/landing"),
        (json!({"user": ""}), "/user"),
        (json!({"expires_in_seconds": 3_601}), "/expires_in_seconds"),
        (json!({"expires_in_seconds": 59}), "/expires_in_seconds"),
        (json!({"session_seconds": 604_801}), "/session_seconds"),
        (json!({"lasts": 1}), "/lasts"),
    ];
    for (body, pointer) in wrong {
        world.post(OPERATOR, &links, body).await.problem(422, pointer);
    }
}
