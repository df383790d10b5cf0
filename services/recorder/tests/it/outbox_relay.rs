//! Tests that the outbox relay publishes entries that were committed but not published.

use bytes::Bytes;
use postrider_broker::{ConsumeOptions, ProducerMessage, Queue};
use postrider_ledger::manual_retry::retry_delivery;
use postrider_model::delivery::{Lane, Trigger};
use postrider_wire::bundle;
use postrider_wire::messages::DeliveryTask;
use tokio_util::sync::CancellationToken;

use crate::harness::{PATIENCE, World, decision, event, member, outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_whose_api_crashed_after_the_commit_reaches_its_lane_once() {
    let world = World::new("rec_sweep").await;
    let endpoint = world.endpoint().await;
    let event = event(endpoint.tenant);
    let recorder = world.recorder();
    world.publish(Queue::EventLog, &[member(&event, b"{\"n\":1}")]).await;
    world.publish(Queue::Decisions, &[member(&decision(&event, endpoint.version, vec![endpoint.id]), b"")]).await;
    let failed = outcome(&event, endpoint.id, 500);
    world.publish(Queue::Outcomes, &[member(&failed, b"")]).await;
    world.wait_for_rows("attempts", 1).await;
    world.wait_for_rows("events", 1).await;
    world.wait_for_rows("decisions", 1).await;

    // The retry is committed but not published, as if the process had crashed between the two steps.
    let pending =
        retry_delivery(&world.store, None, failed.delivery.id, Lane::Live).await.unwrap().committed().unwrap();

    let stop = CancellationToken::new();
    let mut lane = world.broker.consume_raw(Queue::Lane(Lane::Live), ConsumeOptions::default(), stop.clone());
    let message = tokio::time::timeout(PATIENCE, lane.recv()).await.unwrap().unwrap();
    let swept = bundle::decode(&message.body).unwrap().remove(0);
    message.ack();
    let task: DeliveryTask = swept.head().unwrap();
    assert_eq!((task.delivery.id, task.trigger), (pending.task.delivery.id, Trigger::Manual));
    assert!(swept.payload.ends_with(b"\"data\":{\"n\":1}}"), "{:?}", swept.payload);
    world.wait_for_none("outbox").await;
    // The outbox relay is stopped first, so that it cannot publish another message.
    recorder.stop().await;
    stop.cancel();
    assert!(lane.recv().await.is_none());
    lane.drained().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_whose_api_crashed_after_the_commit_is_requeued_unchanged() {
    let world = World::new("rec_requeue").await;
    let recorder = world.recorder();
    let message = ProducerMessage {
        routing_key: "ten_operator.a.b".into(),
        content_type: Some("application/json".into()),
        message_id: Some("m-1".into()),
        headers: vec![("traceparent".into(), "00-1".into())],
        body: "{ bytes".into(),
    };
    let singles = world.broker.message_publisher();
    singles.dead_letter_message(&message, Queue::Intake, "not JSON").await.unwrap();
    world.wait_for_rows("dead_letters", 1).await;
    let letter = world.dead_letters().await.remove(0);
    assert_eq!((letter.source.as_str(), letter.reason.as_str()), ("postrider.intake", "not JSON"));

    // The requeue is committed and not published, as if the process had crashed.
    assert_eq!(world.store.requeue_dead_letters(&[letter.id]).await.unwrap().len(), 1);
    assert_eq!(world.store.requeue_dead_letters(&[letter.id]).await.unwrap(), [], "once");

    let stop = CancellationToken::new();
    let mut intake = world.broker.consume_raw(Queue::Intake, ConsumeOptions::default(), stop.clone());
    let back = tokio::time::timeout(PATIENCE, intake.recv()).await.unwrap().unwrap();
    assert_eq!(
        (&back.body, &back.headers.original),
        (&message.body, &ProducerMessage { body: Bytes::new(), ..message.clone() })
    );
    back.ack();
    world.wait_for_none("outbox").await;

    // If the message fails again for the same reason, it becomes another dead letter.
    singles.dead_letter_message(&message, Queue::Intake, "not JSON").await.unwrap();
    world.wait_for_rows("dead_letters", 2).await;
    recorder.stop().await;
    stop.cancel();
    assert!(intake.recv().await.is_none());
    intake.drained().await;
}
