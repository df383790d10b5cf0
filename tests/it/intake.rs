//! Events from the exchange are accepted, matched and delivered like events over HTTP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use postrider_testkit::engines::Scope;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::harness::{Cluster, Deployment, FaultLine, Message, Producer, Receiver, Urls};

/// Guarantee (Publishing): Publishing over RabbitMQ equals HTTP; permissions keep a producer within its tenant.
#[tokio::test]
async fn an_event_from_the_exchange_is_delivered_as_one_over_http() {
    let deployment = Deployment::start("intake").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    tenant
        .endpoint(json!({
            "name": "hook", "url": receiver.url("/"), "event_types": ["mail.*", "Newsletter Opened"],
            "filters": {"sending_domain": ["example.com"]},
        }))
        .await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let event = |id: &str, event_type: &str| {
        format!(
            r#"{{"tenant":"{}","type":"{event_type}","timestamp":"2026-01-02T03:04:05Z",
                "data":{{ "n": 1.00, "text":"☃" }},"attributes":{{"sending_domain":"example.com"}}{id}}}"#,
            tenant.id
        )
    };
    let key = |what: &str| format!("{}.{what}", tenant.id);

    producer.publish(Message::new(key("mail.sent"), event(r#","id":"e-1""#, "mail.sent"))).await;
    let request = receiver.next().await;
    assert_eq!(request.header("webhook-id"), "e-1");
    let expected = r#"{"type":"mail.sent","timestamp":"2026-01-02T03:04:05.000Z","data":{ "n": 1.00, "text":"☃" }}"#;
    assert_eq!(request.text(), expected);

    // The AMQP message_id is the event's id if the body has none; spaces are `_` in a routing key.
    let named = Message {
        message_id: Some("m-2"),
        content_type: Some("application/json; charset=utf-8"),
        headers: vec![("postrider-version", "1")],
        ..Message::new(key("Newsletter_Opened"), event("", "Newsletter Opened"))
    };
    producer.publish(named.clone()).await;
    assert_eq!(receiver.next().await.header("webhook-id"), "m-2");

    // The same message again is the same event. When the later batch has arrived, a delivery of the repeat would have arrived,
    // too.
    producer.publish(named).await;
    let batch = json!({"tenant": tenant.id, "events": [
        {"id": "b-1", "type": "mail.sent", "data": 1, "attributes": {"sending_domain": "example.com"}},
        {"id": "b-2", "type": "mail.opened", "data": 2, "attributes": {"sending_domain": "example.com"}},
        {"id": "b-3", "type": "mail.opened", "data": 3, "attributes": {"sending_domain": "other.example"}},
    ]});
    producer.publish(Message::new(key("batch"), batch.to_string())).await;
    let ids: BTreeSet<_> =
        [receiver.next().await, receiver.next().await].iter().map(|r| r.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, BTreeSet::from(["b-1".to_owned(), "b-2".to_owned()]));
    tenant.wait_for("/v1/events/b-3", |event| event["type"] == "mail.opened").await;
    tenant.wait_for_delivery("m-2", "delivered").await;
    assert_eq!(receiver.all().len(), 4);
    assert_eq!(deployment.operator().get("/v1/dead-letters").await["data"], json!([]));
}

#[tokio::test]
async fn the_first_message_of_a_tenant_made_a_moment_ago_is_accepted() {
    let deployment = Deployment::start("intake-new").await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let mut expected = Vec::new();
    for n in 0..8 {
        let made = json!({"name": "new", "profile": "standard"});
        let tenant = deployment.operator().post("/v1/tenants", &made).await;
        let tenant = tenant["id"].as_str().unwrap().to_owned();
        let event = json!({"tenant": tenant, "id": format!("first-{n}"), "type": "a", "data": {}});
        producer.publish(Message::new(format!("{tenant}.a"), event.to_string())).await;
        expected.push(format!("first-{n}"));
    }
    let ids = |events: &serde_json::Value| -> BTreeSet<String> {
        events["data"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    let expected = expected.into_iter().collect();
    deployment.operator().wait_for("/v1/events?type=a", |events| ids(events) == expected).await;
    assert_eq!(deployment.operator().get("/v1/dead-letters").await["data"], json!([]));
}

#[tokio::test]
async fn events_over_a_tenants_rate_take_the_bulk_lane_and_are_delivered() {
    let deployment = Deployment::start("intake-rate").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
    let path = format!("/v1/tenants/{}", tenant.id);
    deployment.operator().patch(&path, &json!({"limits": {"events_per_second": 1.0}})).await;
    deployment.configuration_in_force().await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let events: Vec<_> = (0..20).map(|n| json!({"id": format!("e-{n}"), "type": "a", "data": n})).collect();
    let batch = json!({"tenant": tenant.id, "events": events});
    producer.publish(Message::new(format!("{}.batch", tenant.id), batch.to_string())).await;
    for _ in 0..20 {
        receiver.next().await;
    }
    assert_eq!(deployment.operator().get("/v1/dead-letters").await["data"], json!([]));
}

/// Guarantee: as `crash::killing_ingest_loses_nothing_that_was_accepted`.
#[tokio::test(flavor = "multi_thread")]
async fn killing_ingest_loses_nothing_that_the_exchange_confirmed() {
    const PUBLISHERS: usize = 4;
    const PATIENCE: Duration = Duration::from_secs(120);
    let scope = Scope::new("crash-intake").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let (database, connection) = tokio_postgres::connect(&urls.database, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut cluster = Cluster::start(urls).await;
    let tenant = cluster.tenant(&[]).await.id;
    let producer = Arc::new(Producer::connect(&scope.amqp_url).await);
    // Producers continue until both faults are over.
    let (next, enough) = (Arc::new(AtomicI64::new(0)), CancellationToken::new());
    let publishing: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let (producer, tenant) = (Arc::clone(&producer), tenant.clone());
            let (next, enough) = (Arc::clone(&next), enough.clone());
            tokio::spawn(async move {
                while !enough.is_cancelled() {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let event = json!({"tenant": tenant, "id": format!("e-{n}"), "type": "a", "data": n});
                    producer.publish(Message::new(format!("{tenant}.a"), event.to_string())).await;
                }
            })
        })
        .collect();
    let recorded = async |wanted: i64| {
        let started = Instant::now();
        loop {
            let row = database.query_one("SELECT count(DISTINCT id) FROM events", &[]).await.unwrap();
            let count: i64 = row.get(0);
            if count >= wanted {
                return count;
            }
            assert!(started.elapsed() < PATIENCE, "{count} of {wanted} events are on record");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    for _ in 0..2 {
        // Some events have been accepted since the last fault, and more are in flight.
        recorded(recorded(1).await + 200).await;
        cluster.kill9("ingest").await;
        cluster.restart("ingest").await;
    }
    enough.cancel();
    for task in publishing {
        task.await.unwrap();
    }
    let published = next.load(Ordering::Relaxed);
    assert_eq!(recorded(published).await, published);
    let accepted = usize::try_from(published).unwrap();
    FaultLine { fault: "kill -9 of ingest, twice, events from the exchange".into(), accepted, ..FaultLine::default() }
        .emit();
    let letters: i64 = database.query_one("SELECT count(*) FROM dead_letters", &[]).await.unwrap().get(0);
    assert_eq!(letters, 0);
}
