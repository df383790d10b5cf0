//! Figures of a tenant's events and deliveries: times of first attempts, stats by endpoint, values of attributes.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::harness::{Deployment, Received, Receiver};

/// Guarantee (Attempts and retries): The share of events first attempted within 5 s and 30 s is measured, with stats of attempts.
#[tokio::test]
async fn the_share_of_first_attempts_within_5_and_30_seconds_is_in_the_stats() {
    let deployment = Deployment::start("figures").await;
    let (tenant, other) = (deployment.tenant("migomail").await, deployment.tenant("migomail").await);
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
    let published = SystemTime::now();
    for _ in 0..3 {
        tenant.publish(&json!({"type": "email.sent", "data": {}})).await;
    }
    // On a busy machine a first attempt may be late, and then the share is smaller.
    let late = |request: &Received| request.arrived_at > published + Duration::from_secs(5);
    let in_time = !receiver.take(3).await.iter().any(late);
    let counted = |stats: &Value| stats["total"]["promise"]["first_attempts"] == json!(3);
    for path in ["/v1/stats".to_owned(), format!("/v1/endpoints/{}/stats", endpoint.id())] {
        let stats = tenant.wait_for(&path, counted).await;
        let promise = &stats["total"]["promise"];
        assert!(promise["within_5s"].as_f64() <= promise["within_30s"].as_f64(), "{stats:#}");
        assert!(!in_time || (&promise["within_5s"], &promise["within_30s"]) == (&json!(1.0), &json!(1.0)), "{stats:#}");
        assert_eq!(stats["total"]["successes"], json!(3), "{stats:#}");
    }
    assert_eq!(other.get("/v1/stats").await["total"]["promise"]["first_attempts"], json!(0));
}

/// Guarantee (Who gets an event): Values that a filter can take are offered.
#[tokio::test]
async fn the_values_that_an_attribute_had_are_offered_with_counts_to_pick_from() {
    let deployment = Deployment::start("values").await;
    let (tenant, other) = (deployment.tenant("mumara").await, deployment.tenant("mumara").await);
    let event = |domain: &str| json!({"type": "Delivered", "data": {"email": "jane@example.com", "message_id": "m"}, "attributes": {"sending_domain": domain}});
    for domain in ["a.example", "b.example", "b.example"] {
        tenant.publish(&event(domain)).await;
    }
    let picked = |page: &Value| -> Vec<(String, u64)> {
        let values = page["data"].as_array().into_iter().flatten();
        values.map(|value| (value["value"].as_str().unwrap().into(), value["events"].as_u64().unwrap())).collect()
    };
    let expected = [("b.example".to_owned(), 2), ("a.example".to_owned(), 1)];
    tenant.wait_for("/v1/attributes/sending_domain", |page| picked(page) == expected).await;
    assert_eq!(other.get("/v1/attributes/sending_domain").await["data"], json!([]));
}
