//! The public exchange, its queue, and dead letters of its messages.

use bytes::Bytes;
use postrider_broker::{ConsumeOptions, Poison, ProducerMessage, Queue, Unsettled};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, Vhost, eventually};

fn message(key: &str, body: &'static str) -> ProducerMessage {
    ProducerMessage {
        routing_key: key.into(),
        content_type: Some("application/json".into()),
        message_id: Some("m-1".into()),
        headers: vec![("a".into(), "1".into()), ("b".into(), "two".into())],
        body: Bytes::from_static(body.as_bytes()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_lettered_message_is_requeued_unchanged() {
    let vhost = Vhost::new("public").await;
    let broker = vhost.broker().await;
    let (seen, mut received) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let consuming = tokio::spawn({
        let (broker, stop) = (broker.clone(), stop.clone());
        let handler = move |message: ProducerMessage| {
            let seen = seen.clone();
            async move {
                let body = message.body.clone();
                seen.send(message).unwrap();
                match &body[..] {
                    b"poison" => Err(Unsettled::Poison(Poison::new("it is poison"))),
                    b"panic" => panic!("oh no"),
                    _ => Ok(()),
                }
            }
        };
        async move { broker.consume_producer_messages(Queue::Intake, ConsumeOptions::default(), handler, stop).await }
    });
    let singles = broker.message_publisher();
    let mut dead = broker.consume_raw(Queue::DeadLetters, ConsumeOptions::default(), stop.clone());
    for (body, reason) in [("poison", "it is poison"), ("panic", "panic: oh no")] {
        let sent = message("ten_operator.a.b", body);
        singles.requeue(Queue::Intake, &sent).await.unwrap();
        let taken = tokio::time::timeout(PATIENCE, received.recv()).await.unwrap().unwrap();
        assert_eq!(taken, sent);
        let letter = tokio::time::timeout(PATIENCE, dead.recv()).await.unwrap().unwrap();
        assert_eq!(letter.headers.reason.as_deref(), Some(reason));
        assert_eq!(letter.headers.source.as_deref(), Some("postrider.intake"));
        assert!(letter.headers.by_our_user);
        let original = &letter.headers.original;
        assert_eq!((&original.routing_key, &original.message_id), (&sent.routing_key, &sent.message_id));
        assert_eq!((&letter.body, original.header("b")), (&sent.body, Some("two")));
        letter.ack();
    }
    // Dead letters do not block the queue.
    singles.requeue(Queue::Intake, &message("ten_operator.a.b", "good")).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, received.recv()).await.unwrap().unwrap().body, "good");
    stop.cancel();
    consuming.await.unwrap();
    assert!(dead.recv().await.is_none());
    dead.drained().await;
    let depth = broker.queue_depth(Queue::Intake.name()).await.unwrap();
    assert_eq!(depth.messages, 0);
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_dead_letter_keeps_the_beginning_of_its_message() {
    let vhost = Vhost::new("cut").await;
    let broker = vhost.broker().await;
    let large = ProducerMessage { body: vec![b'x'; 256 * 1024 + 1].into(), ..message("k", "") };
    broker.message_publisher().dead_letter_message(&large, Queue::Intake, "too large").await.unwrap();
    let stop = CancellationToken::new();
    let mut dead = broker.consume_raw(Queue::DeadLetters, ConsumeOptions::default(), stop.clone());
    let letter = tokio::time::timeout(PATIENCE, dead.recv()).await.unwrap().unwrap();
    assert_eq!((letter.body.len(), letter.headers.original.header("x-body-cut")), (64 * 1024, Some("262145")));
    letter.ack();
    stop.cancel();
    dead.drained().await;
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_intake_accepts_any_key_and_has_its_limits_and_dead_lettering() {
    let vhost = Vhost::new("intake").await;
    let broker = vhost.broker().await;
    vhost.publish_raw("postrider.events", "any.key.at.all", "x").await;
    eventually("the message in the queue", async || {
        broker.queue_depth(Queue::Intake.name()).await.is_ok_and(|depth| depth.messages == 1)
    })
    .await;
    let queue = vhost.get(&format!("queues/{}/postrider.intake", vhost.name)).await;
    let arguments = &queue["arguments"];
    for (name, value) in [
        ("x-queue-type", json!("quorum")),
        ("x-overflow", json!("reject-publish")),
        ("x-dead-letter-strategy", json!("at-least-once")),
        ("x-max-length", json!(200_000)),
        ("x-max-length-bytes", json!(1_073_741_824)),
    ] {
        assert_eq!(arguments[name], value, "{name}: {queue:#}");
    }
    tokio::time::timeout(PATIENCE, vhost.finish()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_publishes_without_a_user_id_that_the_broker_rejects() {
    let vhost = Vhost::new("user-id").await;
    let other = vhost.broker_as("another user").await;
    other.message_publisher().dead_letter_bytes(Bytes::from_static(b"x"), "postrider.fanout", "panic").await.unwrap();
    let broker = vhost.broker().await;
    let stop = CancellationToken::new();
    let mut dead = broker.consume_raw(Queue::DeadLetters, ConsumeOptions::default(), stop.clone());
    let letter = tokio::time::timeout(PATIENCE, dead.recv()).await.unwrap().unwrap();
    assert!(!letter.headers.by_our_user);
    letter.ack();
    stop.cancel();
    dead.drained().await;
    vhost.finish().await;
}
