//! The operator's view of all tenants: which webhooks and tenants have failures, and each tenant's usage and health.

use postrider_model::delivery::DeliveryStatus;
use serde_json::json;

use crate::harness::{OPERATOR, Tenant};
use crate::pages::{get, sign_in};
use crate::recorded::recorded;

const SYSTEM: &str = "/dashboard/operator/system";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_system_page_names_who_fails_and_leads_there() {
    let world = crate::world("dash_fleet").await;
    let tenant = world.tenant("standard").await;
    let cookie = sign_in(&world, OPERATOR).await;
    let quiet = get(&world, &cookie, SYSTEM).await.text;
    assert!(quiet.contains("No attempt failed since") && quiet.contains("All are closed."), "{quiet}");

    let body = json!({"name": "<i>dead", "url": "https://example.com/", "event_types": ["*"]});
    let endpoint = world.post(&tenant.key, "/v1/endpoints", body).await.ok(201);
    for _ in 0..5 {
        recorded(&world, &tenant, &endpoint, DeliveryStatus::Pending).await;
    }
    world.store.record().count_waiting().await.unwrap();
    let page = get(&world, &cookie, SYSTEM).await.text;
    let id = endpoint["id"].as_str().unwrap();
    assert!(page.contains(&format!("/dashboard/{}/webhooks/{id}\">&lt;i&gt;dead</a>", tenant.id)), "{page}");
    assert!(page.contains(&format!("/dashboard/operator/tenants/{}\">Acme</a>", tenant.id)), "{page}");
    assert!(page.contains("badge bad\">failing") && page.contains("It answers 503 Service Unavailable"), "{page}");
    assert!(page.contains("5 deliveries wait for an attempt"), "{page}");
    // The number of failures is a link to the deliveries.
    let failed = page.split("href=\"").find(|link| link.contains("failed_attempts=true")).unwrap();
    let failed = failed.split('"').next().unwrap().replace("&amp;", "&");
    let rows = get(&world, &cookie, &failed).await.text;
    assert_eq!(rows.matches("name=\"delivery_id\"").count(), 5, "{rows}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_are_searched_and_each_shows_its_usage_and_what_fails() {
    let world = crate::world("dash_tenants").await;
    let body =
        json!({"name": "Blue <b>Ltd", "profile": "standard", "external_id": "blue-1", "limits": {"endpoints": 2}});
    let id = world.post(OPERATOR, "/v1/tenants", body).await.ok(201)["id"].as_str().unwrap().to_owned();
    let tenant = Tenant { key: world.key(&id, &["publish", "read", "manage"]).await, id };
    world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    for _ in 0..5 {
        recorded(&world, &tenant, &endpoint, DeliveryStatus::Failed).await;
    }
    let cookie = sign_in(&world, OPERATOR).await;
    let tenants = "/dashboard/operator/tenants";
    let all = get(&world, &cookie, tenants).await.text;
    assert!(all.contains(">Acme</a>") && all.contains("Blue &lt;b&gt;Ltd") && all.contains("1 failing"), "{all}");
    for text in ["BLUE", "blue-1", &tenant.id] {
        let found = get(&world, &cookie, &format!("{tenants}?q={text}")).await.text;
        assert!(found.contains("Blue &lt;b&gt;Ltd") && !found.contains(">Acme</a>"), "{text}: {found}");
    }
    let none = get(&world, &cookie, &format!("{tenants}?q=nothing")).await.text;
    assert!(none.contains("No tenants match") && none.contains("value=\"nothing\""), "{none}");

    let page = get(&world, &cookie, &format!("{tenants}/{}", tenant.id)).await.text;
    assert!(page.contains("of 2 <meter") && page.contains("0 of 5 attempts"), "{page}");
    assert!(page.contains("tile-value is-bad\">1</span>") && page.contains("of 1,000,000"), "{page}");
    let id = &tenant.id;
    assert!(page.contains(&format!("switched off by Postrider: <a href=\"/dashboard/{id}/webhooks\">")), "{page}");
}
