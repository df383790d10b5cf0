//! Explaining an event end to end: for every reason the explanation agrees with the actual decision.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Deployment, Receiver};

/// Guarantee (Who gets an event): `explain` says why an endpoint did or did not get an event.
#[tokio::test]
async fn an_explanation_agrees_with_past_and_future_deliveries() {
    let deployment = Deployment::start("explain").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    let large = json!({"field": "data.amount", "op": "gt", "value": 5});
    let mut ids = BTreeMap::new();
    for (name, own) in [
        ("everything", json!({})),
        ("other-type", json!({"event_types": ["sms.*"]})),
        ("other-bridge", json!({"filters": {"bridge": ["b2"]}})),
        ("large", json!({"payload_filter": large})),
        ("small", json!({"payload_filter": {"not": large}})),
        ("inactive", json!({"status": "inactive"})),
    ] {
        let mut endpoint = json!({"name": name, "url": receiver.url(&format!("/{name}")), "event_types": ["email.*"]});
        endpoint.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        ids.insert(name, tenant.endpoint(endpoint).await.id().to_owned());
    }
    let event = json!({"type": "email.sent", "data": {"amount": 6}, "attributes": {"bridge": "b1"}});
    let event = tenant.publish(&event).await;
    let decided = |event: &Value| event["deliveries"].as_array().is_some_and(|deliveries| !deliveries.is_empty());
    let recorded = tenant.wait_for(&format!("/v1/events/{event}"), decided).await;

    // From here on another configuration is in force, so the explanations of then and now differ.
    tenant.patch(&format!("/v1/endpoints/{}", ids["large"]), &json!({"status": "inactive"})).await;
    tenant.patch(&format!("/v1/endpoints/{}", ids["inactive"]), &json!({"status": "active"})).await;
    let explained = tenant.get(&format!("/v1/events/{event}/explain")).await;
    let explained = explained["data"].as_array().expect("endpoints");
    assert_eq!(explained.len(), ids.len());

    // The endpoint, whether it matched at the decision and now, and the conditions that failed at the decision.
    for (name, then, now, failed) in [
        ("everything", true, true, &[][..]),
        ("other-type", false, false, &["event_types"]),
        ("other-bridge", false, false, &["filters.bridge"]),
        ("large", true, false, &[]),
        ("small", false, false, &["payload_filter"]),
        ("inactive", false, true, &["status"]),
    ] {
        let one = explained.iter().find(|one| one["endpoint_id"] == ids[name].as_str()).expect("every endpoint");
        assert_eq!((&one["matched"], &one["now"]["matched"]), (&json!(then), &json!(now)), "{name}: {one:#}");
        let reasons = one["reasons"].as_array().expect("reasons").iter();
        let missed: Vec<_> = reasons.filter(|r| r["passed"] == false).map(|r| r["check"].as_str().unwrap()).collect();
        assert_eq!(missed, failed, "{name}: {one:#}");
        let delivered =
            recorded["deliveries"].as_array().unwrap().iter().any(|d| d["endpoint_id"] == ids[name].as_str());
        assert_eq!(delivered, then, "{name}");
    }
}
