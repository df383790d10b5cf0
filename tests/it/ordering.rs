//! Ordered endpoints: deliveries of one key come one after the other, in the order in which the events were accepted.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::ordered_receiver::{
    OrderedReceiver, WITHIN, at_random, keys, order_survives, order_survives_the_loss_of_the_brokers_disk, publish_all,
};
use crate::harness::{Deployment, Tenant};

async fn ordered_endpoint(tenant: &Tenant, url: &str, on_exhausted: &str, retries: Value) -> String {
    let endpoint = json!({
        "name": "ordered", "url": url, "event_types": ["*"], "retry_schedule_seconds": retries,
        "ordering": {"key": "data.key", "on_exhausted": on_exhausted},
    });
    tenant.endpoint(endpoint).await.id().to_owned()
}

/// Guarantee (Order): Deliveries of an ordered endpoint with one key come one after the other, in the order of acceptance, also
/// while attempts fail.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_a_key_come_in_order_one_at_a_time() {
    let deployment = Deployment::start("ordering").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = OrderedReceiver::start(Duration::from_millis(2), at_random(12)).await;
    let endpoint = ordered_endpoint(&tenant, &receiver.url(), "continue", json!([1, 1, 1, 1, 1, 1])).await;
    let keys = keys(6);
    publish_all(&tenant.base, &tenant.key, &keys, 40).await;
    receiver.wait_for_delivered(6 * 40, WITHIN).await;
    receiver.check_order(&keys, 40);
    receiver.check_one_at_a_time(&keys);
    let shown = tenant.get(&format!("/v1/endpoints/{endpoint}")).await;
    assert_eq!(shown["ordering"], json!({"key": "data.key", "on_exhausted": "continue"}));
}

/// Guarantee (Order): A key whose delivery failed for good is held until a person decides, and delays no other key.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_key_waits_for_a_decision_and_delays_no_other_key() {
    let deployment = Deployment::start("ordering-hold").await;
    let tenant = deployment.tenant("standard").await;
    // The first event of `bad` fails once, its second one always.
    let fails = |key: &str, n, earlier| key == "bad" && (n == 1 || (n == 0 && earlier == 0));
    let receiver = OrderedReceiver::start(Duration::ZERO, fails).await;
    let endpoint = ordered_endpoint(&tenant, &receiver.url(), "hold", json!([])).await;
    publish_all(&tenant.base, &tenant.key, &["bad".to_owned(), "good".to_owned()], 4).await;
    receiver.wait_for_delivered(4, WITHIN).await;
    assert_eq!(receiver.posts("good").len(), 4);

    let path = format!("/v1/endpoints/{endpoint}/held-keys");
    let held_by = async |event: &str| {
        let held = tenant.wait_for(&path, |held| held["data"].as_array().is_some_and(|held| !held.is_empty())).await;
        let key = held["data"][0].clone();
        // The recorder may not have recorded the delivery yet.
        let of_event = format!("/v1/deliveries?event_id={event}");
        tenant.wait_for(&of_event, |list| list["data"].as_array().is_some_and(|list| !list.is_empty())).await;
        let delivery = tenant.get(&format!("/v1/deliveries/{}", key["delivery_id"].as_str().expect("an id"))).await;
        assert_eq!((&key["key"], &delivery["event_id"]), (&json!("bad"), &json!(event)), "{held:#}");
        (key, delivery)
    };
    let (key, delivery) = held_by("bad-0").await;
    assert_eq!((&key["waiting"], &delivery["place"]["held"]), (&json!(3), &json!(true)), "{key:#} {delivery:#}");
    assert_eq!(receiver.posts("bad").len(), 1);
    let waits = tenant.only_delivery("bad-2").await;
    let waits = tenant.get(&format!("/v1/deliveries/{waits}")).await;
    assert_eq!((&waits["phase"], &waits["place"]["ahead"]), (&json!("in_line"), &json!(2)), "{waits:#}");
    assert_eq!(waits["place"]["first_delivery_id"], delivery["id"]);
    let explained = async |event: &str| {
        tenant.get(&format!("/v1/events/{event}/explain")).await["data"][0]["delivery_standing"].clone()
    };
    let first = delivery["id"].as_str().expect("an id");
    let behind = format!("waits behind 2 deliveries with the same key \"bad\", the first of which is {first}");
    assert_eq!(explained("bad-2").await, json!(format!("{behind}: it failed, and a person must retry or skip it")));

    // The retry of `bad-0` succeeds, and `bad-1` holds the key.
    let release = format!("{path}/release");
    tenant.post(&release, &json!({"key": "bad", "action": "retry"})).await;
    let (_, failed) = held_by("bad-1").await;
    let skipped = tenant.post(&release, &json!({"key": "bad", "action": "skip"})).await;
    assert_eq!(skipped["delivery_id"], failed["id"]);
    receiver.wait_for_delivered(7, WITHIN).await;
    let posts: Vec<_> = receiver.posts("bad").iter().map(|post| post.n).collect();
    assert_eq!(posts, [0, 0, 1, 2, 3]);
    let (status, refused) = tenant.try_post(&release, &json!({"key": "bad", "action": "skip"})).await;
    assert_eq!(status, 409, "{refused:#}");
}

/// Guarantee (Order): A cancelled delivery leaves its line, and the next one follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_delivery_leaves_its_line() {
    let deployment = Deployment::start("ordering-cancel").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = OrderedReceiver::start(Duration::ZERO, |_, n, _| n == 0).await;
    // Its retry would be due in an hour.
    ordered_endpoint(&tenant, &receiver.url(), "continue", json!([3600])).await;
    publish_all(&tenant.base, &tenant.key, &["k".to_owned()], 4).await;
    tenant.wait_for_first_attempt("k-0").await;
    let cancel = async |event: &str| {
        let id = tenant.only_delivery(event).await;
        tenant.post(&format!("/v1/deliveries/{id}/cancel"), &json!({})).await;
    };
    cancel("k-1").await;
    cancel("k-0").await;
    receiver.wait_for_delivered(2, WITHIN).await;
    let posts: Vec<_> = receiver.posts("k").iter().map(|post| post.n).collect();
    assert_eq!(posts, [0, 2, 3]);
}

/// Guarantee (Order): A replay to an ordered endpoint is in the order of its events.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_to_an_ordered_endpoint_is_in_order() {
    let deployment = Deployment::start("ordering-replay").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = OrderedReceiver::start(Duration::ZERO, |_, n, earlier| n == 5 && earlier == 1).await;
    ordered_endpoint(&tenant, &receiver.url(), "continue", json!([1])).await;
    publish_all(&tenant.base, &tenant.key, &["k".to_owned()], 20).await;
    receiver.wait_for_delivered(20, WITHIN).await;
    tenant.wait_for_delivery("k-19", "delivered").await;
    tenant.post("/v1/replays", &json!({"event_types": ["a.b"]})).await;
    let all = async || {
        while receiver.posts("k").len() < 41 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(WITHIN, all()).await.expect("in time");
    let posts: Vec<_> = receiver.posts("k")[20..].iter().map(|post| post.n).collect();
    let expected: Vec<u64> = (0..=5).chain(5..20).collect();
    assert_eq!(posts, expected);
}

/// Guarantee (Order): The order holds when processes are killed.
#[tokio::test(flavor = "multi_thread")]
async fn the_order_survives_the_death_of_dispatchers() {
    order_survives(&["dispatcher", "dispatcher-2"], 8, 150).await;
}

/// Guarantee: as `ordering::the_order_survives_the_death_of_dispatchers`.
#[tokio::test(flavor = "multi_thread")]
async fn the_order_survives_the_death_of_the_recorder_and_of_fanout() {
    order_survives(&["recorder", "fanout", "recorder"], 8, 150).await;
}

/// Guarantee (Order): The lines of ordered endpoints continue in their order after the broker has lost its disk.
#[tokio::test(flavor = "multi_thread")]
async fn the_order_survives_the_loss_of_the_brokers_disk() {
    order_survives_the_loss_of_the_brokers_disk().await;
}
