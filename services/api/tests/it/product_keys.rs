//! Keys that publish for several tenants, and tenants by their external ids.

use serde_json::{Value, json};

use crate::harness::{OPERATOR, World, endpoint};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_operators_create_list_and_delete_keys_for_several_tenants() {
    let world = World::new("api_product_keys").await;
    let (one, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let id = format!("/v1/tenants/{}", one.id);
    world.call(OPERATOR, "PATCH", &id, Some(&json!({"external_id": "acme"}))).await.ok(200);

    let body = json!({"name": "mail", "scopes": ["publish"], "tenants": [other.id, "acme", one.id]});
    let made = world.post(OPERATOR, "/v1/keys", body.clone()).await.ok(201);
    let mut tenants = [one.id.as_str(), &other.id];
    tenants.sort_unstable();
    assert_eq!((&made["tenants"], &made["scopes"]), (&json!(tenants), &json!(["publish"])));
    let all = json!({"name": "all", "scopes": ["publish"], "tenants": "all"});
    let all = world.post(OPERATOR, "/v1/keys", all).await.ok(201);
    assert_eq!(all["tenants"], json!("all"));
    let listed = world.get(OPERATOR, "/v1/keys").await.ok(200);
    let names: Vec<&str> = listed["data"].as_array().unwrap().iter().filter_map(|key| key["name"].as_str()).collect();
    assert_eq!(names, ["all", "mail"]);
    assert!(!listed.to_string().contains("prk_"));

    // The key can only publish. A tenant's key cannot create such a key.
    let key = made["key"].as_str().unwrap();
    world.get(key, "/v1/endpoints").await.problem(403, "");
    world.get(key, "/v1/keys").await.problem(403, "");
    world.post(&one.key, "/v1/keys", body).await.problem(403, "");
    world.get(&one.key, "/v1/keys").await.problem(403, "");

    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    world.call(&one.key, "DELETE", &path, None).await.problem(403, "");
    world.call(OPERATOR, "DELETE", &path, None).await.ok(204);
    world.call(OPERATOR, "DELETE", &path, None).await.problem(404, "");
    world.get(key, "/v1/endpoints").await.problem(401, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_request_for_a_product_key_names_its_mistake() {
    let world = World::new("api_product_key_mistakes").await;
    let tenant = world.tenant("standard").await;
    let refused = async |change: (&str, Value), pointer: &str| {
        let mut body = json!({"name": "mail", "scopes": ["publish"], "tenants": [tenant.id]});
        body[change.0] = change.1;
        world.post(OPERATOR, "/v1/keys", body).await.problem(422, pointer)
    };
    refused(("name", json!("\u{202e}liam")), "/name").await;
    refused(("scopes", json!(["publish", "read"])), "/scopes").await;
    refused(("scopes", json!([])), "/scopes").await;
    refused(("tenants", json!([])), "/tenants").await;
    refused(("tenants", json!([tenant.id, "unknown"])), "/tenants/1").await;
    let wrong = refused(("tenants", json!("some")), "/tenants").await;
    assert!(wrong["detail"].as_str().unwrap().contains("expected \"all\", or an array of tenants"), "{wrong:#}");
    let array = world.post(OPERATOR, "/v1/keys", json!(["mail", ["publish"], "all"])).await.ok(422);
    assert_eq!(array["errors"][0]["pointer"], json!(""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_id_is_accepted_wherever_an_id_is() {
    let world = World::new("api_external_ids").await;
    let tenant = json!({"name": "Acme", "profile": "standard", "external_id": "org/acme 7"});
    let made = world.post(OPERATOR, "/v1/tenants", tenant.clone()).await.ok(201);
    let path = "/v1/tenants/org%2Facme%207";
    assert_eq!(world.get(OPERATOR, path).await.ok(200)["id"], made["id"]);
    let key = world.post(OPERATOR, &format!("{path}/keys"), json!({"name": "k", "scopes": ["read"]})).await.ok(201);
    let key = key["key"].as_str().unwrap();
    assert_eq!(world.get(key, path).await.ok(200)["name"], json!("Acme"));
    let query = "tenant=org%2Facme%207";
    world.post(OPERATOR, &format!("/v1/endpoints?{query}"), endpoint()).await.ok(201);
    for key in [OPERATOR, key] {
        let listed = world.get(key, &format!("/v1/endpoints?{query}")).await.ok(200);
        assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));
    }
    world.get(OPERATOR, "/v1/endpoints?tenant=unknown").await.problem(404, "");
    world.call(OPERATOR, "PATCH", path, Some(&json!({"external_id": "ten_7"}))).await.problem(422, "/external_id");
    world.call(OPERATOR, "DELETE", path, None).await.ok(204);
    world.get(OPERATOR, path).await.problem(404, "");
    // The external id can be used again.
    world.post(OPERATOR, "/v1/tenants", tenant).await.ok(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_parameters_are_refused_with_an_explanation() {
    let world = World::new("api_strict").await;
    let tenant = world.tenant("standard").await;
    let array = world.post(&tenant.key, "/v1/endpoints", json!(["hook", "https://example.com/"])).await;
    assert!(array.ok(422)["detail"].as_str().unwrap().contains("expected an object, got an array"));
    let gzip = [("content-encoding", "gzip")];
    let gzip = world.call_with(&tenant.key, "POST", "/v1/endpoints", Some(&endpoint()), &gzip).await;
    assert!(gzip.problem(415, "")["detail"].as_str().unwrap().contains("Content-Encoding gzip"));
    let class = world.get(&tenant.key, "/v1/deliveries?status_code=7xx").await.problem(422, "status_code");
    assert!(class["detail"].as_str().unwrap().contains("from 100 to 599"), "{class:#}");
    let mut relative = endpoint();
    relative["url"] = json!("example.com/hook");
    let relative = world.post(&tenant.key, "/v1/endpoints", relative).await.problem(422, "/url");
    assert!(relative["detail"].as_str().unwrap().contains("it must begin with https://"), "{relative:#}");

    // A cursor is accepted only by its own list.
    for _ in 0..2 {
        world.endpoint(&tenant).await;
    }
    let page = world.get(&tenant.key, "/v1/endpoints?limit=1").await.ok(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    world.get(&tenant.key, &format!("/v1/endpoints?limit=1&cursor={cursor}")).await.ok(200);
    for list in ["events", "deliveries", "replays", "event-types"] {
        world.get(&tenant.key, &format!("/v1/{list}?cursor={cursor}")).await.problem(422, "cursor");
    }
    // Extreme dates cause no server error.
    for range in ["from=0000-01-01T00:00:00Z", "from=9999-12-30T00:00:00Z", "to=9999-12-31T23:59:59Z"] {
        for path in ["events?", "deliveries?", "stats?by=day&"] {
            let answer = world.get(&tenant.key, &format!("/v1/{path}{range}")).await;
            assert!(matches!(answer.status.as_u16(), 200 | 422), "{path}{range}: {:#}", answer.body);
            assert!(answer.body["to"].as_str().is_none_or(|to| !to.starts_with("1970")), "{range}: {:#}", answer.body);
        }
    }
}
