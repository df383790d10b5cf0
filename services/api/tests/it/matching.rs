//! Retries and cancellations of all deliveries that match a filter.

use postrider_model::delivery::DeliveryStatus;
use serde_json::json;

use crate::harness::{OPERATOR, World};
use crate::recorded::recorded;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_deliveries_that_match_are_counted_and_changed_in_steps_without_sending_twice() {
    let world = World::new("api_matching").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    for status in [DeliveryStatus::Failed, DeliveryStatus::Delivered] {
        recorded(&world, &tenant, &endpoint, status).await;
    }
    for _ in 0..52 {
        recorded(&world, &tenant, &endpoint, DeliveryStatus::Pending).await;
    }
    let (retry, cancel) = ("/v1/deliveries/retry", "/v1/deliveries/cancel");
    let counted = world.post(&tenant.key, retry, json!({"filter": {}, "dry_run": true})).await.ok(200);
    assert_eq!(counted["matching"], json!({"pending": 52, "ended": 1, "delivered": 0, "more": false}));
    let delivered = json!({"filter": {"status": "delivered"}, "dry_run": true});
    let counted = world.post(&tenant.key, retry, delivered).await.ok(200);
    assert_eq!(counted["matching"], json!({"pending": 0, "ended": 1, "delivered": 1, "more": false}));

    let first = world.post(&tenant.key, cancel, json!({"filter": {"type": "user.*"}})).await.ok(200);
    assert_eq!((&first["changed"], &first["refused"]), (&json!(50), &json!([])));
    let rest = json!({"filter": {"type": "user.*"}, "cursor": first["next_cursor"]});
    let second = world.post(&tenant.key, cancel, rest).await.ok(200);
    assert_eq!((&second["changed"], &second["next_cursor"]), (&json!(2), &json!(null)));

    let failed = json!({"filter": {"status": "failed"}});
    let sent = world.post(&tenant.key, retry, failed.clone()).await.ok(200);
    assert_eq!(sent["changed"], json!(1), "{sent:#}");
    let again = world.post(&tenant.key, retry, failed).await.ok(200);
    assert_eq!(again["changed"], json!(0), "{again:#}");
    assert!(again["refused"][0]["detail"].as_str().unwrap().contains("sent to the endpoint again later"), "{again:#}");

    let reader = world.key(&tenant.id, &["read"]).await;
    world.post(&reader, retry, json!({"filter": {}})).await.problem(403, "");
    let wrong = json!({"filter": {"status": "failed", "status_code": "5x"}});
    world.post(&tenant.key, cancel, wrong).await.problem(422, "/filter/status_code");
    world.post(&tenant.key, cancel, json!({"filter": {"status": "failed"}})).await.problem(422, "/filter/status");
    world.post(&tenant.key, cancel, json!({"filter": {"state": "failed"}})).await.problem(422, "/filter/state");
    world.post(&tenant.key, cancel, json!({})).await.problem(422, "/filter");
    world.post(OPERATOR, cancel, json!({"filter": {}})).await.problem(422, "tenant");
}
