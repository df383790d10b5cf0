//! Recovery after an outage: the health of an endpoint names the start and the cause of its failures, and one call delivers
//! everything that the endpoint did not receive.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Answer, Deployment, Receiver, Tenant};

async fn publish(tenant: &Tenant, number: u32) -> String {
    tenant.publish(&json!({"type": "order.paid", "data": {"n": number}})).await
}

/// Guarantee (The log, and repairs): A failing endpoint says since when and why; a recovery delivers once what failed, what waits
/// for a retry, and what was missed while it was off.
#[tokio::test]
async fn after_an_outage_one_call_delivers_everything_once() {
    let deployment = Deployment::start("recover").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    let hook = json!({"name": "orders", "url": receiver.url("/"), "event_types": ["*"], "retry_schedule_seconds": []});
    let endpoint = tenant.endpoint(hook).await;
    let path = format!("/v1/endpoints/{}", endpoint.id());
    let arrived = publish(&tenant, 0).await;
    tenant.wait_for_delivery(&arrived, "delivered").await;
    receiver.next().await;

    let expected = break_and_miss(&tenant, &receiver, &path).await;
    recover(&tenant, &receiver, &path, &expected).await;
    assert_eq!(receiver.all().len(), 1 + 6 + expected.len());
}

/// Breaks the receiver, and checks the endpoint's health. Then deactivates the endpoint for a while. Returns the events that a
/// recovery has to deliver.
async fn break_and_miss(tenant: &Tenant, receiver: &Receiver, path: &str) -> Vec<String> {
    // Two deliveries fail, four wait for a retry in an hour.
    receiver.answer_at("/", Answer::status(503));
    let mut expected = Vec::new();
    for number in 1..3 {
        let event = publish(tenant, number).await;
        tenant.wait_for_delivery(&event, "failed").await;
        expected.push(event);
    }
    tenant.patch(path, &json!({"retry_schedule_seconds": [3600]})).await;
    for number in 3..7 {
        let event = publish(tenant, number).await;
        tenant.wait_for_first_attempt(&event).await;
        expected.push(event);
    }
    receiver.take(6).await;

    // The customer sees since when and why, in the list first.
    let failing = tenant.wait_for(path, |endpoint| endpoint["health"]["failures_in_a_row"] == 6).await;
    let health = &failing["health"];
    assert_eq!(
        (&health["state"], &health["last_failure"]["status_code"]),
        (&json!("failing"), &json!(503)),
        "{health:#}"
    );
    let first_failed = tenant.only_delivery(&expected[0]).await;
    let first_failed = tenant.get(&format!("/v1/deliveries/{first_failed}")).await;
    assert_eq!(health["failing_since"], first_failed["attempts"][0]["started_at"]);
    let listed = tenant.get("/v1/endpoints?sort=trouble").await;
    assert_eq!((&listed["data"][0]["id"], &listed["data"][0]["failed_deliveries"]), (&failing["id"], &json!(6)));
    let retrying = tenant.get("/v1/deliveries?phase=retrying").await;
    assert_eq!(retrying["data"].as_array().map(Vec::len), Some(4), "{retrying:#}");

    // It is off for a while, and misses an event.
    tenant.patch(path, &json!({"status": "inactive"})).await;
    let missed = publish(tenant, 7).await;
    let explained = |found: &Value| found["data"][0]["matched"] == json!(false);
    tenant.wait_for(&format!("/v1/events/{missed}/explain"), explained).await;
    expected.push(missed);
    tenant.patch(path, &json!({"status": "active"})).await;
    expected
}

/// Repairs the receiver and recovers the endpoint. Checks that the receiver gets each of the `expected` events once.
async fn recover(tenant: &Tenant, receiver: &Receiver, path: &str, expected: &[String]) {
    // The recovery is counted first, then started.
    receiver.answer_at("/", Answer::status(200));
    let recover = format!("{path}/recover");
    let (status, counted) = tenant.try_post(&recover, &json!({"dry_run": true})).await;
    let counts = (&counted["failed"], &counted["missed"], &counted["retrying"]);
    assert_eq!((status, counts), (200, (&json!(2), &json!(1), &json!(4))), "{counted:#}");
    let recovery = tenant.post(&recover, &json!({})).await;
    let mut received: BTreeMap<String, u32> = BTreeMap::new();
    for request in receiver.take(expected.len()).await {
        *received.entry(request.header("webhook-id").to_owned()).or_default() += 1;
    }
    assert_eq!(received, expected.iter().map(|event| (event.clone(), 1)).collect(), "each event once");
    for event in expected {
        let delivered = format!("/v1/deliveries?event_id={event}&status=delivered");
        tenant.wait_for(&delivered, |page| page["data"].as_array().is_some_and(|data| data.len() == 1)).await;
    }
    let healthy = |endpoint: &Value| endpoint["health"]["state"] == "healthy";
    let healthy = tenant.wait_for(path, healthy).await;
    assert!(healthy["health"]["last_outage"]["until"].is_string(), "{healthy:#}");
    assert!(healthy["health"]["recover_since"].is_null(), "nothing is left to recover: {healthy:#}");
    let replay = format!("/v1/replays/{}", recovery["id"].as_str().expect("an id"));
    let finished = tenant.wait_for(&replay, |replay| replay["status"] == "finished").await;
    assert_eq!(finished["progress"]["deliveries"], json!(expected.len()), "{finished:#}");
    let (_, again) = tenant.try_post(&recover, &json!({"since": counted["since"], "dry_run": true})).await;
    assert_eq!(
        (&again["failed"], &again["missed"], &again["retrying"]),
        (&json!(0), &json!(0), &json!(0)),
        "{again:#}"
    );
}
