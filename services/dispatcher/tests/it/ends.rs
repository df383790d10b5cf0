//! Tests deliveries that end without an attempt, and deliveries that wait for the database.

use postrider_ledger::manual_retry::retry_delivery;
use postrider_model::delivery::{DeliveryStatus, DiscardReason, EndpointStatus, Lane};
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use postrider_wire::messages::{Decision, DeliveryTask, OutcomeReport};
use postrider_wire::testing;

use crate::receiver::{Receiver, Reply};
use crate::world::{World, event_of};

fn assert_discarded(report: &OutcomeReport, reason: DiscardReason) {
    assert_eq!((report.status, report.discard_reason), (DeliveryStatus::Discarded, Some(reason)));
    assert_eq!(report.attempt, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undeliverable_delivery_is_discarded_with_its_reason() {
    let mut world = World::new("discarded", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let active = world.endpoint(&receiver.url(), |_| {}).await;
    let inactive = world.endpoint(&receiver.url(), |draft| draft.status = EndpointStatus::Inactive).await;
    let deleted = world.endpoint(&receiver.url(), |_| {}).await;
    world.store.config().delete_endpoint(None, deleted.id, None).await.unwrap();
    world.dispatch().await;
    let expired = DeliveryTask { expires_at: UnixMillis::now(), ..world.task(&active) };
    let (to_inactive, to_deleted) = (world.task(&inactive), world.task(&deleted));
    world.publish(&[expired.clone(), to_inactive.clone(), to_deleted.clone()]).await;
    assert_discarded(&world.report_of(&expired).await, DiscardReason::Expired);
    assert_discarded(&world.report_of(&to_inactive).await, DiscardReason::EndpointInactive);
    assert_discarded(&world.report_of(&to_deleted).await, DiscardReason::EndpointDeleted);
    assert!(receiver.received().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_to_a_paused_endpoint_is_set_aside_without_an_attempt() {
    let mut world = World::new("set_aside", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let paused = world.endpoint(&receiver.url(), |draft| draft.status = EndpointStatus::Paused).await;
    world.dispatch().await;
    let (first, retry) = (world.task(&paused), DeliveryTask { number: 3, epoch: 2, ..world.task(&paused) });
    world.publish(&[first.clone(), retry.clone()]).await;
    for (task, number) in [(first, 1), (retry, 3)] {
        let report = world.report_of(&task).await;
        assert_eq!((report.status, report.epoch, report.attempt), (DeliveryStatus::Pending, task.epoch, None));
        let set_aside = report.set_aside.expect("set aside");
        assert_eq!(set_aside.number, number);
        assert!(set_aside.bytes > 0 && report.next_attempt_at.is_some());
    }
    world.wait_for_depth("postrider.lane.live", 0).await;
    assert!(receiver.received().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_applies_to_later_messages_at_once_and_soon_to_all() {
    let mut world = World::new("edited", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint("http://127.0.0.1:1/closed", |_| {}).await;
    world.dispatch().await;
    let before = world.task(&endpoint);
    world.publish(std::slice::from_ref(&before)).await;
    assert_eq!(world.report_of(&before).await.status, DeliveryStatus::Pending);
    let url = receiver.url();
    let edited = world
        .store
        .config()
        .edit_endpoint::<()>(None, endpoint.id, None, |draft| {
            draft.document.url = Some(url.clone());
            Ok(())
        })
        .await
        .unwrap();
    let after = world.task(&edited);
    world.publish(std::slice::from_ref(&after)).await;
    assert_eq!(world.report_of(&after).await.status, DeliveryStatus::Delivered);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_cached_endpoints_work_and_others_wait() {
    let mut world = World::new("database_away", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let known = world.endpoint(&receiver.url(), |_| {}).await;
    let unknown = world.endpoint(&receiver.url(), |_| {}).await;
    world.dispatch().await;
    let first = world.task(&known);
    world.publish(std::slice::from_ref(&first)).await;
    assert_eq!(world.report_of(&first).await.status, DeliveryStatus::Delivered);

    world.database_away(true).await;
    // This delivery needs a newer configuration version than the cached one.
    let second = world.task_for(known.id, known.version + 100);
    let waiting = world.task(&unknown);
    world.publish(&[waiting.clone(), second.clone()]).await;
    assert_eq!(world.report_of(&second).await.status, DeliveryStatus::Delivered);
    world.wait_for_depth("postrider.delay.5000", 1).await;
    world.database_away(false).await;
    let report = world.report_of(&waiting).await;
    assert_eq!((report.status, report.attempt.unwrap().number), (DeliveryStatus::Delivered, 1));
    assert_eq!(receiver.received().len(), 3);
    world.finish().await;
}

/// Records the event and the decision of a first delivery, as the recorder does.
async fn record(world: &World, task: &DeliveryTask) {
    let delivery = &task.delivery;
    let event = event_of(task);
    let decision = Decision {
        // This time is old enough that the delivery's first attempt does not count as in flight.
        decided_at: UnixMillis(delivery.created_at.0 - 600_000),
        ..testing::decision(&event, vec![delivery.endpoint], task.config_version)
    };
    let events = vec![(event, "{}".into())];
    let batch = RecordBatch { events, decisions: vec![decision], ..RecordBatch::default() };
    world.store.record().create_partitions(delivery.event_day).await.unwrap();
    world.store.record().write(&batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_copy_is_dropped_without_a_report() {
    let mut world = World::new("superseded", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint(&receiver.url(), |_| {}).await;
    let old = world.task(&endpoint);
    record(&world, &old).await;
    let new = retry_delivery(&world.store, None, old.delivery.id, Lane::Live).await.unwrap().committed().unwrap().task;
    assert_eq!((new.delivery.id, new.epoch), (old.delivery.id, 1));
    world.dispatch().await;
    world.publish(&[old.clone(), new.clone()]).await;
    let report = world.report_of(&old).await;
    assert_eq!((report.status, report.epoch), (DeliveryStatus::Delivered, 1));
    world.wait_for_depth("postrider.lane.live", 0).await;
    world.finish_dispatchers().await;
    assert_eq!(receiver.received().len(), 1);
    world.finish().await;
}
