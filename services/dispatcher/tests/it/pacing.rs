//! Tests of rate, concurrency and the slow lane, with the real ladder.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use postrider_model::delivery::{DeliveryStatus, HeldReason};
use postrider_wire::messages::DeliveryTask;

use crate::receiver::{Receiver, Reply};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_and_the_wait_is_recorded() {
    const RATE: usize = 5;
    const TASKS: usize = 15;
    let mut world = World::new("rate", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint(&receiver.url(), |draft| draft.document.rate_per_second = Some(RATE as f64)).await;
    world.dispatch().await;
    let tasks: Vec<DeliveryTask> = (0..TASKS).map(|_| world.task(&endpoint)).collect();
    let published = Instant::now();
    world.publish(&tasks).await;
    receiver.wait_for(TASKS).await;
    check_rate(published, TASKS, RATE);
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
    assert!(held > 0, "no attempt was held for the rate");
    world.finish().await;
}

/// Checks that the deliveries did not arrive faster than the rate allows. On a slow machine they may arrive later.
fn check_rate(published: Instant, tasks: usize, per_second: usize) {
    let took = published.elapsed();
    assert!(took >= Duration::from_secs_f64(0.8 * tasks as f64 / per_second as f64), "{tasks} took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dispatchers_share_a_rate() {
    const RATE: usize = 20;
    let mut world = World::new("shared_rate", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint(&receiver.url(), |draft| draft.document.rate_per_second = Some(RATE as f64)).await;
    // In this test, a dispatcher counts the other dispatchers only when it starts. The first dispatcher found no others, so it
    // is replaced.
    world.count_dispatchers_every = Duration::from_secs(3_600);
    let alone = world.dispatch().await;
    world.wait_for_consumers("postrider.lane.live", 1).await;
    world.dispatch().await;
    world.wait_for_consumers("postrider.lane.live", 2).await;
    alone.cancel();
    world.wait_for_consumers("postrider.lane.live", 1).await;
    world.dispatch().await;
    world.wait_for_consumers("postrider.lane.live", 2).await;
    let tasks: Vec<DeliveryTask> = (0..80).map(|_| world.task(&endpoint)).collect();
    let published = Instant::now();
    for task in &tasks {
        // Each delivery has a separate message, so that both dispatchers receive deliveries.
        world.publish(std::slice::from_ref(task)).await;
    }
    receiver.wait_for(tasks.len()).await;
    check_rate(published, tasks.len(), RATE);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_is_moved_to_the_slow_lane_and_its_neighbour_is_served() {
    const TIMEOUT_SECONDS: u32 = 3;
    let mut world = World::new("black_hole", "standard").await;
    let healthy = Receiver::start(|_| Reply::Status(200)).await;
    let hole = Receiver::start(|_| Reply::Never).await;
    let to_healthy = world.endpoint(&healthy.url(), |_| {}).await;
    let to_hole = world.endpoint(&hole.url(), |draft| draft.document.timeout_seconds = Some(TIMEOUT_SECONDS)).await;
    world.dispatch().await;
    let started = Instant::now();
    let mut in_hole = HashSet::new();
    for _ in 0..40 {
        let bad: Vec<DeliveryTask> = (0..5).map(|_| world.task(&to_hole)).collect();
        let good: Vec<DeliveryTask> = (0..5).map(|_| world.task(&to_healthy)).collect();
        in_hole.extend(bad.iter().map(|task| task.delivery.id));
        let mixed: Vec<DeliveryTask> = bad.into_iter().zip(good.clone()).flat_map(|(bad, good)| [bad, good]).collect();
        world.publish(&mixed).await;
        for task in &good {
            assert_eq!(world.report_of(task).await.status, DeliveryStatus::Delivered);
        }
    }
    // Two POSTs start immediately, and later POSTs start one at a time. Each POST occupies its whole timeout.
    let posts = hole.wait_for(1).await.len() as u64;
    let most = 3 + started.elapsed().as_secs() / u64::from(TIMEOUT_SECONDS);
    assert!(posts <= most, "{posts} posts of {} deliveries, expected {most} at most", in_hole.len());
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
async fn a_recovered_endpoint_receives_the_waiting_deliveries() {
    let mut world = World::new("recovers", "standard").await;
    let receiver = Receiver::start(|n| if n < 3 { Reply::Never } else { Reply::Status(200) }).await;
    let endpoint = world
        .endpoint(&receiver.url(), |draft| {
            draft.document.timeout_seconds = Some(2);
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
