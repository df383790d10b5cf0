//! Access: keys, scopes, and the separation of tenants.

use postrider_model::limits::API_REQUESTS_BURST;
use serde_json::json;

use crate::harness::{OPERATOR, World, endpoint};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_answers_401_without_a_valid_key() {
    let world = World::new("api_no_key").await;
    let plain = |header: Option<&str>| {
        let mut request = axum::http::Request::get("/v1/endpoints");
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        request.body(axum::body::Body::empty()).unwrap()
    };
    for header in
        [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic abc"), Some(OPERATOR), Some("Bearer nope")]
    {
        let answer = world.send(plain(header)).await;
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{header:?}");
        answer.problem(401, "");
    }
    // The key is refused before the body is read.
    world.post("nope", "/v1/endpoints", json!({"nonsense": true})).await.problem(401, "");
    world.send(plain(Some(&format!("bearer {OPERATOR}")))).await.problem(422, "tenant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_requires_its_scope() {
    let world = World::new("api_scopes").await;
    let tenant = world.tenant("standard").await;
    let made = world.endpoint(&tenant).await;
    let id = made["id"].as_str().unwrap();
    let dlv = "/v1/deliveries/dlv_00000000000000000000000000000001";
    let rpl = "/v1/replays/rpl_00000000000000000000000000000001";
    // Method, path, the required scope, the status with that scope.
    let routes = [
        ("GET", "/v1/endpoints".to_owned(), "read", 200),
        ("POST", "/v1/endpoints".to_owned(), "manage", 201),
        ("GET", format!("/v1/endpoints/{id}"), "read", 200),
        ("PATCH", format!("/v1/endpoints/{id}"), "manage", 200),
        ("POST", format!("/v1/endpoints/{id}/rotate-secret"), "manage", 200),
        ("GET", format!("/v1/endpoints/{id}/stats"), "read", 200),
        ("GET", "/v1/stats".to_owned(), "read", 200),
        ("GET", format!("/v1/endpoints/{id}/stats/failures"), "read", 200),
        ("GET", "/v1/stats/failures".to_owned(), "read", 200),
        ("GET", "/v1/attributes/bridge".to_owned(), "read", 200),
        ("GET", "/v1/events".to_owned(), "read", 200),
        ("GET", "/v1/events/evt_1".to_owned(), "read", 404),
        ("GET", "/v1/deliveries".to_owned(), "read", 200),
        ("GET", dlv.to_owned(), "read", 404),
        ("POST", format!("{dlv}/retry"), "manage", 404),
        ("POST", format!("{dlv}/cancel"), "manage", 404),
        ("DELETE", "/v1/events/evt_1/payload".to_owned(), "manage", 404),
        ("GET", "/v1/replays".to_owned(), "read", 200),
        ("POST", "/v1/replays".to_owned(), "manage", 202),
        ("GET", rpl.to_owned(), "read", 404),
        ("POST", format!("{rpl}/pause"), "manage", 404),
        ("POST", format!("{rpl}/resume"), "manage", 404),
        ("POST", format!("{rpl}/cancel"), "manage", 404),
        ("GET", "/v1/profiles".to_owned(), "read", 200),
        ("GET", format!("/v1/tenants/{}", tenant.id), "read", 200),
        ("GET", format!("/v1/tenants/{}/keys", tenant.id), "read", 200),
        ("POST", format!("/v1/tenants/{}/keys", tenant.id), "manage", 201),
        ("DELETE", format!("/v1/endpoints/{id}"), "manage", 204),
    ];
    let keys = [
        ("publish", world.key(&tenant.id, &["publish"]).await),
        ("read", world.key(&tenant.id, &["read"]).await),
        ("manage", world.key(&tenant.id, &["manage"]).await),
    ];
    for (method, path, scope, expected) in routes {
        for (held, key) in &keys {
            let body = match (method, path.as_str()) {
                ("POST", "/v1/endpoints") => Some(endpoint()),
                ("PATCH", _) => Some(json!({"name": "renamed"})),
                ("POST", "/v1/replays") => Some(json!({"only_failed": true})),
                ("POST", path) if path.ends_with("/keys") => Some(json!({"name": "k", "scopes": ["manage"]})),
                ("POST", _) => Some(json!({})),
                _ => None,
            };
            let answer = world.call(key, method, &path, body.as_ref()).await;
            if *held == scope {
                assert_eq!(answer.status, expected, "{method} {path} with {held}: {:#}", answer.body);
            } else {
                let problem = answer.problem(403, "");
                assert!(problem["detail"].as_str().unwrap().contains(scope), "{method} {path}: {problem:#}");
            }
        }
    }
    for (method, path) in [
        ("POST", "/v1/tenants".to_owned()),
        ("GET", "/v1/tenants".to_owned()),
        ("PATCH", format!("/v1/tenants/{}", tenant.id)),
        ("DELETE", format!("/v1/tenants/{}", tenant.id)),
        ("GET", "/v1/dead-letters".to_owned()),
    ] {
        let body = json!({"name": "n", "profile": "standard"});
        let body = (method == "POST").then_some(&body);
        let body = body.cloned().or((method == "PATCH").then(|| json!({})));
        world.call(&tenant.key, method, &path, body.as_ref()).await.problem(403, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_gives_no_scope_that_it_does_not_have() {
    let world = World::new("api_escalation").await;
    let tenant = world.tenant("standard").await;
    let manager = world.key(&tenant.id, &["manage", "read"]).await;
    let path = format!("/v1/tenants/{}/keys", tenant.id);
    world.post(&manager, &path, json!({"name": "k", "scopes": ["read"]})).await.ok(201);
    world.post(&manager, &path, json!({"name": "k", "scopes": ["read", "publish"]})).await.problem(403, "/scopes/1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_another_tenant_are_404() {
    let world = World::new("api_walls").await;
    let (own, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let made = world.endpoint(&other).await;
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/endpoints/{id}");
    world.get(&own.key, &path).await.problem(404, "");
    world.call(&own.key, "PATCH", &path, Some(&json!({"name": "mine"}))).await.problem(404, "");
    world.call(&own.key, "DELETE", &path, None).await.problem(404, "");
    world.post(&own.key, &format!("{path}/test"), json!({})).await.problem(404, "");
    world.post(&own.key, &format!("{path}/rotate-secret"), json!({})).await.problem(404, "");
    let other_tenant = format!("/v1/tenants/{}", other.id);
    world.get(&own.key, &other_tenant).await.problem(404, "");
    world.get(&own.key, &format!("{other_tenant}/keys")).await.problem(404, "");
    world
        .post(&own.key, &format!("{other_tenant}/keys"), json!({"name": "k", "scopes": ["read"]}))
        .await
        .problem(404, "");
    world.get(&own.key, &format!("/v1/endpoints?tenant={}", other.id)).await.problem(404, "");
    assert_eq!(world.get(&own.key, "/v1/endpoints").await.ok(200)["usage"], json!(0));

    // The endpoint's own tenant can read it, and so can an operator. A tenant that the operator names must be the endpoint's.
    assert_eq!(world.get(&other.key, &path).await.ok(200)["name"], json!("hook"));
    world.get(OPERATOR, &path).await.ok(200);
    world.get(OPERATOR, &format!("{path}?tenant={}", own.id)).await.problem(404, "");
    let named = format!("/v1/endpoints?tenant={}", other.id);
    assert_eq!(world.get(OPERATOR, &named).await.ok(200)["usage"], json!(1));
    world.get(OPERATOR, "/v1/endpoints?tenant=nonsense").await.problem(404, "");
    world.get(&own.key, "/v1/endpoints/nonsense").await.problem(404, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_over_its_request_rate_gets_429_and_others_are_served() {
    let world = World::new("api_too_often").await;
    let (eager, calm) = (world.tenant("standard").await, world.tenant("standard").await);
    // Two bursts exceed the limit, also on a slow machine.
    for _ in 0..2 * API_REQUESTS_BURST.get() {
        // The cheapest request, because the requests must come faster than the budget refills.
        let answer = world.get(&eager.key, "/v1/endpoints/nonsense").await;
        if answer.status == 429 {
            assert_eq!(answer.headers["retry-after"], "1");
            answer.problem(429, "");
            world.get(&calm.key, "/v1/profiles").await.ok(200);
            world.get(OPERATOR, "/v1/tenants").await.ok(200);
            return;
        }
        answer.ok(404);
    }
    panic!("the limit was never reached");
}
