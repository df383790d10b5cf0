//! Old and new services side by side: messages of another release are processed. Version 1 of the wire is the only one so far, so
//! releases differ in the fields of heads: an older one writes fewer, a newer one more.

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use postrider_broker::topology::{ACCEPTED_EXCHANGE, LANES_EXCHANGE};
use postrider_model::ids::{DeliveryId, EventId, Generation};
use postrider_model::time::UnixMillis;
use postrider_wire::bundle::{self, Member};
use serde_json::{Value, json};

use crate::harness::{Deployment, Receiver};

/// The head of an older release: only required fields.
fn older(head: Value) -> Value {
    head
}

/// The head of a newer release: unknown fields in the head and in its members.
fn newer(mut head: Value) -> Value {
    if let Some(delivery) = head.get_mut("delivery") {
        delivery["later"] = json!("a word");
    }
    head["later"] = json!({"anything": [1, null]});
    head
}

/// Guarantee (Faults and isolation): A release drains the queues of its neighbours.
#[tokio::test]
async fn a_queue_filled_by_another_release_drains() {
    let deployment = Deployment::start("upgrade").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;

    let now = UnixMillis::now();
    let event_head = |id: &EventId| {
        json!({
            "id": id, "tenant": tenant.id, "type": "a.b", "occurred_at": now, "accepted_at": now, "event_day": now.day(),
            "instance": 1, "sequence": 1,
        })
    };
    let task_head = |event: &EventId| {
        let (owner, to) = (tenant.id.parse().expect("an id"), endpoint.id().parse().expect("an id"));
        json!({
            "delivery": {
                "id": DeliveryId::derive(owner, event, to, &Generation::First), "event": event, "event_day": now.day(),
                "event_type": "a.b", "tenant": owner, "endpoint": to, "delivery_day": now.day(), "created_at": now,
                "accepted_at": now, "generation": "first",
            },
            "occurred_at": now, "number": 1, "trigger": "first", "config_version": 1,
            "expires_at": now.plus(std::time::Duration::from_secs(3600)),
        })
    };
    let connection = lapin::Connection::connect(&deployment.scope().amqp_url, lapin::ConnectionProperties::default());
    let channel = connection.await.expect("the broker").create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let (mut expected, mut events, mut deliveries) = (Vec::new(), Vec::new(), Vec::new());
    for release in [older, newer] {
        let (by_fanout, by_lane) = (EventId::generate(), EventId::generate());
        let task = task_head(&by_lane);
        deliveries.push(task["delivery"]["id"].as_str().expect("an id").to_owned());
        for (exchange, key, head) in
            [(ACCEPTED_EXCHANGE, "", release(event_head(&by_fanout))), (LANES_EXCHANGE, "live", release(task))]
        {
            let bytes = bundle::encode(&[Member::new(&head, br#"{"n":1}"#.as_slice().into()).expect("a head")]);
            let properties =
                BasicProperties::default().with_delivery_mode(2).with_content_type(bundle::CONTENT_TYPE.into());
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let published = channel.basic_publish(exchange.into(), key.into(), options, &bytes, properties).await;
            let confirm = published.expect("published").await.expect("a confirm");
            assert!(confirm.is_ack() && confirm.take_message().is_none(), "{exchange} takes it");
        }
        expected.extend([by_fanout.to_string(), by_lane.to_string()]);
        events.push(by_fanout.to_string());
    }
    let requests = receiver.take(expected.len()).await;
    let mut came: Vec<_> = requests.iter().map(|request| request.header("webhook-id").to_owned()).collect();
    came.sort();
    expected.sort();
    assert_eq!(came, expected);
    for id in &events {
        tenant.wait_for_delivery(id, "delivered").await;
    }
    // The deliveries were put into the lane, so their events are not on record.
    for id in &deliveries {
        let url = format!("/v1/deliveries/{id}");
        tenant.wait_for_attempts(id, 1).await;
        tenant.wait_for(&url, |delivery| delivery["status"] == "delivered").await;
    }
    let dead = deployment.operator().get("/v1/dead-letters").await;
    assert_eq!(dead["data"], json!([]), "nothing of it could not be read");
}
