//! Messages that cannot be processed become dead letters with a reason, do not block the queue, and can be requeued.

use serde_json::{Value, json};

use crate::harness::{Deployment, Message, Producer, Receiver, Tenant};

/// Waits until there are `count` dead letters, and returns them, newest first.
async fn letters(operator: &Tenant, count: usize) -> Vec<Value> {
    let page = operator
        .wait_for("/v1/dead-letters", |page| page["data"].as_array().is_some_and(|data| data.len() >= count))
        .await;
    let letters = page["data"].as_array().unwrap().clone();
    assert_eq!(letters.len(), count, "{page:#}");
    letters
}

/// Guarantee (Publishing): A bad message becomes a dead letter with its reason and can be requeued once.
#[tokio::test]
async fn each_bad_message_becomes_a_dead_letter_with_its_reason() {
    let deployment = Deployment::start("dead-letters").await;
    let (tenant, other) = (deployment.tenant("standard").await, deployment.tenant("standard").await);
    let receiver = Receiver::start().await;
    tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let event = |tenant: &str, id: &str| json!({"tenant": tenant, "id": id, "type": "a.b", "data": {}}).to_string();
    let unknown = "ten_00000000000040008000000000000001";
    let large = json!({"tenant": tenant.id, "id": "large", "type": "a.b", "data": "x".repeat(300_000)}).to_string();
    let key = |what: &str| format!("{}.{what}", tenant.id);
    let with_header =
        |name, value| Message { headers: vec![(name, value)], ..Message::new(key("a.b"), event(&tenant.id, "v")) };
    let bad = [
        ("malformed", Message::new(key("a.b"), "{\"tenant\":"), "not valid JSON"),
        ("foreign", Message::new(key("a.b"), event(&other.id, "foreign")), "the routing key names"),
        ("oversized", Message::new(key("a.b"), large), "an event has at most 262144 bytes"),
        (
            "unknown tenant",
            Message::new(format!("{unknown}.a.b"), event(unknown, "unknown")),
            "there is no tenant \"ten_0000",
        ),
        (
            "wrong key",
            Message::new(key("a.c"), event(&tenant.id, "wrong")),
            "the event's type is a.b, so its routing key is",
        ),
        ("no tenant in the key", Message::new("acme", event(&tenant.id, "none")), "expected <tenant>.<event type>"),
        ("no id", Message::new(key("a.b"), event(&tenant.id, "").replace(r#""id":"","#, "")), "/id: missing"),
        (
            "unknown field",
            Message::new(key("a.b"), event(&tenant.id, "f").replace("data", "date")),
            "unknown field `date`",
        ),
        ("later version", with_header("postrider-version", "2"), "this build reads version 1"),
        ("no mapping", Message::new(key("kumomta"), "{}"), "no mapping of KumoMTA's records"),
        ("huge", Message::new(key("batch"), vec![b' '; 9 * 1024 * 1024]), "a batch has at most 8388608 bytes"),
    ];
    for (_, message, _) in &bad {
        producer.publish(message.clone()).await;
    }
    // Only the bad member of a batch becomes a dead letter.
    let batch = json!({"tenant": tenant.id, "events": [
        {"id": "good-1", "type": "a.b", "data": {}}, {"id": "bad one", "type": "a.b", "data": {}},
    ]});
    producer.publish(Message::new(key("batch"), batch.to_string())).await;
    // The bad messages do not block the queue.
    producer.publish(Message::new(key("a.b"), event(&tenant.id, "good-2"))).await;
    tenant.wait_for_delivery("good-1", "delivered").await;
    tenant.wait_for_delivery("good-2", "delivered").await;

    let letters = letters(deployment.operator(), bad.len() + 1).await;
    for (what, message, reason) in &bad {
        let letter = letters
            .iter()
            .find(|letter| letter["reason"].as_str().is_some_and(|said| said.contains(reason)))
            .unwrap_or_else(|| panic!("{what}: no letter says {reason:?}: {letters:#?}"));
        assert_eq!(letter["source"], "postrider.intake", "{what}");
        assert_eq!(letter["routing_key"], json!(message.routing_key), "{what}");
        assert_eq!(letter["body_bytes"], json!(message.body.len()), "{what}");
    }
    let member =
        letters.iter().find(|letter| letter["reason"].as_str().unwrap().starts_with("event 2 of 2: /id")).unwrap();
    assert!(member["body_excerpt"].as_str().unwrap().contains(r#""events":[{"#), "{member:#}");
    assert!(!member["body_excerpt"].as_str().unwrap().contains("good-1"), "{member:#}");
    // Only the first part of a message over the size limit is kept, so it cannot be requeued.
    let huge = letters.iter().find(|letter| letter["headers"]["x-body-cut"] == "9437184").unwrap();
    let path = format!("/v1/dead-letters/{}/requeue", huge["id"].as_str().unwrap());
    let (status, problem) = deployment.operator().try_post(&path, &json!({})).await;
    assert_eq!(status, 409, "{problem:#}");
}

/// Guarantee: as `dead_letters::each_bad_message_becomes_a_dead_letter_with_its_reason`.
#[tokio::test]
async fn a_dead_letter_goes_back_as_it_came_and_once() {
    let deployment = Deployment::start("requeue").await;
    let operator = deployment.operator();
    let tenant = deployment.tenant("magnetite").await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    // Magnetite requires a member that this event lacks; `standard` does not.
    let body = json!({"tenant": tenant.id, "type": "lead.created", "data": {"z": 1.50, "a": "☃"}}).to_string();
    let message = Message {
        message_id: Some("from-the-broker"),
        content_type: Some("application/json"),
        headers: vec![
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("postrider-version", "1"),
        ],
        ..Message::new(format!("{}.lead.created", tenant.id), body)
    };
    producer.publish(message).await;
    let letter = letters(operator, 1).await.remove(0);
    assert!(letter["reason"].as_str().unwrap().contains("/metadata"), "{letter:#}");
    assert_eq!(
        (&letter["message_id"], &letter["requeued_at"]),
        (&json!("from-the-broker"), &Value::Null),
        "{letter:#}"
    );

    // Requeued too early, it fails again and becomes another letter.
    let requeue = |letter: &Value| format!("/v1/dead-letters/{}/requeue", letter["id"].as_str().unwrap());
    assert_eq!(operator.post(&requeue(&letter), &json!({})).await["id"], letter["id"]);
    let again = letters(operator, 2).await;
    let (old, new) = if again[0]["id"] == letter["id"] { (&again[0], &again[1]) } else { (&again[1], &again[0]) };
    assert!(old["requeued_at"].is_string() && new["requeued_at"].is_null(), "{again:#?}");
    for member in ["reason", "source", "routing_key", "message_id", "headers", "body_bytes", "body_excerpt"] {
        assert_eq!(old[member], new[member], "{member}");
    }
    let (status, problem) = operator.try_post(&requeue(&letter), &json!({})).await;
    assert_eq!(status, 409, "once: {problem:#}");

    operator.patch(&format!("/v1/tenants/{}", tenant.id), &json!({"profile": "standard"})).await;
    let receiver = Receiver::start().await;
    tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
    operator.post(&requeue(new), &json!({})).await;
    let request = receiver.next().await;
    assert_eq!(request.header("webhook-id"), "from-the-broker");
    assert!(request.text().ends_with(r#""data":{"a":"☃","z":1.5}}"#), "{}", request.text());
    assert!(request.header("traceparent").contains("0af7651916cd43dd8448eb211c80319c"));

    let (status, _) = tenant.try_post(&requeue(new), &json!({})).await;
    assert_eq!(status, 403, "operators only");
    assert_eq!(operator.try_post("/v1/dead-letters/999999/requeue", &json!({})).await.0, 404);
}
