//! Expiry and delay of events, by every way in: nothing is attempted before `deliver_at` or after the expiry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postrider_model::time::UnixMillis;
use postrider_testkit::engines::PrivateRabbit;
use serde_json::{Value, json};

use crate::harness::{Answer, Deployment, Message, Producer, Received, Receiver, Tenant};

const SECOND: Duration = Duration::from_secs(1);

/// A time from now, as events state it.
fn after(wait: Duration) -> String {
    UnixMillis::now().plus(wait).to_rfc3339_millis()
}

fn due(deliver_at: &str) -> SystemTime {
    let at: UnixMillis = deliver_at.parse().expect("a time");
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).expect("after 1970"))
}

/// Checks that a request came at `deliver_at` or later.
fn check_not_early(request: &Received, deliver_at: &str) {
    let late = request.arrived_at.duration_since(due(deliver_at));
    assert!(late.is_ok(), "{late:?} early: due at {deliver_at}");
    println!("a scheduled delivery came {:?} late", late.unwrap());
}

async fn hook(tenant: &Tenant, receiver: &Receiver, more: Value) -> String {
    let mut endpoint = json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]});
    endpoint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    tenant.endpoint(endpoint).await.id().to_owned()
}

/// Waits until the only delivery of an event was discarded as expired, and returns it.
async fn expired(tenant: &Tenant, event: &str) -> Value {
    let delivery = tenant.wait_for_delivery(event, "discarded").await;
    assert_eq!(delivery["discard_reason"], json!("expired"), "{delivery:#}");
    assert!(delivery["next_attempt_at"].is_null(), "{delivery:#}");
    delivery
}

/// Guarantee (Publishing): An event that expires while its endpoint is down is not attempted after that, unless a person requests
/// it.
#[tokio::test]
async fn an_event_that_expired_while_the_endpoint_was_down_is_not_attempted_again() {
    let deployment = Deployment::start("expired").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    receiver.answer_next([Answer::status(503), Answer::status(503)]);
    hook(&tenant, &receiver, json!({"retry_schedule_seconds": [1, 600]})).await;
    let event = tenant.publish(&json!({"type": "code.sent", "data": {"code": 1}, "ttl_seconds": 300})).await;
    // The second retry would be due long after the expiry, so the delivery ends after the first retry.
    let requests = receiver.take(2).await;
    let delivery = expired(&tenant, &event).await;
    assert_eq!(delivery["attempt_count"], json!(2), "{delivery:#}");
    let stored = tenant.get(&format!("/v1/events/{event}")).await;
    assert_eq!(stored["expires_at"], delivery["expires_at"], "{stored:#}");
    let explained = tenant.get(&format!("/v1/events/{event}/explain")).await;
    let standing = explained["data"][0]["delivery_standing"].as_str().expect("a sentence");
    assert!(standing.starts_with("discarded after 2 attempts: the event expires at "), "{standing}");

    // A retry that a person requests ignores the expiry.
    let path = format!("/v1/deliveries/{}/retry", delivery["id"].as_str().unwrap());
    let again = tenant.post(&path, &json!({})).await;
    let sent = receiver.next().await;
    assert_eq!((&sent.body, sent.header("postrider-delivery")), (&requests[0].body, again["id"].as_str().unwrap()));
    tenant.wait_for(&format!("/v1/deliveries/{}", again["id"].as_str().unwrap()), |d| d["status"] == "delivered").await;
}

/// Guarantee: as `expiry::an_event_that_expired_while_the_endpoint_was_down_is_not_attempted_again`.
#[tokio::test]
async fn a_replay_delivers_an_expired_event_and_a_types_default_expires_its_events() {
    let deployment = Deployment::start("expiry-default").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    receiver.answer_next([Answer::status(503)]);
    let endpoint = hook(&tenant, &receiver, json!({"retry_schedule_seconds": [600]})).await;
    let put = async |body: Value| {
        let path = "/v1/event-types/code.sent";
        let (status, answer) = tenant.send(reqwest::Method::PUT, path, Some(body.to_string()), &[]).await;
        (status, answer)
    };
    let (status, answer) = put(json!({"ttl_seconds": 0})).await;
    assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/ttl_seconds")), "{answer:#}");
    let (status, answer) = put(json!({"ttl_seconds": 60})).await;
    assert_eq!((status, &answer["ttl_seconds"]), (201, &json!(60)), "{answer:#}");
    assert_eq!(tenant.get("/v1/event-types/code.sent").await["ttl_seconds"], json!(60));
    let event = tenant.publish(&json!({"type": "code.sent", "data": {}})).await;
    receiver.next().await;
    expired(&tenant, &event).await;

    tenant.post("/v1/replays", &json!({"event_id": event, "endpoint_id": endpoint})).await;
    assert_eq!(receiver.next().await.header("webhook-id"), event);
}

/// Guarantee (Publishing): The deliveries of an event with `deliver_at` are never early, even if the broker dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_event_is_not_early_and_survives_the_brokers_death() {
    let mut rabbit = PrivateRabbit::start().await.expect("RabbitMQ starts");
    let amqp = rabbit.amqp_url();
    let deployment = Deployment::start_with("scheduled", &[("POSTRIDER_AMQP_URL", &amqp)]).await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    hook(&tenant, &receiver, json!({})).await;
    let deliver_at = after(30 * SECOND);
    // A body above 4 KiB waits by reference.
    let large = json!({"type": "a.large", "data": {"text": "x".repeat(10_000)}, "deliver_at": deliver_at});
    let large = tenant.publish(&large).await;
    let small = json!({"type": "a.small", "data": {}, "deliver_at": deliver_at, "ttl_seconds": 600});
    let small = tenant.publish(&small).await;
    for event in [&large, &small] {
        let delivery = tenant.only_delivery(event).await;
        let delivery = tenant.get(&format!("/v1/deliveries/{delivery}")).await;
        let shown = (&delivery["status"], &delivery["phase"], &delivery["next_attempt_at"]);
        assert_eq!(shown, (&json!("pending"), &json!("scheduled"), &json!(deliver_at)), "{delivery:#}");
        assert_eq!(tenant.get(&format!("/v1/events/{event}")).await["deliver_at"], json!(deliver_at));
    }
    let listed = tenant.get("/v1/deliveries?phase=scheduled").await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(2), "{listed:#}");
    deployment.wait_for_metric("postrider_dispatcher_scheduled_waits_total", 2).await;
    rabbit.wait_queues_on_disk().await.expect("the delay queues are on disk");
    rabbit.kill9();
    rabbit.restart().await.expect("RabbitMQ starts again");

    let requests = receiver.take(2).await;
    for (event, request) in requests.iter().map(|request| (request.header("webhook-id").to_owned(), request)) {
        assert!([&large, &small].contains(&&event), "{event}");
        check_not_early(request, &deliver_at);
        tenant.wait_for_delivery(&event, "delivered").await;
    }
}

/// Guarantee: as `expiry::a_scheduled_event_is_not_early_and_survives_the_brokers_death`.
#[tokio::test]
async fn a_scheduled_delivery_can_be_sent_now_cancelled_and_expunged() {
    let deployment = Deployment::start("scheduled-changed").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    hook(&tenant, &receiver, json!({})).await;
    let deliver_at = after(30 * SECOND);
    let publish = async |name: &str| {
        let event = tenant.publish(&json!({"type": name, "data": {}, "deliver_at": deliver_at})).await;
        let delivery = tenant.only_delivery(&event).await;
        (event, delivery)
    };
    let (now, sent) = publish("a.now").await;
    let (_, cancelled) = publish("a.cancelled").await;
    let (expunged, discarded) = publish("a.expunged").await;
    let (later, _) = publish("a.later").await;
    tenant.post(&format!("/v1/deliveries/{sent}/retry"), &json!({})).await;
    tenant.post(&format!("/v1/deliveries/{cancelled}/cancel"), &json!({})).await;
    tenant.delete(&format!("/v1/events/{expunged}/payload")).await;
    let first = receiver.next().await;
    assert_eq!(first.header("webhook-id"), now);
    assert!(first.arrived_at < due(&deliver_at), "a retry does not wait for deliver_at");

    let last = receiver.next().await;
    assert_eq!(last.header("webhook-id"), later);
    check_not_early(&last, &deliver_at);
    deployment.wait_for_metric("postrider_dispatcher_stale_copies_total", 3).await;
    assert_eq!(receiver.all().len(), 2);
    for (delivery, status) in [(sent, "delivered"), (cancelled, "cancelled"), (discarded, "discarded")] {
        tenant.wait_for(&format!("/v1/deliveries/{delivery}"), |delivery| delivery["status"] == status).await;
    }
}

/// Guarantee (Publishing): Expiry and delay work over HTTP, in batches, over RabbitMQ and in CloudEvents, and contradictions are
/// refused.
#[tokio::test]
async fn a_window_is_checked_and_kept_by_every_way_in() {
    let deployment = Deployment::start("windows").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    hook(&tenant, &receiver, json!({})).await;
    let (past, soon, later) = (after(Duration::ZERO), after(3_600 * SECOND), after(7_200 * SECOND));
    let far = after(7 * 86_400 * SECOND);
    for (window, pointer) in [
        (json!({"expires_at": past}), "/expires_at"),
        (json!({"expires_at": soon, "deliver_at": later}), "/deliver_at"),
        (json!({"deliver_at": far}), "/deliver_at"),
        (json!({"expires_at": soon, "ttl_seconds": 5}), "/ttl_seconds"),
    ] {
        let mut event = json!({"type": "a.b", "data": {}});
        event.as_object_mut().unwrap().extend(window.as_object().unwrap().clone());
        let (status, problem) = tenant.try_post("/v1/publish", &event).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem:#}");
        let (_, answer) = tenant.try_post("/v1/publish/batch", &json!({"events": [event]})).await;
        assert_eq!(answer["results"][0]["error"]["errors"][0]["pointer"], json!(pointer), "{answer:#}");
    }

    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let key = format!("{}.a.b", tenant.id);
    let message = |id: &str, window: Value| {
        let mut event = json!({"tenant": tenant.id, "type": "a.b", "data": {}, "id": id});
        event.as_object_mut().unwrap().extend(window.as_object().unwrap().clone());
        Message::new(key.clone(), event.to_string())
    };
    // A message may wait in the queue until its event has expired, so such an event is on record and its delivery is discarded.
    producer.publish(message("amqp-expired", json!({"expires_at": past}))).await;
    let delivery = expired(&tenant, "amqp-expired").await;
    assert_eq!(delivery["attempt_count"], json!(0), "{delivery:#}");
    producer.publish(message("amqp-far", json!({"deliver_at": far}))).await;
    let letters = |page: &Value| page["data"].as_array().is_some_and(|letters| !letters.is_empty());
    let letters = deployment.operator().wait_for("/v1/dead-letters", letters).await;
    let reason = letters["data"][0]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("/deliver_at: ") && reason.contains("too far ahead: at most 6 days"), "{reason}");

    producer.publish(message("amqp-later", json!({"deliver_at": soon, "expires_at": later}))).await;
    let cloud = json!({
        "specversion": "1.0", "id": "0190a5b2-c3d4-7e8f-9a0b-1c2d3e4f5061", "source": "/", "type": "a.b", "data": {},
        "deliverat": soon, "expirytime": later,
    });
    let kind = [("content-type", "application/cloudevents+json")];
    let (status, answer) = tenant.publish_as(&kind, &cloud.to_string()).await;
    assert_eq!(status, 202, "{answer:#}");
    let event = json!({"type": "a.b", "data": {}, "deliver_at": soon, "expires_at": later});
    let (_, batch) = tenant.try_post("/v1/publish/batch", &json!({"events": [event]})).await;
    let ids = ["amqp-later", answer["id"].as_str().unwrap(), batch["results"][0]["id"].as_str().unwrap()];
    for id in ids {
        let delivery = tenant.only_delivery(id).await;
        let delivery = tenant.get(&format!("/v1/deliveries/{delivery}")).await;
        let window = (&delivery["phase"], &delivery["next_attempt_at"], &delivery["expires_at"]);
        assert_eq!(window, (&json!("scheduled"), &json!(soon), &json!(later)), "{id}: {delivery:#}");
    }
    assert!(receiver.all().is_empty());
}
