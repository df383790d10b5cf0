//! Batched endpoints: what travels together, and how the members of a batch end.

use std::time::Duration;

use bytes::Bytes;
use postrider_model::batch::{Batch, BatchPlace};
use postrider_model::delivery::{DeliveryStatus, EndpointStatus};
use postrider_model::time::UnixMillis;
use postrider_store::config::EndpointDraft;
use postrider_wire::messages::{DeliveryTask, OutcomeReport};
use serde_json::Value;

use crate::receiver::{Received, Receiver, Reply};
use crate::world::World;

const MINUTE: u32 = 60_000;

/// A batched endpoint with these retries.
fn batched(events_max: u32, wait_ms_max: u32, retries: Vec<u32>) -> impl FnOnce(&mut EndpointDraft) {
    move |draft| {
        draft.document.batch = Some(Batch { events_max, wait_ms_max, ..Batch::default() });
        draft.document.retry_schedule_seconds = Some(retries);
    }
}

/// The ids of the events in a request, in order.
fn events(received: &Received) -> Vec<String> {
    let body: Value = serde_json::from_slice(&received.body).expect("JSON");
    let items = body.as_array().expect("an array");
    assert!(items.iter().all(|item| item["body"]["type"] == "lead.created"), "{body:#}");
    items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

fn ids(tasks: &[DeliveryTask]) -> Vec<String> {
    sorted(tasks.iter().map(|task| task.delivery.event.to_string()).collect())
}

fn place(report: &OutcomeReport) -> BatchPlace {
    report.attempt.as_ref().and_then(|attempt| attempt.batch).expect("a batch")
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_travel_together_and_each_has_its_report() {
    let mut world = World::new("batch", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint(&receiver.url(), batched(3, 500, vec![])).await;
    let tasks: Vec<_> = (0..5).map(|_| world.task(&endpoint)).collect();
    world.publish(&tasks).await;
    world.dispatch().await;
    let received = receiver.wait_for(2).await;
    // The first batch is full, the second leaves after its wait.
    assert_eq!(received.iter().map(|request| events(request).len()).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(sorted(received.iter().flat_map(events).collect()), ids(&tasks));
    for task in &tasks {
        let report = world.report_of(task).await;
        assert_eq!(report.status, DeliveryStatus::Delivered);
        let BatchPlace { id, position, size } = place(&report);
        let request = received.iter().find(|request| request.header("webhook-id") == id.to_string()).expect("a batch");
        assert_eq!(events(request)[usize::from(position) - 1], task.delivery.event.to_string());
        assert_eq!(request.header("postrider-batch-size"), size.to_string());
        assert!(!request.headers.contains_key("postrider-attempt"));
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_413_halves_a_batch_down_to_a_single_event_and_uses_up_no_retry() {
    let mut world = World::new("batch-413", "standard").await;
    let is_single = |body: &Bytes| serde_json::from_slice::<Vec<Value>>(body).expect("an array").len() == 1;
    let receiver = Receiver::reading(move |_, body| Reply::Status(if is_single(body) { 200 } else { 413 })).await;
    let endpoint = world.endpoint(&receiver.url(), batched(8, 300, vec![3_600])).await;
    let tasks: Vec<_> = (0..8).map(|_| world.task(&endpoint)).collect();
    world.publish(&tasks).await;
    world.dispatch().await;
    for task in &tasks {
        let mut sizes = Vec::new();
        let last = loop {
            let report = world.report_of(task).await;
            sizes.push(place(&report).size);
            let number = report.attempt.as_ref().unwrap().number;
            assert_eq!(usize::from(number), sizes.len());
            if report.status != DeliveryStatus::Pending {
                break report;
            }
            assert_eq!(report.next_attempt_at, Some(report.at), "at once");
        };
        assert_eq!(last.status, DeliveryStatus::Delivered);
        assert!(sizes[0] == 8 && sizes.len() <= 4 && sizes.windows(2).all(|pair| pair[1] <= pair[0] / 2), "{sizes:?}");
        assert_eq!((place(&last).position, place(&last).size), (1, 1), "a single event still has the form of a batch");
    }
    let delivered = receiver.received().iter().map(events).filter(|ids| ids.len() == 1).flatten().collect();
    assert_eq!(sorted(delivered), ids(&tasks));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_413_for_a_single_event_is_a_failure_as_any_other() {
    let mut world = World::new("batch-413-one", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(413)).await;
    let endpoint = world.endpoint(&receiver.url(), batched(8, 10, vec![])).await;
    let task = world.task(&endpoint);
    world.publish(std::slice::from_ref(&task)).await;
    world.dispatch().await;
    assert_eq!(world.report_of(&task).await.status, DeliveryStatus::Failed);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_retries_all_members_together() {
    let mut world = World::new("batch-timeout", "standard").await;
    let receiver = Receiver::start(|nth| if nth == 0 { Reply::Never } else { Reply::Status(200) }).await;
    let edit = batched(4, 1_000, vec![1]);
    let endpoint = world
        .endpoint(&receiver.url(), |draft| {
            edit(draft);
            draft.document.timeout_seconds = Some(1);
        })
        .await;
    let tasks: Vec<_> = (0..4).map(|_| world.task(&endpoint)).collect();
    world.publish(&tasks).await;
    world.dispatch().await;
    let received = receiver.wait_for(2).await;
    assert_eq!((sorted(events(&received[0])), sorted(events(&received[1]))), (ids(&tasks), ids(&tasks)));
    assert_ne!(received[0].header("webhook-id"), received[1].header("webhook-id"), "each batch has its own id");
    for task in &tasks {
        let (first, second) = (world.report_of(task).await, world.report_of(task).await);
        assert_eq!((first.status, second.status), (DeliveryStatus::Pending, DeliveryStatus::Delivered));
        assert_eq!(second.attempt.unwrap().number, 2);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_counts_requests_and_what_waits_for_it_travels_together() {
    let mut world = World::new("batch-rate", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let edit = batched(10, 50, vec![]);
    let endpoint = world
        .endpoint(&receiver.url(), |draft| {
            edit(draft);
            draft.document.rate_per_second = Some(2.0);
        })
        .await;
    let tasks: Vec<_> = (0..50).map(|_| world.task(&endpoint)).collect();
    world.publish(&tasks).await;
    world.dispatch().await;
    for task in &tasks {
        assert_eq!(world.report_of(task).await.status, DeliveryStatus::Delivered);
    }
    let received = receiver.received();
    assert_eq!(sorted(received.iter().flat_map(events).collect()), ids(&tasks));
    assert!(received.len() <= 15, "{} requests for 50 events", received.len());
    let gaps: Vec<_> = received.windows(2).map(|pair| pair[0].at.until(pair[1].at)).collect();
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(400)), "{gaps:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_gathers_delays_no_neighbour() {
    let mut world = World::new("batch-neighbour", "standard").await;
    let (gathering, prompt) =
        (Receiver::start(|_| Reply::Status(200)).await, Receiver::start(|_| Reply::Status(200)).await);
    let waits = world.endpoint(&gathering.url(), batched(1_000, MINUTE, vec![])).await;
    let small = world.endpoint(&prompt.url(), batched(2, MINUTE, vec![])).await;
    let plain = world.endpoint(&prompt.url(), |_| ()).await;
    world.dispatch().await;
    // One message each; the lane has room for 500.
    for _ in 0..400 {
        world.publish(&[world.task(&waits)]).await;
    }
    let tasks = [world.task(&plain), world.task(&small), world.task(&small)];
    world.publish(&tasks).await;
    let started = UnixMillis::now();
    prompt.wait_for(2).await;
    assert!(started.until(UnixMillis::now()) < Duration::from_secs(20), "far from the minute");
    assert!(gathering.received().is_empty(), "it still gathers");
    // A stop completes the batch.
    world.finish_dispatchers().await;
    assert_eq!(gathering.received().iter().map(|request| events(request).len()).sum::<usize>(), 400);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_paused_while_it_gathers_gets_nothing() {
    let mut world = World::new("batch-paused", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint(&receiver.url(), batched(1_000, 3_000, vec![])).await;
    let tasks: Vec<_> = (0..3).map(|_| world.task(&endpoint)).collect();
    world.publish(&tasks).await;
    world.dispatch().await;
    let pause = |draft: &mut EndpointDraft| {
        draft.status = EndpointStatus::Paused;
        Ok(())
    };
    world.store.config().edit_endpoint::<()>(None, endpoint.id, None, pause).await.unwrap();
    for task in &tasks {
        let report = world.report_of(task).await;
        assert_eq!((report.status, report.set_aside.is_some()), (DeliveryStatus::Pending, true));
    }
    assert!(receiver.received().is_empty());
    world.finish().await;
}
