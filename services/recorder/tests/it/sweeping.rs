//! What was committed and never published is published by the sweeper.

use std::time::Duration;

use postrider_broker::{ConsumeOptions, Queue};
use postrider_model::delivery::{Lane, Trigger};
use postrider_wire::bundle;
use postrider_wire::messages::DeliveryTask;
use tokio_util::sync::CancellationToken;

use crate::harness::{World, decision, event, member, outcome};

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

    // Committed, and then nothing: as if the process had died.
    let pending = world.store.retry_delivery(None, failed.delivery.id, Lane::Live).await.unwrap();

    let stop = CancellationToken::new();
    let mut lane = world.broker.consume_raw(Queue::Lane(Lane::Live), ConsumeOptions::default(), stop.clone());
    let message = tokio::time::timeout(Duration::from_secs(20), lane.recv()).await.unwrap().unwrap();
    let swept = bundle::decode(&message.body).unwrap().remove(0);
    message.ack();
    let task: DeliveryTask = swept.head().unwrap();
    assert_eq!((task.delivery.id, task.trigger), (pending.task.delivery.id, Trigger::Manual));
    assert!(swept.payload.ends_with(b"\"data\":{\"n\":1}}"), "{:?}", swept.payload);
    world.wait_for_none("outbox").await;
    // Stopping the sweeper first makes sure that nothing else comes.
    recorder.stop().await;
    stop.cancel();
    assert!(lane.recv().await.is_none());
    lane.drained().await;
}
