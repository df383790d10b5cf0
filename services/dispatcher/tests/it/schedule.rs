//! Tests first attempts that wait for the `deliver_at` of their event, and attempts that an expiry prevents.

use std::time::Duration;

use postrider_ledger::manual_retry::retry_delivery;
use postrider_model::delivery::{DeliveryStatus, DiscardReason, Lane};
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use postrider_wire::messages::{Decision, DeliveryTask};
use postrider_wire::testing;

use crate::receiver::{Receiver, Reply};
use crate::world::{World, event_of};

/// Creates a delivery that is due after `wait`.
fn scheduled(world: &World, endpoint: &postrider_store::config::Endpoint, wait: Duration) -> DeliveryTask {
    let task = world.task(endpoint);
    DeliveryTask { due_at: Some(UnixMillis::now().plus(wait)), lane: Lane::Bulk, ..task }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_attempt_waits_for_its_time_and_returns_through_its_own_lane() {
    let mut world = World::new("scheduled", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint(&receiver.url(), |_| {}).await;
    world.dispatch().await;
    let task = scheduled(&world, &endpoint, Duration::from_secs(3));
    world.publish(std::slice::from_ref(&task)).await;
    world.wait_for_depth("postrider.delay.3000", 1).await;
    assert!(receiver.received().is_empty());
    let report = world.report_of(&task).await;
    let attempt = report.attempt.unwrap();
    assert_eq!((report.status, attempt.number), (DeliveryStatus::Delivered, 1));
    assert!(attempt.started_at >= task.due_at.unwrap(), "{attempt:?}");
    assert!(attempt.late_ms.is_some(), "{attempt:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_retry_of_a_scheduled_delivery_attempts_it_now_and_once() {
    let mut world = World::new("scheduled_now", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint(&receiver.url(), |_| {}).await;
    let task = scheduled(&world, &endpoint, Duration::from_secs(5));
    // The expiry has passed, which a person's order ignores.
    let task = DeliveryTask { expires_at: UnixMillis(task.delivery.created_at.0 - 1), ..task };
    let (event, due) = (event_of(&task), task.due_at);
    let decision = testing::decision(&event, vec![endpoint.id], task.config_version);
    let decision = Decision { deliver_at: due, expires_at: task.expires_at, ..decision };
    let events = vec![(event, "{}".into())];
    let batch = RecordBatch { events, decisions: vec![decision], ..RecordBatch::default() };
    world.store.record().create_partitions(task.delivery.event_day).await.unwrap();
    world.store.record().write(&batch).await.unwrap();
    let now = retry_delivery(&world.store, None, task.delivery.id, Lane::Live).await.unwrap().committed().unwrap().task;
    assert_eq!((now.delivery.id, now.due_at, now.epoch), (task.delivery.id, None, 1));
    world.dispatch().await;
    world.publish(&[task.clone(), now.clone()]).await;
    let report = world.report_of(&task).await;
    assert_eq!((report.status, report.epoch), (DeliveryStatus::Delivered, 1));
    world.wait_for_depth("postrider.lane.live", 0).await;
    world.finish_dispatchers().await;
    assert_eq!(receiver.received().len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_would_be_due_after_the_expiry_ends_the_delivery_at_once() {
    let mut world = World::new("expires_first", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(500)).await;
    let schedule = Some(vec![600]);
    let endpoint = world.endpoint(&receiver.url(), |draft| draft.document.retry_schedule_seconds = schedule).await;
    world.dispatch().await;
    let task = DeliveryTask { expires_at: UnixMillis::now().plus(Duration::from_secs(300)), ..world.task(&endpoint) };
    world.publish(std::slice::from_ref(&task)).await;
    let report = world.report_of(&task).await;
    assert_eq!((report.status, report.discard_reason), (DeliveryStatus::Discarded, Some(DiscardReason::Expired)));
    assert_eq!(report.attempt.unwrap().status_code, Some(500));
    assert_eq!(report.next_attempt_at, None);
    world.finish().await;
}
