//! The operator's view of all tenants: who fails.

use postrider_model::delivery::DeliveryStatus;
use serde_json::json;

use crate::harness::OPERATOR;
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
    // The number of failures leads to the deliveries.
    let failed = page.split("href=\"").find(|link| link.contains("failed_attempts=true")).unwrap();
    let failed = failed.split('"').next().unwrap().replace("&amp;", "&");
    let rows = get(&world, &cookie, &failed).await.text;
    assert_eq!(rows.matches("name=\"delivery_id\"").count(), 5, "{rows}");
}
