//! The catalog: event types of the profile and of the tenant.

use serde_json::{Value, json};

use crate::harness::{OPERATOR, World, endpoint};

fn names(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_own_type_is_created_read_replaced_and_deleted() {
    let world = World::new("api_event_types").await;
    let (tenant, other) = (world.tenant("magnetite").await, world.tenant("magnetite").await);
    let path = "/v1/event-types/order.paid";
    let body = json!({"description": "paid", "sample": {"n": 1}, "schema": {"required": ["n"]}});
    let made = world.call(&tenant.key, "PUT", path, Some(&body)).await;
    let etag = made.headers["etag"].to_str().unwrap().to_owned();
    let made = made.ok(201);
    assert_eq!(
        (&made["name"], &made["group"], &made["source"]),
        (&json!("order.paid"), &json!("order"), &json!("tenant"))
    );
    for member in ["description", "sample", "schema"] {
        assert_eq!(made[member], body[member], "{member}");
    }
    assert_eq!(world.get(&tenant.key, path).await.ok(200), made);
    assert_eq!(world.get(OPERATOR, &format!("{path}?tenant={}", tenant.id)).await.ok(200), made);
    world.get(OPERATOR, path).await.problem(422, "tenant");
    world.get(&other.key, path).await.problem(404, "");
    world.call(&other.key, "DELETE", path, None).await.problem(404, "");

    let if_match = [("if-match", etag.as_str())];
    let replaced = world.call_with(&tenant.key, "PUT", path, Some(&json!({})), &if_match).await.ok(200);
    assert_eq!((&replaced["description"], replaced.get("sample"), replaced.get("schema")), (&json!(""), None, None));
    world.call_with(&tenant.key, "PUT", path, Some(&body), &if_match).await.problem(412, "");
    world.call_with(&tenant.key, "DELETE", path, None, &if_match).await.problem(412, "");
    world.call(&tenant.key, "DELETE", path, None).await.ok(204);
    world.get(&tenant.key, path).await.problem(404, "");
    world.call(&tenant.key, "DELETE", path, None).await.problem(404, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_can_extend_and_restore_a_type_of_its_profile() {
    let world = World::new("api_event_types_profile").await;
    let tenant = world.tenant("mumara").await;
    let path = "/v1/event-types/Newsletter%20Opened";
    let answer = world.get(&tenant.key, path).await;
    assert!(!answer.headers.contains_key("etag"), "types of the profile have no version");
    let documented = answer.ok(200);
    assert_eq!((&documented["source"], &documented["wire_name"]), (&json!("profile"), &json!("opened")));
    assert_eq!((documented.get("group"), documented.get("version")), (None, None));
    world.call(&tenant.key, "DELETE", path, None).await.problem(409, "");

    let said = world.call(&tenant.key, "PUT", path, Some(&json!({"schema": {"type": "object"}}))).await.ok(201);
    assert_eq!((&said["source"], &said["schema"]), (&json!("profile"), &json!({"type": "object"})));
    assert_eq!((&said["description"], &said["sample"]), (&documented["description"], &documented["sample"]));
    world.call(&tenant.key, "DELETE", path, None).await.ok(204);
    assert_eq!(world.get(&tenant.key, path).await.ok(200), documented);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalog_is_listed_by_name_page_by_page() {
    let world = World::new("api_event_types_list").await;
    let tenant = world.tenant("magnetite").await;
    for name in ["order.paid", "lead.created", "lead.won", "A"] {
        world.call(&tenant.key, "PUT", &format!("/v1/event-types/{name}"), Some(&json!({}))).await.ok(201);
    }
    let all = world.get(&tenant.key, "/v1/event-types").await.ok(200);
    let expected = [
        "A",
        "lead.completed",
        "lead.created",
        "lead.failed",
        "lead.won",
        "magnet.generated",
        "magnet.viewed",
        "order.paid",
        "research.completed",
        "research.failed",
        "research.started",
    ];
    assert_eq!((names(&all), &all["next_cursor"]), (expected.to_vec(), &Value::Null));
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&tenant.key, &format!("/v1/event-types?limit=2&cursor={cursor}")).await.ok(200);
        seen.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = next.to_owned();
    }
    assert_eq!(seen, expected);
    let leads = world.get(&tenant.key, "/v1/event-types?group=lead").await.ok(200);
    assert_eq!(names(&leads), ["lead.completed", "lead.created", "lead.failed", "lead.won"]);
    world.get(&tenant.key, "/v1/event-types?group=lea").await.ok(200)["data"]
        .as_array()
        .unwrap()
        .is_empty()
        .then_some(())
        .unwrap();
    world.get(&tenant.key, "/v1/event-types?group=.").await.problem(422, "group");
    world.get(&tenant.key, "/v1/event-types?cursor=%7B").await.problem(422, "cursor");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mistake_in_an_event_type_is_named() {
    let world = World::new("api_event_types_errors").await;
    let tenant = world.tenant("standard").await;
    let put = async |name: &str, body: Value| {
        world.call(&tenant.key, "PUT", &format!("/v1/event-types/{name}"), Some(&body)).await
    };
    put("a..b", json!({})).await.problem(422, "name");
    put("a.b", json!({"colour": 1})).await.problem(422, "/colour");
    put("a.b", json!({"description": "\u{7}"})).await.problem(422, "/description");
    put("a.b", json!({"schema": {"properties": {"n": {"type": "number!"}}}}))
        .await
        .problem(422, "/schema/properties/n/type");
    let problem = put("a.b", json!({"schema": {"items": {"$ref": "https://example.com/s.json"}}})).await;
    assert!(problem.problem(422, "/schema/items/$ref")["detail"].as_str().unwrap().contains("within the schema"));
    put("a.b", json!({"schema": {"required": ["n"]}, "sample": {}})).await.problem(422, "/sample");
    let reader = world.key(&tenant.id, &["read", "publish"]).await;
    world.call(&reader, "PUT", "/v1/event-types/a.b", Some(&json!({}))).await.problem(403, "");
    world.get(&tenant.key, "/v1/event-types/a..b").await.problem(404, "");
    assert_eq!(world.get(&tenant.key, "/v1/event-types").await.ok(200)["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_may_name_types_of_the_tenant_and_of_the_profile() {
    let world = World::new("api_event_types_subscribe").await;
    let tenant = world.tenant("magnetite").await;
    let mut hook = endpoint();
    hook["event_types"] = json!(["lead.created", "order.paid"]);
    let refused = world.post(&tenant.key, "/v1/endpoints", hook.clone()).await.problem(422, "/event_types/1");
    assert!(refused["detail"].as_str().unwrap().contains("magnet.viewed"), "{refused:#}");
    world.call(&tenant.key, "PUT", "/v1/event-types/order.paid", Some(&json!({}))).await.ok(201);
    let made = world.post(&tenant.key, "/v1/endpoints", hook).await.ok(201);

    // An endpoint keeps an event type that was deleted from the catalog, and its other fields can still be edited.
    world.call(&tenant.key, "DELETE", "/v1/event-types/order.paid", None).await.ok(204);
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let edited = world.call(&tenant.key, "PATCH", &path, Some(&json!({"name": "renamed"}))).await.ok(200);
    assert_eq!(edited["event_types"], json!(["lead.created", "order.paid"]));
    world
        .call(&tenant.key, "PATCH", &path, Some(&json!({"event_types": ["order.paid"]})))
        .await
        .problem(422, "/event_types/0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_too_costly_sample_is_refused_unchecked_and_blocks_no_request() {
    let world = World::new("api_event_types_cost").await;
    let tenant = world.tenant("standard").await;
    let alternatives = vec![json!({"multipleOf": 0.7}); 150];
    let body = json!({"schema": {"items": {"anyOf": alternatives}}, "sample": vec![1e300; 1_500]});
    let refused = world.call(&tenant.key, "PUT", "/v1/event-types/a.b", Some(&body)).await.problem(422, "/sample");
    assert!(refused.to_string().contains("steps"), "{refused}");
    let cheap = json!({"schema": body["schema"], "sample": vec![0.7; 1_500]});
    world.call(&tenant.key, "PUT", "/v1/event-types/a.b", Some(&cheap)).await.ok(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_large_schemas_are_shorter_and_omit_no_type() {
    let world = World::new("api_event_types_bytes").await;
    let tenant = world.tenant("migma").await;
    let schema = json!({"schema": {"description": "x".repeat(60_000)}});
    for n in 0..20 {
        world.call(&tenant.key, "PUT", &format!("/v1/event-types/mine.t{n:02}"), Some(&schema)).await.ok(201);
    }
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = world.get(&tenant.key, &format!("/v1/event-types?limit=200{cursor}")).await.ok(200);
        assert!(page.to_string().len() < 1_200_000);
        seen.extend(names(&page).into_iter().map(str::to_owned));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let sorted: std::collections::BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!((pages, sorted.len()), (2, seen.len()));
    assert!(seen.is_sorted() && seen.iter().filter(|name| name.starts_with("mine.")).count() == 20, "{seen:?}");
    let profiles_own = seen.iter().filter(|name| !name.starts_with("mine.")).count();
    assert!(profiles_own > 5, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_catalog_describes_each_body_in_the_profiles_envelope() {
    let world = World::new("api_catalog_export").await;
    let (tenant, flat) = (world.tenant("standard").await, world.tenant("mumara").await);
    let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}});
    let body = json!({"description": "paid", "sample": {"n": 1}, "schema": schema});
    world.call(&tenant.key, "PUT", "/v1/event-types/order.paid", Some(&body)).await.ok(201);

    let document = world.get(&tenant.key, "/v1/catalog").await.ok(200);
    assert_eq!(document, world.get(&tenant.key, "/v1/catalog?format=openapi").await.ok(200));
    assert_eq!(document["openapi"], "3.1.0");
    let post = &document["webhooks"]["order.paid"]["post"];
    assert_eq!((&post["description"], &post["tags"]), (&json!("paid"), &json!(["order"])));
    let headers: Vec<&str> = post["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(headers, ["webhook-id", "webhook-timestamp", "webhook-signature"]);
    let content = &post["requestBody"]["content"]["application/json"];
    assert_eq!((&content["example"]["type"], &content["example"]["data"]), (&json!("order.paid"), &json!({"n": 1})));
    let properties = &content["schema"]["properties"];
    assert_eq!(properties["type"], json!({"const": "order.paid"}));
    assert_eq!(properties["data"]["required"], json!(["n"]));
    assert_eq!(properties["data"]["$id"], "urn:event-type:order.paid", "its references stay within it");

    let strict =
        json!({"schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": false}});
    world.call(&flat.key, "PUT", "/v1/event-types/Newsletter%20Opened", Some(&strict)).await.ok(201);
    let document = world.get(&flat.key, "/v1/catalog?format=asyncapi").await.ok(200);
    assert_eq!(document["asyncapi"], "3.0.0");
    let message = &document["channels"]["webhook"]["messages"]["Newsletter Opened"];
    assert_eq!(message["name"], "opened");
    let data = &message["payload"]["allOf"][0];
    assert_eq!(data["properties"]["n"]["type"], "integer", "mumara's data is flat: {message}");
    assert!(data.get("additionalProperties").is_none(), "the body has the envelope's fields, too: {data}");
    assert!(message["examples"][0]["payload"].is_object());
    world.get(&flat.key, "/v1/catalog?format=yaml").await.problem(422, "format");
}
