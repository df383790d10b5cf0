//! The delay ladder with a real broker: no delivery is early, and dead-lettering is at-least-once.

use std::time::{Duration, Instant};

use futures::future::join_all;
use postrider_broker::{ConsumeOptions, Destination, Queue, ladder};
use postrider_model::delivery::Lane;
use postrider_wire::bundle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, Vhost, eventually, member, number, take_bundles};

#[tokio::test(flavor = "multi_thread")]
async fn a_rung_returns_a_delivery_to_its_lane_and_never_early() {
    let vhost = Vhost::new("rung").await;
    let broker = vhost.broker().await;
    let delays = broker.delay_publisher();
    let stop = CancellationToken::new();
    let mut lane = broker.consume_raw(Queue::Lane(Lane::Slow), ConsumeOptions::default(), stop.clone());
    for (n, delay) in [Duration::from_millis(250), Duration::from_secs(1)].into_iter().enumerate() {
        let rung = ladder::rung_at_least(delay);
        let published = Instant::now();
        delays.publish(Destination::Rung { rung, lane: Lane::Slow }, member(n as u64)).await.unwrap();
        let message = timeout(PATIENCE, lane.recv()).await.expect("the delivery returns").unwrap();
        // The broker measures the delay from the receipt of the message, in whole milliseconds.
        assert!(published.elapsed() >= delay, "returned after {:?}", published.elapsed());
        assert_eq!(number(&bundle::decode(&message.body).unwrap()[0]), n as u64);
        message.ack();
    }
    stop.cancel();
    lane.drained().await;
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_deliveries_to_a_rung_share_messages_and_arrive_once() {
    let vhost = Vhost::new("company").await;
    let broker = vhost.broker().await;
    let delays = broker.delay_publisher();
    let rung = ladder::rung_at_least(Duration::from_secs(1));
    let (slow, bulk) = (Destination::Rung { rung, lane: Lane::Slow }, Destination::Rung { rung, lane: Lane::Bulk });
    let publishes = (0..100).map(|n| delays.publish(if n % 4 == 0 { bulk } else { slow }, member(n)));
    join_all(publishes).await.into_iter().for_each(|result| result.unwrap());
    for (lane, expected) in [(Lane::Slow, 75), (Lane::Bulk, 25)] {
        let bundles = take_bundles(&broker, Queue::Lane(lane), expected).await;
        assert!(bundles.len() <= expected / 8, "{bundles:?}");
        let mut members = bundles.concat();
        members.sort_unstable();
        assert!(members.iter().copied().eq((0..100).filter(|n| (n % 4 == 0) == (lane == Lane::Bulk))), "{members:?}");
    }
    vhost.finish().await;
}

/// Deliveries to an endpoint that does not answer are published in this way: one by one, each to the slow lane after a delay.
#[tokio::test(flavor = "multi_thread")]
async fn single_deliveries_to_the_slow_lane_share_messages_too() {
    let vhost = Vhost::new("trickle").await;
    let broker = vhost.broker().await;
    let delays = broker.delay_publisher();
    let rung = ladder::rung_at_least(Duration::from_secs(1));
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let mut publishes = Vec::new();
    let started = Instant::now();
    for n in 0..32 {
        ticks.tick().await;
        let delays = delays.clone();
        let to = Destination::Rung { rung, lane: Lane::Slow };
        publishes.push(tokio::spawn(async move { delays.publish(to, member(n)).await }));
    }
    join_all(publishes).await.into_iter().for_each(|result| result.unwrap().unwrap());
    // Members gather for 100 ms before a message is sent, which limits the number of messages, also on a slow machine.
    let messages_max = 1 + started.elapsed().as_millis() / 100;
    let bundles = take_bundles(&broker, Queue::Lane(Lane::Slow), 32).await;
    assert!(bundles.len() as u128 <= messages_max, "more than {messages_max}: {bundles:?}");
    let mut members = bundles.concat();
    members.sort_unstable();
    assert!(members.iter().copied().eq(0..32), "{members:?}");
    vhost.finish().await;
}

/// At-most-once dead-lettering would lose the message. The broker uses it without an error if at-least-once is impossible.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_expires_while_its_lane_is_missing_waits_for_the_lane() {
    let vhost = Vhost::new("canary").await;
    let broker = vhost.broker().await;
    let delays = broker.delay_publisher();
    let rung = ladder::rung_at_least(Duration::from_secs(1));
    delays.publish(Destination::Rung { rung, lane: Lane::Bulk }, member(1)).await.unwrap();
    vhost.delete(&format!("queues/{}/postrider.lane.bulk", vhost.name)).await;
    // A rung returns messages in order: once the later message is in its lane, the earlier one has expired, too.
    delays.publish(Destination::Rung { rung, lane: Lane::Slow }, member(2)).await.unwrap();
    assert_eq!(take_bundles(&broker, Queue::Lane(Lane::Slow), 1).await, [[2]]);
    // The new connection declares the lane again.
    let other = vhost.broker().await;
    assert_eq!(take_bundles(&other, Queue::Lane(Lane::Bulk), 1).await, [[1]]);
    eventually("the rung to be empty", async || {
        broker.queue_depth(&postrider_broker::topology::rung_queue(rung)).await.is_ok_and(|depth| depth.messages == 0)
    })
    .await;
    vhost.finish().await;
}
