//! Runs of ordered endpoints: attempts one after the other, and the reports to the sequencer.

use bytes::Bytes;
use postrider_broker::{ConsumeOptions, Queue};
use postrider_model::delivery::{DeliveryStatus, EndpointStatus};
use postrider_model::ids::DeliveryId;
use postrider_model::ordering::{OnExhausted, Ordering};
use postrider_store::config::EndpointDraft;
use postrider_testkit::engines::{Rights, Scope};
use postrider_wire::bundle::{self, Member};
use postrider_wire::messages::{DeliveryTask, Run, RunReport, Sequenced, Turn};
use tokio_util::sync::CancellationToken;

use crate::receiver::{Receiver, Reply};
use crate::world::{BODY, PATIENCE, World};

/// Publishes a run of these deliveries.
async fn publish_run(world: &World, run: i64, tasks: &[DeliveryTask]) {
    let deliveries = tasks.iter().map(|task| (task.clone(), Bytes::from_static(BODY)));
    let (head, payload) = Run::new(Turn { key: "k".into(), run }, deliveries);
    world.publish_members(vec![Member::new(&head, payload).unwrap()]).await;
}

/// Returns the next report to the sequencer.
async fn report(world: &World) -> RunReport {
    let stop = CancellationToken::new();
    let options = ConsumeOptions { prefetch: 1, ..ConsumeOptions::default() };
    let mut consumer = world.broker.consume_raw(Queue::Ordered, options, stop.clone());
    let message = tokio::time::timeout(PATIENCE, consumer.recv()).await.expect("no report").expect("the reports end");
    let members = bundle::decode(&message.body).unwrap();
    message.ack();
    stop.cancel();
    consumer.drained().await;
    let [member] = &members[..] else { panic!("{} members", members.len()) };
    match member.head().unwrap() {
        Sequenced::Report(report) => report,
        Sequenced::Enqueued(other) => panic!("{other:?}"),
    }
}

fn ordered(on_exhausted: OnExhausted, retries: Vec<u32>) -> impl FnOnce(&mut EndpointDraft) {
    move |draft| {
        draft.document.ordering = Some(Ordering { key: None, on_exhausted });
        draft.document.retry_schedule_seconds = Some(retries);
    }
}

fn ids(tasks: &[DeliveryTask]) -> Vec<DeliveryId> {
    tasks.iter().map(|task| task.delivery.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_attempted_in_order_and_ends_at_the_first_delivery_that_waits() {
    let mut world = World::new("run", "standard").await;
    // The third request fails once.
    let receiver = Receiver::start(|nth| Reply::Status(if nth == 2 { 500 } else { 200 })).await;
    let endpoint = world.endpoint(&receiver.url(), ordered(OnExhausted::Continue, vec![1])).await;
    let tasks: Vec<_> = (0..5).map(|_| world.task(&endpoint)).collect();
    publish_run(&world, 7, &tasks).await;
    world.dispatch().await;

    let first = report(&world).await;
    assert_eq!((first.run, first.line.key.as_str(), first.line.endpoint), (7, "k", endpoint.id));
    assert_eq!((first.ended, first.waits, first.holds), (ids(&tasks[..2]), Some(tasks[2].delivery.id), None));
    let retried = report(&world).await;
    assert_eq!((retried.run, retried.ended, retried.waits), (7, ids(&tasks[2..3]), None));
    let expected: Vec<_> = [0, 1, 2, 2].map(|nth| tasks[nth].delivery.id.to_string()).into();
    let received: Vec<_> =
        receiver.received().iter().map(|received| received.header("postrider-delivery").to_owned()).collect();
    assert_eq!(received, expected);
    for task in &tasks[..2] {
        assert_eq!(world.report_of(task).await.status, DeliveryStatus::Delivered);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_before_a_pause_ends_without_attempts() {
    let mut world = World::new("run-paused", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    // The ordering was removed before the pause.
    let paused = world.endpoint(&receiver.url(), |draft| draft.status = EndpointStatus::Paused).await;
    let tasks: Vec<_> = (0..3).map(|_| world.task(&paused)).collect();
    publish_run(&world, 1, &tasks).await;
    world.dispatch().await;
    let all = report(&world).await;
    assert_eq!((all.ended, all.waits, all.holds), (ids(&tasks), None, None));
    for task in &tasks {
        let report = world.report_of(task).await;
        assert_eq!((report.status, report.set_aside.is_some()), (DeliveryStatus::Pending, true));
    }
    assert!(receiver.received().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_failed_for_good_holds_its_line_if_the_endpoint_says_so() {
    let mut world = World::new("run-hold", "standard").await;
    let receiver = Receiver::start(|nth| Reply::Status(if nth == 0 { 200 } else { 500 })).await;
    let holding = world.endpoint(&receiver.url(), ordered(OnExhausted::Hold, vec![])).await;
    let tasks: Vec<_> = (0..3).map(|_| world.task(&holding)).collect();
    publish_run(&world, 1, &tasks).await;
    world.dispatch().await;
    let held = report(&world).await;
    assert_eq!((held.ended, held.waits, held.holds), (ids(&tasks[..1]), None, Some(tasks[1].delivery.id)));
    assert_eq!(receiver.received().len(), 2);

    let going_on = world.endpoint(&receiver.url(), ordered(OnExhausted::Continue, vec![])).await;
    let tasks: Vec<_> = (0..3).map(|_| world.task(&going_on)).collect();
    publish_run(&world, 2, &tasks).await;
    let all = report(&world).await;
    assert_eq!((all.ended, all.waits, all.holds), (ids(&tasks), None, None));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_delivery_at_which_a_run_ends_waits_nowhere_before_the_run_is_reported() {
    // The dispatcher may not publish to queues by their names, so that no report reaches the sequencer.
    let scope = Scope::new("run-report-first").await;
    let rights = Rights { configure: ".*", write: r"^postrider\.", read: ".*", routing_keys: ("postrider.none", ".*") };
    let denied = scope.user(&rights).await.unwrap();
    let mut world = World::on_broker("run-report-first", "standard", scope.amqp_url.clone()).await;
    let receiver = Receiver::start(|_| Reply::Status(500)).await;
    let endpoint = world.endpoint(&receiver.url(), ordered(OnExhausted::Continue, vec![5])).await;
    let unordered =
        world.endpoint(&receiver.url(), |draft| draft.document.retry_schedule_seconds = Some(vec![10])).await;
    let (first, other) = (world.task(&endpoint), world.task(&unordered));
    publish_run(&world, 1, std::slice::from_ref(&first)).await;
    world.dispatch_at(denied).await;
    assert_eq!(world.report_of(&first).await.status, DeliveryStatus::Pending);
    world.publish(&[other]).await;
    world.wait_for_depth("postrider.delay.10000", 1).await;
    assert_eq!(world.broker.queue_depth("postrider.delay.5000").await.unwrap().messages, 0);

    // The report cannot be published, so this dispatcher does not finish.
    drop(world);
}
