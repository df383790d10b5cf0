//! Tests that lost messages are published again, and that late messages are not.

use std::time::Duration;

use postrider_broker::{ConsumeOptions, Queue};
use postrider_model::delivery::Lane;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_recorder::ReconcileConfig;
use postrider_wire::bundle;
use postrider_wire::messages::{AcceptedEvent, DeliveryTask};
use tokio_util::sync::CancellationToken;

use crate::harness::{PATIENCE, World, decision, event, member, outcome};

/// Settings with frequent scans, in which an attempt counts as lost after a second.
fn impatient() -> ReconcileConfig {
    let after = ReconcileConfig::default().attempted_after(Duration::from_secs(1));
    ReconcileConfig { every: Duration::from_millis(100), quiet_for: Duration::from_millis(500), ..after }
}

/// Consumes the next `count` members of a queue and returns their heads.
async fn take<T: serde::de::DeserializeOwned>(world: &World, queue: Queue, count: usize) -> Vec<T> {
    let stop = CancellationToken::new();
    let mut consumer = world.broker.consume_raw(queue, ConsumeOptions::default(), stop.clone());
    let mut heads = Vec::new();
    while heads.len() < count {
        let message = tokio::time::timeout(PATIENCE, consumer.recv()).await.unwrap().unwrap();
        heads.extend(bundle::decode(&message.body).unwrap().iter().map(|member| member.head().unwrap()));
        message.ack();
    }
    stop.cancel();
    consumer.drained().await;
    heads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_removed_from_queues_are_published_again_in_a_new_epoch() {
    let world = World::new("rec_reconcile").await;
    let endpoint = world.endpoint().await;
    let (undecided, decided) = (event(endpoint.tenant), event(endpoint.tenant));
    world.publish(Queue::EventLog, &[member(&undecided, b"{\"n\":1}"), member(&decided, b"{\"n\":2}")]).await;
    world.publish(Queue::Decisions, &[member(&decision(&decided, endpoint.version, vec![endpoint.id]), b"")]).await;
    // The queue of fan-out and the lanes contain no messages, as if the messages had been lost.
    let recorder = world.reconciling_recorder(impatient());
    let events: Vec<AcceptedEvent> = take(&world, Queue::Fanout, 1).await;
    assert_eq!((&events[0].id, events[0].epoch), (&undecided.id, 1));
    let tasks: Vec<DeliveryTask> = take(&world, Queue::Lane(Lane::Live), 1).await;
    assert_eq!((&tasks[0].delivery.event, tasks[0].epoch, tasks[0].number), (&decided.id, 1, 1));
    recorder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_long_outage_no_old_message_counts_as_lost() {
    let world = World::new("rec_absent").await;
    // Creates a backlog from a time without a recorder. Every event is old enough to count as lost. Its decision and its
    // outcome wait behind those of hundreds of other events.
    let events: Vec<AcceptedEvent> = (0..2_000)
        .map(|n| {
            let mut event = event(TenantId::OPERATOR);
            event.accepted_at.0 -= 300_000 - n * 100;
            event.event_day = event.accepted_at.day();
            event
        })
        .collect();
    let endpoint = EndpointId::generate();
    for some in events.chunks(20) {
        let logged: Vec<_> = some.iter().map(|event| member(event, b"{}")).collect();
        world.publish(Queue::EventLog, &logged).await;
    }
    for some in events.chunks(20) {
        let decided: Vec<_> = some.iter().map(|event| member(&decision(event, 1, vec![endpoint]), b"")).collect();
        let delivered: Vec<_> = some.iter().map(|event| member(&outcome(event, endpoint, 200), b"")).collect();
        world.publish(Queue::Decisions, &decided).await;
        world.publish(Queue::Outcomes, &delivered).await;
    }
    // `quiet_for` is longer than the pauses of a busy machine.
    let recorder = world.reconciling_recorder(ReconcileConfig { quiet_for: Duration::from_secs(5), ..impatient() });
    world.wait_for_rows("decisions", 2_000).await;
    world.wait_for_rows("attempts", 2_000).await;
    recorder.stop().await;
    let given = world.broker.queue_depth(Queue::Fanout.name()).await.unwrap().messages;
    let again = world.broker.queue_depth(Queue::Lane(Lane::Live).name()).await.unwrap().messages;
    assert_eq!((given, again, world.count("interventions").await), (0, 0, 0));
}
