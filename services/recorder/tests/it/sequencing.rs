//! The sequencer of ordered endpoints.

use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{ConsumeOptions, Queue};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, Lane};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::limits::IN_LINES_BYTES_PER_TENANT_MAX;
use postrider_model::time::UnixMillis;
use postrider_recorder::ReconcileConfig;
use postrider_store::lines::LineChanges;
use postrider_wire::bundle;
use postrider_wire::messages::{DeliveryTask, Enqueued, Line, Run, RunReport, Sequenced};
use postrider_wire::testing;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::{PATIENCE, World, event, member};

fn new(key: &str, task: DeliveryTask) -> Sequenced {
    Sequenced::Enqueued(Enqueued { key: key.into(), generation: 0, task: Box::new(task) })
}

/// Returns the next `count` runs of the live lane.
async fn runs(world: &World, count: usize) -> Vec<Run> {
    let stop = CancellationToken::new();
    let mut lane = world.broker.consume_raw(Queue::Lane(Lane::Live), ConsumeOptions::default(), stop.clone());
    let mut runs = Vec::new();
    while runs.len() < count {
        let message = tokio::time::timeout(PATIENCE, lane.recv()).await.expect("no run").expect("the lane ends");
        runs.extend(bundle::decode(&message.body).unwrap().iter().map(|member| member.head::<Run>().unwrap()));
        message.ack();
    }
    stop.cancel();
    lane.drained().await;
    runs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_the_database_refuses_becomes_a_dead_letter_and_stops_no_other() {
    let world = World::new("rec_lines_refused").await;
    let endpoint = EndpointId::generate();
    // PostgreSQL refuses U+0000 in a text.
    let members = ["one", "\0", "two"]
        .map(|key| member(&new(key, testing::first_task(&event(TenantId::OPERATOR), endpoint)), b"{}"));
    world.publish(Queue::Ordered, &members).await;
    let recorder = world.recorder();
    let mut keys: Vec<_> = runs(&world, 2).await.into_iter().map(|run| run.turn.key).collect();
    keys.sort();
    assert_eq!(keys, ["one", "two"]);
    world.wait_for_rows("dead_letters", 1).await;
    recorder.stop().await;
    let letter = world.dead_letters().await.remove(0);
    assert_eq!(letter.source, "postrider.ordered");
    assert!(letter.reason.contains("refused by the database"), "{}", letter.reason);
    assert_eq!(world.broker.queue_depth(Queue::Ordered.name()).await.unwrap().messages, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expired_in_a_held_line_ends_as_expired() {
    let world = World::new("rec_lines_expired").await;
    let endpoint = world.endpoint().await;
    let expires_at = UnixMillis(UnixMillis::now().0 - 3_600_000);
    let task = || DeliveryTask { expires_at, ..testing::first_task(&event(endpoint.tenant), endpoint.id) };
    let (failed, waiting) = (task(), task());
    world.publish(Queue::Ordered, &[&failed, &waiting].map(|task| member(&new("k", task.clone()), b"{}"))).await;
    let reconcile = ReconcileConfig::default().attempted_after(Duration::from_millis(200));
    let recorder = world.reconciling_recorder(reconcile);
    let run = runs(&world, 1).await.remove(0).turn.run;
    let holds = RunReport {
        line: Line { endpoint: endpoint.id, key: "k".into() },
        run,
        ended: Vec::new(),
        waits: None,
        holds: Some(failed.delivery.id),
    };
    world.publish(Queue::Ordered, &[member(&Sequenced::Report(holds), b"")]).await;
    let started = std::time::Instant::now();
    let row = loop {
        let row = world.store.history().get_delivery(None, waiting.delivery.id).await.unwrap();
        match row.filter(|row| row.status != DeliveryStatus::Pending) {
            Some(row) => break row,
            None => assert!(started.elapsed() < PATIENCE, "it does not end"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    recorder.stop().await;
    assert_eq!((row.status, row.discard_reason), (DeliveryStatus::Discarded, Some(DiscardReason::Expired)));
    assert_eq!(world.store.lines().held_lines(None, endpoint.id, 10).await.unwrap()[0].waiting, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_of_a_delivery_in_a_line_is_not_discarded_when_the_lines_are_full() {
    let world = World::new("rec_lines_full").await;
    let endpoint = world.endpoint().await;
    let task = || testing::first_task(&event(endpoint.tenant), endpoint.id);
    let (known, probe) = (task(), task());
    let enqueued = Enqueued { key: "k".into(), generation: 0, task: Box::new(known.clone()) };
    let there = LineChanges { enqueued: vec![(enqueued, Bytes::new())], ..LineChanges::default() };
    world.store.lines().advance(Uuid::nil(), &there).await.unwrap();
    let fill = format!(
        "INSERT INTO ordered_deliveries (endpoint, key, delivery, tenant, task, body)
         SELECT '{}', 'full', gen_random_uuid(), '{}', '{{}}', convert_to(repeat('x', 1048576), 'UTF8')
         FROM generate_series(1, {})",
        endpoint.id.0,
        endpoint.tenant.0,
        IN_LINES_BYTES_PER_TENANT_MAX / 1_048_576
    );
    world.sql(&world.scope.database_url, &fill).await;
    let recorder = world.recorder();
    // The first deliveries may come before the first count.
    let status = async |task: &DeliveryTask| {
        let row = world.store.history().get_delivery(None, task.delivery.id).await.unwrap();
        row.and_then(|row| row.discard_reason)
    };
    let started = std::time::Instant::now();
    loop {
        let one = task();
        world.publish(Queue::Ordered, &[member(&new("new", one.clone()), b"")]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        if status(&one).await == Some(DiscardReason::LinesFull) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "the lines are not full");
    }
    world.publish(Queue::Ordered, &[&known, &probe].map(|task| member(&new("k", task.clone()), b""))).await;
    while status(&probe).await != Some(DiscardReason::LinesFull) {
        assert!(started.elapsed() < PATIENCE, "the probe is not discarded");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status(&known).await, None);
    recorder.stop().await;
}
