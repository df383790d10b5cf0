//! What fails and what waits over all tenants.

use std::time::Duration;

use bytes::Bytes;
use postrider_model::breaker::{BreakerState, BreakerStatement};
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use postrider_wire::messages::{AcceptedEvent, Hint};
use postrider_wire::testing;
use serde_json::{Value, json};

use crate::harness::{OPERATOR, Tenant, World};
use crate::recorded::recorded;

const PATIENCE: Duration = Duration::from_secs(60);

async fn trouble(world: &World) -> Value {
    world.get(OPERATOR, "/v1/system/trouble").await.ok(200)
}

fn id(endpoint: &Value) -> EndpointId {
    endpoint["id"].as_str().unwrap().parse().unwrap()
}

async fn named(world: &World, tenant: &Tenant, name: &str) -> Value {
    let body = json!({"name": name, "url": "https://example.com/", "event_types": ["*"]});
    world.post(&tenant.key, "/v1/endpoints", body).await.ok(201)
}

/// Records an event that was accepted `age_s` seconds ago, and its decision for an endpoint, but no attempt.
async fn decided(world: &World, tenant: &Tenant, endpoint: &Value, age_s: i64) -> AcceptedEvent {
    let at = UnixMillis(UnixMillis::now().0 - age_s * 1_000);
    let tenant: TenantId = tenant.id.parse().unwrap();
    let event = testing::accepted(tenant, "a.b".parse().unwrap(), at);
    let decision = testing::decision(&event, vec![id(endpoint)], endpoint["version"].as_i64().unwrap());
    let rows = RecordBatch {
        events: vec![(event.clone(), Bytes::from_static(b"{}"))],
        decisions: vec![decision],
        ..RecordBatch::default()
    };
    world.store.record().write(&rows).await.unwrap();
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_sees_by_name_who_fails_why_and_since_when() {
    let world = World::new("api_trouble").await;
    let (one, two) = (world.tenant("standard").await, world.tenant("standard").await);
    let quiet = trouble(&world).await;
    assert_eq!((&quiet["endpoints"], &quiet["tenants"], &quiet["breakers"]), (&json!([]), &json!([]), &json!([])));
    assert_eq!((&quiet["failing_endpoints"], &quiet["throughput"]["total"]["attempts"]), (&json!(0), &json!(0)));

    let (dead, flaky, fine) =
        (named(&world, &one, "dead").await, named(&world, &two, "flaky").await, named(&world, &two, "fine").await);
    for _ in 0..5 {
        recorded(&world, &one, &dead, DeliveryStatus::Failed).await;
    }
    recorded(&world, &two, &flaky, DeliveryStatus::Failed).await;
    for endpoint in [&flaky, &fine, &fine] {
        recorded(&world, &two, endpoint, DeliveryStatus::Delivered).await;
    }
    let shown = trouble(&world).await;
    let endpoints: Vec<_> = shown["endpoints"].as_array().unwrap().iter().collect();
    let names =
        |of: &[&Value]| of.iter().map(|one| one["endpoint_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&endpoints), ["dead", "flaky"], "{shown:#}");
    let first = endpoints[0];
    assert_eq!((&first["tenant_id"], &first["tenant_name"]), (&json!(one.id), &json!("Acme")));
    assert_eq!((&first["attempts"], &first["failures"], &first["status"]), (&json!(5), &json!(5), &json!("active")));
    assert_eq!(
        (&first["health"]["state"], &first["health"]["last_failure"]["cause"]),
        (&json!("failing"), &json!("the endpoint answers 503"))
    );
    assert!(first["health"]["failing_since"].is_string());
    assert_eq!((&endpoints[1]["attempts"], &endpoints[1]["failures"]), (&json!(2), &json!(1)));
    let tenants: Vec<_> = shown["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| (&of["tenant_id"], &of["failures"], &of["attempts"], &of["endpoints_with_failures"]))
        .collect();
    assert_eq!(
        tenants,
        [(&json!(one.id), &json!(5), &json!(5), &json!(1)), (&json!(two.id), &json!(1), &json!(4), &json!(1))]
    );
    let total = &shown["throughput"]["total"];
    assert_eq!(
        (&total["attempts"], &total["failures"], &shown["failing_endpoints"]),
        (&json!(9), &json!(6), &json!(1))
    );
    assert_eq!(shown["throughput"]["by"], json!("minute"));

    // A deleted endpoint is not listed.
    let path = format!("/v1/endpoints/{}", dead["id"].as_str().unwrap());
    world.call(&one.key, "DELETE", &path, None).await.ok(204);
    let shown = trouble(&world).await;
    assert_eq!((&shown["endpoints"][0]["endpoint_name"], &shown["failing_endpoints"]), (&json!("flaky"), &json!(0)));
    world.get(&one.key, "/v1/system/trouble").await.problem(403, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_delivery_that_waits_longest_and_open_breakers_are_named() {
    let world = World::new("api_trouble_wait").await;
    let tenant = world.tenant("standard").await;
    let endpoint = named(&world, &tenant, "slow").await;
    assert_eq!(trouble(&world).await["oldest_waiting"], Value::Null);
    let newer = decided(&world, &tenant, &endpoint, 5).await;
    let older = decided(&world, &tenant, &endpoint, 60).await;
    // A delivery that waits for a retry does not count here, because it has had its first attempt.
    recorded(&world, &tenant, &endpoint, DeliveryStatus::Pending).await;
    let oldest = async || trouble(&world).await["oldest_waiting"].clone();
    let delivery = |event: &AcceptedEvent| json!(testing::first_delivery(event, id(&endpoint)).id.to_string());
    let shown = oldest().await;
    assert_eq!((&shown["delivery_id"], &shown["endpoint_name"]), (&delivery(&older), &json!("slow")));
    assert_eq!(shown["created_at"], json!(older.accepted_at.to_rfc3339_millis()));
    let attempt = testing::attempted(&older, id(&endpoint), 1, UnixMillis::now(), DeliveryStatus::Delivered, Some(200));
    let rows = RecordBatch { outcomes: vec![(attempt, Bytes::new())], ..RecordBatch::default() };
    world.store.record().write(&rows).await.unwrap();
    assert_eq!(oldest().await["delivery_id"], delivery(&newer));

    let hints = world.broker.hint_sender();
    let since = UnixMillis(UnixMillis::now().0 - 90_000);
    let breaker = async {
        loop {
            let (state, seen_at) = (BreakerState::Open, UnixMillis::now());
            hints.send(Hint::Breakers(vec![BreakerStatement { endpoint: id(&endpoint), state, since, seen_at }]));
            let shown = trouble(&world).await["breakers"][0].clone();
            if !shown.is_null() {
                return shown;
            }
        }
    };
    let shown = tokio::time::timeout(PATIENCE, breaker).await.expect("the breaker is known");
    assert_eq!((&shown["endpoint_name"], &shown["tenant_name"]), (&json!("slow"), &json!("Acme")));
    assert_eq!((&shown["state"], &shown["since"]), (&json!("open"), &json!(since.to_rfc3339_millis())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_whose_deliveries_wait_are_named() {
    let world = World::new("api_waiting").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    recorded(&world, &tenant, &endpoint, DeliveryStatus::Pending).await;
    world.store.record().count_waiting().await.unwrap();
    let waiting = world.get(OPERATOR, "/v1/system").await.ok(200)["waiting"].clone();
    let expected = json!([{"tenant_id": tenant.id, "tenant_name": "Acme", "deliveries": 1}]);
    assert_eq!((&waiting["deliveries"], &waiting["tenants"]), (&json!(1), &expected));
}
