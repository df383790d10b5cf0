//! Publishing CloudEvents 1.0, structured and binary, over HTTP and over the exchange.

use serde_json::{Value, json};

use crate::harness::{Deployment, Message, Producer, Receiver};

const TYPE: &str = "com.example.sent";

/// Ingest keeps an id that is a UUID.
const OVER_HTTP: &str = "0190a5b2-c3d4-7e8f-9a0b-1c2d3e4f5061";
const IN_HEADERS: &str = "0190a5b2-c3d4-7e8f-9a0b-1c2d3e4f5062";
const OVER_AMQP: &str = "0190a5b2-c3d4-7e8f-9a0b-1c2d3e4f5063";
const IN_AMQP_HEADERS: &str = "0190a5b2-c3d4-7e8f-9a0b-1c2d3e4f5064";
const IN_OTHER_HEADERS: &str = "0190a5b2-c3d4-7e8f-9a0b-1c2d3e4f5065";

/// Guarantee (Publishing): CloudEvents, structured and binary, over HTTP and RabbitMQ.
#[tokio::test]
async fn cloud_events_in_every_form_become_the_same_delivery() {
    let deployment = Deployment::start("cloudevents").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    tenant
        .endpoint(json!({
            "name": "hook", "url": receiver.url("/"), "event_types": [TYPE], "filters": {"sending_node": ["smtp1"]},
        }))
        .await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let key = format!("{}.{TYPE}", tenant.id);
    let structured = |id: &str| {
        json!({
            "specversion": "1.0", "id": id, "source": "/mail", "type": TYPE, "time": "2026-01-02T03:04:05Z",
            "sendingnode": "smtp1", "region": "eu", "metadata": "{\"a\":1}", "tenant": tenant.id, "data": {"n": 1},
        })
        .to_string()
    };
    let headers = |id: &'static str| {
        [
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", "/mail"),
            ("ce-type", TYPE),
            ("ce-time", "2026-01-02T03:04:05Z"),
            ("ce-sendingnode", "smtp1"),
            ("ce-region", "eu"),
            ("ce-metadata", "{\"a\":1}"),
            ("content-type", "application/json"),
        ]
    };
    let amqp = |prefix: &'static str, id: &'static str| Message {
        content_type: Some("application/json"),
        headers: headers(id)[..8]
            .iter()
            .map(|(name, value)| (&*format!("{prefix}{}", &name[3..]).leak(), *value))
            .collect(),
        ..Message::new(key.clone(), r#"{"n":1}"#)
    };

    let kind = [("content-type", "application/cloudevents+json; charset=utf-8")];
    let (status, answer) = tenant.publish_as(&kind, &structured(OVER_HTTP)).await;
    assert_eq!((status, &answer["id"]), (202, &json!(OVER_HTTP)), "{answer:#}");
    let (status, answer) = tenant.publish_as(&headers(IN_HEADERS), r#"{"n":1}"#).await;
    assert_eq!((status, &answer["id"]), (202, &json!(IN_HEADERS)), "{answer:#}");
    producer
        .publish(Message {
            content_type: Some("application/cloudevents+json"),
            ..Message::new(key.clone(), structured(OVER_AMQP))
        })
        .await;
    producer.publish(amqp("cloudEvents:", IN_AMQP_HEADERS)).await;
    producer.publish(amqp("cloudEvents_", IN_OTHER_HEADERS)).await;

    let expected = r#"{"type":"com.example.sent","timestamp":"2026-01-02T03:04:05.000Z","data":{"n":1}}"#;
    for id in [OVER_HTTP, IN_HEADERS, OVER_AMQP, IN_AMQP_HEADERS, IN_OTHER_HEADERS] {
        tenant.wait_for_delivery(id, "delivered").await;
        let event = tenant.get(&format!("/v1/events/{id}")).await;
        let attributes = json!({"region": "eu", "sending_node": "smtp1", "source": "/mail"});
        assert_eq!(event["attributes"], attributes, "{id}: {event:#}");
        assert_eq!(event["metadata"], json!({"a": 1}), "{id}: {event:#}");
    }
    let bodies = receiver.all();
    assert_eq!(bodies.len(), 5);
    assert!(bodies.iter().all(|request| request.text() == expected));

    // The same CloudEvent again is a duplicate; every other id is hashed with its source.
    let (_, answer) = tenant.publish_as(&kind, &structured(OVER_HTTP)).await;
    assert_eq!(answer["duplicate"], json!(true), "{answer:#}");
    let (_, counted) = tenant.publish_as(&kind, &structured("42")).await;
    assert!(counted["id"].as_str().is_some_and(|id| id.starts_with("evt_")), "{counted:#}");
    let elsewhere = structured("42").replace("/mail", "/mail/2");
    let (status, answer) = tenant.publish_as(&kind, &elsewhere).await;
    assert!(status == 202 && answer["duplicate"].is_null() && answer["id"] != counted["id"], "{answer:#}");
}

/// Guarantee: as `cloudevents::cloud_events_in_every_form_become_the_same_delivery`.
#[tokio::test]
async fn a_bad_cloud_event_is_refused_with_its_place() {
    let deployment = Deployment::start("cloudevents-bad").await;
    let tenant = deployment.tenant("standard").await;
    let kind = [("content-type", "application/cloudevents+json")];
    let refused = async |headers: &[(&str, &str)], body: Value, status: u16, pointer: &str| {
        let (answered, problem) = tenant.publish_as(headers, &body.to_string()).await;
        assert_eq!(answered, status, "{problem:#}");
        if !pointer.is_empty() {
            assert_eq!(problem["errors"][0]["pointer"], json!(pointer), "{problem:#}");
        }
    };
    let event = json!({"specversion": "1.0", "id": "1", "source": "/", "type": "a", "data": {}});
    let with = |member: &str, value: Value| {
        let mut event = event.clone();
        event[member] = value;
        event
    };
    refused(&kind, with("specversion", json!("0.3")), 422, "/specversion").await;
    refused(&kind, with("time", json!("noon")), 422, "/time").await;
    refused(&kind, with("tenant", json!("ten_operator")), 404, "/tenant").await;
    refused(&kind, with("metadata", json!("[1]")), 422, "/metadata").await;
    refused(&[("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-type", "a")], json!({}), 422, "ce-source").await;
    refused(&[("content-type", "application/cloudevents-batch+json")], json!([event]), 415, "").await;
    let keyed = [("content-type", "application/cloudevents+json"), ("idempotency-key", "k")];
    refused(&keyed, event.clone(), 400, "").await;
}
