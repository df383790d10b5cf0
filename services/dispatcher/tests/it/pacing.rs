//! Rate, concurrency and the slow lane, over the real ladder.

use std::collections::HashSet;
use std::time::Duration;

use postrider_model::delivery::{DeliveryStatus, HeldReason};
use postrider_wire::messages::DeliveryTask;

use crate::receiver::{Receiver, Reply};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_and_the_waiting_is_on_record() {
    const RATE: usize = 10;
    let mut world = World::new("rate", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint(&receiver.url(), |draft| draft.document.rate_per_second = Some(RATE as f64)).await;
    world.dispatch().await;
    let tasks: Vec<DeliveryTask> = (0..25).map(|_| world.task(&endpoint)).collect();
    world.publish(&tasks).await;
    let received = receiver.wait_for(tasks.len()).await;
    // One dispatcher: the rate and one; and one more for requests that took longer to arrive than the next.
    let densest = densest_second(&receiver);
    assert!(densest <= RATE + 2, "{densest} within a second");
    let times = || received.iter().map(|received| received.at.0);
    let took = times().max().unwrap() - times().min().unwrap();
    assert!((2_300..5_000).contains(&took), "{took} ms for {} at {RATE}/s", tasks.len());
    let mut held = 0;
    for task in &tasks {
        let report = world.report_of(task).await;
        assert_eq!(report.status, DeliveryStatus::Delivered);
        let attempt = report.attempt.unwrap();
        if attempt.held_ms > 0 {
            held += 1;
            assert_eq!(attempt.held_reason, Some(HeldReason::Rate));
        }
    }
    assert!(held >= tasks.len() - 2, "{held}");
    world.finish().await;
}

/// Most requests that came within any second.
fn densest_second(receiver: &Receiver) -> usize {
    let times: Vec<i64> = receiver.received().iter().map(|received| received.at.0).collect();
    let within = |from: &i64| times.iter().filter(|at| (*from..*from + 1_000).contains(*at)).count();
    times.iter().map(within).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dispatchers_share_a_rate() {
    const RATE: usize = 20;
    let mut world = World::new("shared_rate", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint(&receiver.url(), |draft| draft.document.rate_per_second = Some(RATE as f64)).await;
    world.dispatch().await;
    world.dispatch().await;
    world.wait_for_consumers("postrider.lane.live", 2).await;
    // By now each of them has counted both.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let tasks: Vec<DeliveryTask> = (0..80).map(|_| world.task(&endpoint)).collect();
    for task in &tasks {
        // Each in a message of its own, so that both dispatchers get some.
        world.publish(std::slice::from_ref(task)).await;
    }
    receiver.wait_for(tasks.len()).await;
    let densest = densest_second(&receiver);
    assert!((RATE / 2..=RATE + 4).contains(&densest), "{densest} within a second");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_is_moved_to_the_slow_lane_before_its_posts_and_its_neighbour_does_not_notice() {
    let mut world = World::new("black_hole", "standard").await;
    let healthy = Receiver::start(|_| Reply::Status(200)).await;
    let hole = Receiver::start(|_| Reply::Never).await;
    let to_healthy = world.endpoint(&healthy.url(), |_| {}).await;
    let to_hole = world.endpoint(&hole.url(), |draft| draft.document.timeout_seconds = Some(3)).await;
    world.dispatch().await;
    let mut slowest = 0;
    let mut in_hole = HashSet::new();
    for _ in 0..40 {
        let bad: Vec<DeliveryTask> = (0..5).map(|_| world.task(&to_hole)).collect();
        let good: Vec<DeliveryTask> = (0..5).map(|_| world.task(&to_healthy)).collect();
        in_hole.extend(bad.iter().map(|task| task.delivery.id));
        let mixed: Vec<DeliveryTask> = bad.into_iter().zip(good.clone()).flat_map(|(bad, good)| [bad, good]).collect();
        world.publish(&mixed).await;
        for task in &good {
            let report = world.report_of(task).await;
            assert_eq!(report.status, DeliveryStatus::Delivered);
            let started = report.attempt.unwrap().started_at;
            slowest = slowest.max(started.0 - task.delivery.created_at.0);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(slowest < 1_000, "a healthy delivery waited {slowest} ms");
    // Two at once at first, then one at a time: a handful within the few seconds that this took.
    let posts = hole.received().len();
    assert!((1..=6).contains(&posts), "{posts}");
    world.wait_for_depth("postrider.lane.live", 0).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_to_one_fast_endpoint_is_delivered_once_each() {
    let mut world = World::new("burst", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint(&receiver.url(), |_| {}).await;
    world.dispatch().await;
    let tasks: Vec<DeliveryTask> = (0..1_000).map(|_| world.task(&endpoint)).collect();
    for chunk in tasks.chunks(100) {
        world.publish(chunk).await;
    }
    for task in &tasks {
        assert_eq!(world.report_of(task).await.status, DeliveryStatus::Delivered);
    }
    let ids: HashSet<String> = receiver.received().iter().map(|r| r.header("webhook-id").to_owned()).collect();
    assert_eq!((ids.len(), receiver.received().len()), (1_000, 1_000));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_recovers_gets_what_waited() {
    let mut world = World::new("recovers", "standard").await;
    let receiver = Receiver::start(|n| if n < 3 { Reply::Never } else { Reply::Status(200) }).await;
    let endpoint = world
        .endpoint(&receiver.url(), |draft| {
            draft.document.timeout_seconds = Some(1);
            draft.document.retry_schedule_seconds = Some(vec![1, 1, 1, 1]);
        })
        .await;
    world.dispatch().await;
    let tasks: Vec<DeliveryTask> = (0..5).map(|_| world.task(&endpoint)).collect();
    world.publish(&tasks).await;
    for task in &tasks {
        let id = task.delivery.id;
        let (report, _) = world.report(|r| r.delivery.id == id && r.status.is_terminal()).await;
        assert_eq!(report.status, DeliveryStatus::Delivered);
    }
    world.finish().await;
}
