//! Tenants and keys.

use postrider_model::delivery::DeliveryStatus;
use postrider_model::time::UnixMillis;
use serde_json::{Value, json};

use crate::harness::{OPERATOR, Tenant, World, endpoint};
use crate::recorded::recorded;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_created_read_edited_and_deleted() {
    let world = World::new("api_tenants").await;
    let body = json!({"name": "Acme", "profile": "magnetite", "external_id": "a-1", "limits": {"endpoints": 2},
        "enforce_catalog": true, "disable_after_days": 3});
    let made = world.post(OPERATOR, "/v1/tenants", body.clone()).await;
    let etag = made.headers["etag"].to_str().unwrap().to_owned();
    let made = made.ok(201);
    let path = format!("/v1/tenants/{}", made["id"].as_str().unwrap());
    for member in ["name", "profile", "external_id", "limits", "enforce_catalog", "disable_after_days"] {
        assert_eq!(made[member], body[member], "{member}");
    }
    assert_eq!(world.get(OPERATOR, &path).await.ok(200), made);
    world.post(OPERATOR, "/v1/tenants", body).await.problem(409, "");

    let edit = json!({"name": "Acme Inc.", "external_id": null});
    let if_match = [("if-match", etag.as_str())];
    let edited = world.call_with(OPERATOR, "PATCH", &path, Some(&edit), &if_match).await;
    assert_ne!(edited.headers["etag"].to_str().unwrap(), etag);
    let edited = edited.ok(200);
    assert_eq!((&edited["name"], edited.get("external_id")), (&json!("Acme Inc."), None));
    assert_eq!(edited["limits"], made["limits"]);
    world.call_with(OPERATOR, "PATCH", &path, Some(&edit), &if_match).await.problem(412, "");
    world.call_with(OPERATOR, "DELETE", &path, None, &[("if-match", "nonsense")]).await.problem(412, "");

    world.call(OPERATOR, "DELETE", &path, None).await.ok(204);
    world.get(OPERATOR, &path).await.problem(404, "");
    world.call(OPERATOR, "PATCH", &path, Some(&edit)).await.problem(404, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mistake_in_a_tenant_or_key_is_named() {
    let world = World::new("api_tenant_errors").await;
    let tenant = world.tenant("magnetite").await;
    let good = json!({"name": "n", "profile": "standard"});
    let cases = [
        ("name", json!(""), "/name"),
        ("name", json!(7), "/name"),
        ("profile", json!("nope"), "/profile"),
        ("external_id", json!("\u{0}"), "/external_id"),
        ("limits", json!({"endpoints": 2_000_000}), "/limits/endpoints"),
        ("limits", json!({"events_per_second": 0}), "/limits/events_per_second"),
        ("limits", json!({"waiting_deliveries": 0}), "/limits/waiting_deliveries"),
        ("limits", json!({"timeout_seconds_max": 61}), "/limits/timeout_seconds_max"),
        ("limits", json!({"rate_per_second_max": -1}), "/limits/rate_per_second_max"),
        ("limits", json!({"endpoint": 1}), "/limits/endpoint"),
        ("disable_after_days", json!(1_000), "/disable_after_days"),
        ("colour", json!("red"), "/colour"),
    ];
    for (member, value, pointer) in cases {
        let mut body = good.clone();
        body[member] = value;
        world.post(OPERATOR, "/v1/tenants", body).await.problem(422, pointer);
    }
    world.post(OPERATOR, "/v1/tenants", json!({"name": "n"})).await.problem(422, "/profile");

    let keys = format!("/v1/tenants/{}/keys", tenant.id);
    world.post(OPERATOR, &keys, json!({"name": "k", "scopes": []})).await.problem(422, "/scopes");
    world.post(OPERATOR, &keys, json!({"name": "k", "scopes": ["read", "own"]})).await.problem(422, "/scopes/1");
    world.post(OPERATOR, &keys, json!({"name": " ", "scopes": ["read"]})).await.problem(422, "/name");
    let nowhere = "/v1/tenants/ten_00000000000000000000000000000001/keys";
    world.post(OPERATOR, nowhere, json!({"name": "k", "scopes": ["read"]})).await.problem(404, "");

    // The profile cannot change, because the endpoints were checked by its rules.
    world.post(&tenant.key, "/v1/endpoints", endpoint()).await.ok(201);
    let path = format!("/v1/tenants/{}", tenant.id);
    world.call(OPERATOR, "PATCH", &path, Some(&json!({"profile": "standard"}))).await.problem(409, "");
    world.call(OPERATOR, "PATCH", &path, Some(&json!({"profile": "magnetite"}))).await.ok(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_brand_is_set_replaced_and_removed_by_operators_only() {
    let world = World::new("api_brand").await;
    let brand = json!({"name": "Acme", "accent": "#0a7d4f", "docs_url": "https://docs.acme.example",
        "logo": "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4="});
    let body = json!({"name": "Acme", "profile": "standard", "brand": brand});
    let made = world.post(OPERATOR, "/v1/tenants", body).await.ok(201);
    assert_eq!(made["brand"], brand);
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/tenants/{id}");
    let edit = async |key: &str, brand: &Value| world.call(key, "PATCH", &path, Some(&json!({"brand": brand}))).await;
    let smaller = json!({"support_url": "mailto:help@acme.example"});
    assert_eq!(edit(OPERATOR, &smaller).await.ok(200)["brand"], smaller, "the whole brand is replaced");
    let renamed = world.call(OPERATOR, "PATCH", &path, Some(&json!({"name": "B"}))).await.ok(200);
    assert_eq!(renamed["brand"], smaller, "an edit without a brand keeps it");
    let key = world.key(id, &["read", "manage"]).await;
    edit(&key, &brand).await.problem(403, "");
    assert_eq!(world.get(&key, &path).await.ok(200)["brand"], smaller);
    for (brand, pointer) in [
        (json!({"name": "\u{202e}"}), "/brand/name"),
        (json!({"accent": "green"}), "/brand/accent"),
        (json!({"accent": 7}), "/brand/accent"),
        (json!({"logo": "https://acme.example/logo.png"}), "/brand/logo"),
        (json!({"docs_url": "javascript:alert(1)"}), "/brand/docs_url"),
        (json!({"support_url": ""}), "/brand/support_url"),
        (json!({"colour": "#ffffff"}), "/brand/colour"),
    ] {
        edit(OPERATOR, &brand).await.problem(422, pointer);
    }
    assert_eq!(edit(OPERATOR, &Value::Null).await.ok(200).get("brand"), None);
    let log = world.get(OPERATOR, "/v1/audit-log?action=tenant.edited").await.ok(200);
    assert_eq!(log["data"][0]["before"]["brand"], smaller, "{log:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_shown_once_and_refused_once_deleted() {
    let world = World::new("api_keys").await;
    let tenant = world.tenant("standard").await;
    let path = format!("/v1/tenants/{}/keys", tenant.id);
    let made = world.post(OPERATOR, &path, json!({"name": "reader", "scopes": ["read"]})).await.ok(201);
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    world.get(key, "/v1/endpoints").await.ok(200);
    let listed = world.get(OPERATOR, &path).await.ok(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(key));
    assert_eq!((&listed["data"][0]["scopes"], &listed["data"][0]["last_used_at"]), (&json!(["read"]), &Value::Null));
    let used_at = UnixMillis(1_700_000_000_000);
    world.store.config().note_used_keys(&[id.parse().unwrap()], used_at).await.unwrap();
    let listed = world.get(OPERATOR, &path).await.ok(200);
    assert_eq!(listed["data"][0]["last_used_at"], json!(used_at.to_rfc3339_millis()));

    world.call(OPERATOR, "DELETE", &format!("{path}/{id}"), None).await.ok(204);
    world.get(key, "/v1/endpoints").await.problem(401, "");
    world.call(OPERATOR, "DELETE", &format!("{path}/{id}"), None).await.problem(404, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_are_listed_page_by_page() {
    let world = World::new("api_tenant_pages").await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(world.tenant("standard").await.id);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(OPERATOR, &format!("/v1/tenants?limit=2&cursor={cursor}")).await.ok(200);
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 2);
        seen.extend(data.iter().map(|tenant| tenant["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    seen.retain(|id| id != "ten_operator");
    made.reverse();
    assert_eq!(seen, made);
    world.get(OPERATOR, "/v1/tenants?cursor=nonsense").await.problem(422, "cursor");
    world.get(OPERATOR, "/v1/tenants?limit=0").await.problem(422, "limit");
    world.get(OPERATOR, "/v1/tenants?limits=1").await.problem(422, "limits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_are_found_by_a_part_of_name_or_external_id_or_by_id() {
    let world = World::new("api_tenant_search").await;
    let create = async |name: &str, external_id: Value| {
        let body = json!({"name": name, "profile": "standard", "external_id": external_id});
        world.post(OPERATOR, "/v1/tenants", body).await.ok(201)["id"].as_str().unwrap().to_owned()
    };
    let acme = create("Acme 100% Inc.", json!("a-1")).await;
    let other = create("Other", json!("Account_ACME")).await;
    let third = create("Third", Value::Null).await;
    let found = async |text: &str| -> Vec<String> {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", text).finish();
        let page = world.get(OPERATOR, &format!("/v1/tenants?{query}")).await.ok(200);
        page["data"].as_array().unwrap().iter().map(|tenant| tenant["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found("acme").await, [other.clone(), acme.clone()]);
    assert_eq!(found("100%").await, std::slice::from_ref(&acme));
    assert_eq!(found("A-1").await, [acme]);
    assert_eq!(found(&third).await, [third]);
    assert!(found("%").await.len() == 1 && found("nothing\0").await.is_empty());
    assert!(found(" ").await.len() >= 3, "an empty search lists all");
    world.get(OPERATOR, &format!("/v1/tenants?q={}", "a".repeat(2_049))).await.problem(422, "q");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_usage_and_failing_endpoints_are_counted() {
    let world = World::new("api_tenant_usage").await;
    let limits = json!({"endpoints": 5, "waiting_deliveries": 7});
    let body = json!({"name": "Acme", "profile": "standard", "external_id": "acme", "limits": limits});
    let id = world.post(OPERATOR, "/v1/tenants", body).await.ok(201)["id"].as_str().unwrap().to_owned();
    let tenant = Tenant { key: world.key(&id, &["publish", "read", "manage"]).await, id };
    let usage = async |key: &str, id: &str| world.get(key, &format!("/v1/tenants/{id}/usage")).await;
    let empty = usage(OPERATOR, "acme").await.ok(200);
    assert_eq!((&empty["endpoints"], &empty["events"]), (&json!({"used": 0, "limit": 5}), &json!(0)));

    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(world.endpoint(&tenant).await);
    }
    let path = |endpoint: &Value| format!("/v1/endpoints/{}", endpoint["id"].as_str().unwrap());
    for endpoint in &made[..2] {
        for _ in 0..5 {
            recorded(&world, &tenant, endpoint, DeliveryStatus::Pending).await;
        }
    }
    // The first endpoint remains active, the second is inactive, the third is disabled and the fourth is deleted.
    world.call(&tenant.key, "PATCH", &path(&made[1]), Some(&json!({"status": "inactive"}))).await.ok(200);
    world.store.config().stop_endpoint(made[2]["id"].as_str().unwrap().parse().unwrap(), "410").await.unwrap();
    world.call(&tenant.key, "DELETE", &path(&made[3]), None).await.ok(204);
    world.store.record().count_waiting().await.unwrap();
    let used = usage(&tenant.key, &tenant.id).await.ok(200);
    assert_eq!((&used["endpoints"], &used["keys"]["used"]), (&json!({"used": 3, "limit": 5}), &json!(1)), "{used:#}");
    assert_eq!((&used["failing_endpoints"], &used["disabled_endpoints"]), (&json!(1), &json!(1)), "{used:#}");
    assert_eq!((&used["waiting_deliveries"], &used["events"]), (&json!({"used": 10, "limit": 7}), &json!(10)));
    let listed = world.get(OPERATOR, "/v1/tenants?q=acme").await.ok(200)["data"][0].clone();
    let expected = [("endpoints", 3), ("failing_endpoints", 1), ("disabled_endpoints", 1)];
    for (member, number) in expected {
        assert_eq!(listed[member], json!(number), "{member}");
    }
    assert_eq!(listed["name"], json!("Acme"));

    let other = world.tenant("standard").await;
    usage(&other.key, &tenant.id).await.problem(404, "");
}
