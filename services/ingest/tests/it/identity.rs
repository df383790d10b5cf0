//! An id or idempotency key belongs to one event, over all ingest processes and their restarts.

use std::time::Duration;

use postrider_model::ids::EventId;
use postrider_model::time::UnixMillis;
use postrider_store::claims::{Claim, Claimed};
use postrider_store::record::RecordBatch;
use postrider_testkit::proxy::Proxy;
use postrider_wire::messages::AcceptedEvent;
use postrider_wire::testing;
use serde_json::{Value, json};

use crate::harness::{World, store};

fn duplicate(answer: &Value) -> bool {
    answer["duplicate"] == json!(true)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_that_get_one_key_at_once_one_publishes() {
    let mut world = World::new("ingest_race").await;
    let (one, other) = (world.ingest().await, world.ingest().await);
    for round in 0..25 {
        let key = format!("same-{round}");
        let headers = [("idempotency-key", key.as_str())];
        let (first, second) = (r#"{"type":"a.b","data":{"n":1,"m":[]}}"#, r#"{"data":{"m":[ ],"n":1.0},"type":"a.b"}"#);
        let answers = tokio::join!(one.publish(first, &headers), other.publish(second, &headers));
        let ((first_status, first), (second_status, second)) = answers;
        assert_eq!((first_status.as_u16(), second_status.as_u16()), (202, 202), "{first} {second}");
        assert_eq!(first["id"], second["id"]);
        assert!(duplicate(&first) ^ duplicate(&second), "{first} {second}");
        assert_eq!(world.next_published().await.0.id.as_str(), first["id"]);
    }
    for round in 0..25 {
        let key = format!("other-{round}");
        let headers = [("idempotency-key", key.as_str())];
        let bodies = [r#"{"type":"a.b","data":1}"#, r#"{"type":"a.b","data":2}"#];
        let answers = tokio::join!(one.publish(bodies[0], &headers), other.publish(bodies[1], &headers));
        let mut answers = [answers.0, answers.1];
        answers.sort_by_key(|(status, _)| status.as_u16());
        let [(accepted, event), (refused, problem)] = answers;
        assert_eq!((accepted.as_u16(), refused.as_u16()), (202, 409), "{event} {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("other data;") && detail.contains("retention and 10 days"), "{detail}");
        let (published, data) = world.next_published().await;
        assert_eq!(published.id.as_str(), event["id"]);
        assert!(published.claimed && published.content_hash.is_some());
        assert!(bodies.iter().any(|body| body.as_bytes().ends_with(&[&data[..], b"}"].concat())));
    }
    world.nothing_else_is_published(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_forgets_no_id() {
    let mut world = World::new("ingest_restart").await;
    let body = r#"{"id":"order-1","type":"a.b","data":{"n":1}}"#;
    let (status, answer) = world.ingest().await.publish(body, &[]).await;
    assert!(status == 202 && !duplicate(&answer), "{answer:#}");
    let (first, _) = world.next_published().await;
    assert_eq!(first.id.as_str(), "order-1");
    let after = world.ingest().await;
    let (status, answer) = after.publish(body, &[]).await;
    assert!(status == 202 && duplicate(&answer), "{answer:#}");
    let other = after.publish(r#"{"id":"order-1","type":"a.c","data":{"n":1}}"#, &[]).await;
    assert_eq!(other.0, 409, "{:#}", other.1);
    world.nothing_else_is_published(&after).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_was_made_here_belongs_to_its_event_too() {
    let mut world = World::new("ingest_made").await;
    let ingest = world.ingest().await;
    let (_, answer) = ingest.publish(r#"{"type":"a.b","data":{"v":1}}"#, &[]).await;
    let id = answer["id"].as_str().unwrap().to_owned();
    let (made, data) = world.next_published().await;
    let rows = RecordBatch { events: vec![(made.clone(), data)], ..RecordBatch::default() };
    world.store.record().write(&rows).await.unwrap();

    let publish = async |what: &str| ingest.publish(&format!(r#"{{"id":"{id}",{what}}}"#), &[]).await;
    for _ in 0..2 {
        let (status, problem) = publish(r#""type":"a.c","data":{"v":2}"#).await;
        assert_eq!(status, 409, "{problem:#}");
        assert!(problem["detail"].as_str().unwrap().contains("other type, data;"), "{problem:#}");
    }
    let (status, answer) = publish(r#""type":"a.b","data":{ "v":1.0 }"#).await;
    assert!(status == 202 && duplicate(&answer), "{answer:#}");

    // Expunged content is not equal to any content.
    world.store.expunge_event(made.tenant, &made.id).await.unwrap();
    let after = world.ingest().await;
    let (status, problem) = after.publish(&format!(r#"{{"id":"{id}","type":"a.b","data":{{"v":1}}}}"#), &[]).await;
    assert_eq!(status, 409, "{problem:#}");

    // A producer may choose an id that looks like a generated id, although ingest did not generate it.
    let (status, answer) =
        after.publish(&format!(r#"{{"id":"{}","type":"a.b","data":1}}"#, EventId::generate()), &[]).await;
    assert!(status == 202 && !duplicate(&answer), "{answer:#}");
    assert_eq!(world.next_published().await.0.id.as_str(), answer["id"]);
    world.nothing_else_is_published(&after).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_published_again_unless_the_event_is_known_to_be_safe() {
    let mut world = World::new("ingest_again").await;
    let (one, other) = (world.ingest().await, world.ingest().await);
    let body = |id: &str| format!(r#"{{"id":"{id}","type":"a.b","data":{{"n":1}}}}"#);
    // Only ingest calculates content hashes, so the test uses the hash of another event with the same content.
    one.publish(&body("known"), &[]).await;
    let (known, data) = world.next_published().await;
    let content_hash = known.content_hash.clone().unwrap();

    // Two events whose ingest process died or responded with 503. The recorder stored both events. Fan-out decided only about
    // the second event.
    let accepted_at = UnixMillis(UnixMillis::now().0 - 60_000);
    for id in ["lost", "decided"] {
        let claim =
            Claim { tenant: world.tenant, id: id.parse().unwrap(), content_hash: content_hash.clone(), accepted_at };
        assert_eq!(world.store.claims().claim(&[claim], Duration::ZERO).await.unwrap(), [Claimed::Ours(accepted_at)]);
        let event = AcceptedEvent {
            id: id.parse().unwrap(),
            accepted_at,
            occurred_at: accepted_at,
            event_day: accepted_at.day(),
            ..known.clone()
        };
        let decisions = if id == "decided" { vec![testing::decision(&event, Vec::new(), 1)] } else { Vec::new() };
        let rows = RecordBatch { events: vec![(event, data.clone())], decisions, ..RecordBatch::default() };
        world.store.record().write(&rows).await.unwrap();
    }

    let (status, answer) = one.publish(&body("decided"), &[]).await;
    assert!(status == 202 && duplicate(&answer), "{answer:#}");
    let (status, answer) = one.publish(&body("lost"), &[]).await;
    assert!(status == 202 && !duplicate(&answer), "{answer:#}");
    let (again, _) = world.next_published().await;
    assert_eq!((again.id.as_str(), again.accepted_at, again.occurred_at), ("lost", accepted_at, accepted_at));
    assert_eq!(again.event_day, accepted_at.day());
    let (status, answer) = other.publish(&body("lost"), &[]).await;
    assert!(status == 202 && duplicate(&answer), "{answer:#}");
    world.nothing_else_is_published(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_an_event_is_published_unclaimed() {
    let mut world = World::new("ingest_away").await;
    let (network, database_url) = Proxy::before(world.database_url()).await.unwrap();
    let ingest = world.ingest_over(store(&database_url)).await;
    network.stall();
    let body = r#"{"id":"order-1","type":"a.b","data":1}"#;
    let (status, answer) = ingest.publish(body, &[]).await;
    assert!(status == 202 && !duplicate(&answer), "{answer:#}");
    let (event, _) = world.next_published().await;
    assert!(!event.claimed && event.content_hash.is_some());
    let (status, answer) = ingest.publish(body, &[]).await;
    assert!(status == 202 && duplicate(&answer), "this process had the confirm: {answer:#}");
    world.nothing_else_is_published(&ingest).await;
}
