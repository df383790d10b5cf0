//! Publishing bundles and single messages, also while connections are cut.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use postrider_broker::Resend;
use postrider_broker::{BatchOptions, MessageRoute, PublishError, PublishState, Queue, Route};
use postrider_model::delivery::Lane;
use postrider_model::ids::TenantId;
use postrider_wire::bundle::Member;

use crate::support::{PATIENCE, Vhost, member, take_bundles};

#[tokio::test(flavor = "multi_thread")]
async fn group_commit_confirms_everything_in_order_and_bundles_under_load() {
    let vhost = Vhost::new("commit").await;
    let broker = vhost.broker().await;
    let publisher = broker.batch_publisher(Route::Outcomes, BatchOptions::default());
    let submissions = (0..500).map(|n| publisher.publish(vec![member(2 * n), member(2 * n + 1)]));
    for result in join_all(submissions).await {
        result.unwrap();
    }
    let bundles = take_bundles(&broker, Queue::Outcomes, 1_000).await;
    assert!(bundles.concat().into_iter().eq(0..1_000), "out of order: {bundles:?}");
    assert!(bundles.iter().all(|bundle| bundle.len() <= 32));
    assert!(bundles.len() < 100, "{} bundles for 1,000 members submitted at once", bundles.len());
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_has_at_most_32_members_and_32_kib_or_one_larger_member() {
    let vhost = Vhost::new("split").await;
    let broker = vhost.broker().await;
    let publisher = broker.batch_publisher(Route::Decisions, BatchOptions::default());
    publisher.publish((0..70).map(member).collect()).await.unwrap();
    assert_eq!(sizes(&take_bundles(&broker, Queue::Decisions, 70).await), [32, 32, 6]);
    let sized = |n: u64, bytes: usize| Member { payload: Bytes::from(vec![b'x'; bytes]), ..member(n) };
    publisher.publish(vec![sized(0, 10), sized(1, 40_000), sized(2, 20_000), sized(3, 20_000)]).await.unwrap();
    assert_eq!(sizes(&take_bundles(&broker, Queue::Decisions, 4).await), [1, 1, 1, 1]);
    vhost.finish().await;
}

fn sizes(bundles: &[Vec<u64>]) -> Vec<usize> {
    bundles.iter().map(Vec::len).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_event_reaches_fan_out_and_event_log() {
    let vhost = Vhost::new("accepted").await;
    let broker = vhost.broker().await;
    let publisher =
        broker.batch_publisher(Route::Accepted, BatchOptions { resend: Resend::WhileAwaited, ..Default::default() });
    publisher.publish_within(TenantId::generate(), vec![member(1)], PATIENCE).await.unwrap();
    assert_eq!(take_bundles(&broker, Queue::Fanout, 1).await, [[1]]);
    assert_eq!(take_bundles(&broker, Queue::EventLog, 1).await, [[1]]);
    vhost.finish().await;
}

#[tokio::test]
async fn a_full_queue_is_refused_at_once() {
    // Runs on one thread, so that the publisher's task takes no member before the last call.
    let vhost = Vhost::new("full").await;
    let broker = vhost.broker().await;
    let options = BatchOptions { members_max: 2, resend: Resend::WhileAwaited, ..Default::default() };
    let publisher = broker.batch_publisher(Route::Accepted, options);
    let results =
        join_all((0..3).map(|n| publisher.publish_within(TenantId::generate(), vec![member(n)], PATIENCE))).await;
    assert_eq!(results, [Ok(()), Ok(()), Err(PublishError::Overloaded)]);
    vhost.finish().await;
}

#[tokio::test]
async fn a_tenant_with_half_of_the_room_is_refused_and_others_are_not() {
    // Runs on one thread, so that the publisher's task takes no member before the last call.
    let vhost = Vhost::new("half").await;
    let broker = vhost.broker().await;
    let options = BatchOptions { members_max: 4, resend: Resend::WhileAwaited, ..Default::default() };
    let publisher = broker.batch_publisher(Route::Accepted, options);
    let (flooding, other) = (TenantId::generate(), TenantId::generate());
    let calls = [flooding, flooding, flooding, other].into_iter().zip(0..);
    let results = join_all(calls.map(|(tenant, n)| publisher.publish_within(tenant, vec![member(n)], PATIENCE))).await;
    assert_eq!(results, [Ok(()), Ok(()), Err(PublishError::Overloaded), Ok(())]);
    publisher.publish_within(flooding, vec![member(4)], PATIENCE).await.unwrap();
    vhost.finish().await;
}

#[tokio::test]
async fn a_full_bundle_is_sent_before_the_time_to_gather_is_over() {
    let vhost = Vhost::new("gather").await;
    let broker = vhost.broker().await;
    // The gathering time is longer than any wait in this test.
    let publisher =
        broker.batch_publisher(Route::Decisions, BatchOptions { gather: 10 * PATIENCE, ..Default::default() });
    let publish = |n| {
        let publisher = publisher.clone();
        tokio::spawn(async move { publisher.publish(vec![member(n)]).await })
    };
    let mut published = Vec::new();
    for n in 0..32 {
        published.push(publish(n));
        // Runs on one thread, so that the publisher's task takes each member and gathers before the next member arrives.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    for published in published {
        tokio::time::timeout(PATIENCE, published).await.expect("a full bundle does not wait").unwrap().unwrap();
    }
    assert_eq!(sizes(&take_bundles(&broker, Queue::Decisions, 32).await), [32]);
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_dropped_submission_are_not_sent() {
    let vhost = Vhost::new("left").await;
    let broker = vhost.broker().await;
    let publisher =
        broker.batch_publisher(Route::Outcomes, BatchOptions { resend: Resend::WhileAwaited, ..Default::default() });
    let mut state = broker.publish_state();
    let mut expected = Vec::new();
    // On a slow machine the next connection may be open before the submission is dropped; then the member is sent.
    for number in 1.. {
        vhost.cut("publish").await;
        state.wait_for(|state| *state == PublishState::Down).await.unwrap();
        let left = publisher.publish_within(TenantId::generate(), vec![member(number)], Duration::from_millis(1)).await;
        if left == Err(PublishError::Timeout) {
            break;
        }
        expected.push(number);
    }
    publisher.publish_within(TenantId::generate(), vec![member(0)], PATIENCE).await.unwrap();
    expected.push(0);
    assert_eq!(take_bundles(&broker, Queue::Outcomes, expected.len()).await.concat(), expected);
    assert_eq!(broker.queue_depth(Queue::Outcomes.name()).await.unwrap().messages, 0);
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_broker_queue_is_an_error_without_persistent_resending() {
    let vhost = Vhost::new("nack").await;
    let broker = vhost.broker().await;
    let policy = serde_json::json!({
        "pattern": "postrider.event-log", "definition": { "max-length": 1 }, "apply-to": "queues"
    });
    vhost.put(&format!("policies/{}/small", vhost.name), policy).await;
    let publisher =
        broker.batch_publisher(Route::Accepted, BatchOptions { resend: Resend::WhileAwaited, ..Default::default() });
    // A quorum queue refuses with a delay, because it does not count publishes in flight.
    crate::support::eventually("a refusal", async || {
        publisher.publish_within(TenantId::generate(), vec![member(1)], PATIENCE).await == Err(PublishError::Refused)
    })
    .await;
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_while_publishing_loses_nothing_and_publishing_resumes() {
    let vhost = Vhost::new("cut").await;
    let broker = vhost.broker().await;
    let publisher = broker.batch_publisher(Route::Outcomes, BatchOptions::default());
    let singles = broker.message_publisher();
    // Both publishers publish until the second cut is over, so that publishes are in flight at each cut.
    let last_round = AtomicBool::new(false);
    let bundled = async {
        let mut sent = 0;
        while !last_round.load(Ordering::SeqCst) || sent % 1_000 != 0 {
            let submissions = (sent..sent + 10).map(|n| publisher.publish(vec![member(n)]));
            join_all(submissions).await.into_iter().for_each(|result| result.unwrap());
            sent += 10;
        }
        sent
    };
    let single = async {
        let mut sent = 0;
        while !last_round.load(Ordering::SeqCst) || sent % 1_000 != 0 {
            let publish = async |n| singles.publish(MessageRoute::Lane(Lane::Slow), &[member(n)]).await;
            join_all((sent..sent + 20).map(publish)).await.into_iter().for_each(|result| result.unwrap());
            sent += 20;
        }
        sent
    };
    let cut = async {
        vhost.cut("publish").await;
        broker.publish_state().wait_for(|state| *state == PublishState::Up).await.unwrap();
        vhost.cut("publish").await;
        last_round.store(true, Ordering::SeqCst);
    };
    let (bundled, single, ()) = tokio::join!(bundled, single, cut);
    for (queue, sent) in [(Queue::Outcomes, bundled), (Queue::Lane(Lane::Slow), single)] {
        // Repeated members are allowed. `take_bundles` counts them too, so the test takes more messages until all members have
        // arrived.
        let mut arrived: BTreeSet<u64> =
            take_bundles(&broker, queue, sent as usize).await.concat().into_iter().collect();
        while arrived.len() < sent as usize {
            arrived.extend(take_bundles(&broker, queue, 1).await.concat());
        }
        assert!(arrived.into_iter().eq(0..sent));
    }
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unroutable_message_is_sent_again_after_its_queue_is_declared() {
    let vhost = Vhost::new("unroutable").await;
    let broker = vhost.broker().await;
    let singles = broker.message_publisher();
    singles.publish(MessageRoute::Lane(Lane::Bulk), &[member(0)]).await.unwrap();
    vhost.delete(&format!("queues/{}/postrider.lane.bulk", vhost.name)).await;
    let numbers: Vec<u64> = (1..=50).collect();
    let publishes = numbers.iter().map(|n| {
        let singles = singles.clone();
        async move {
            let lane = if n % 2 == 0 { Lane::Bulk } else { Lane::Live };
            singles.publish(MessageRoute::Lane(lane), &[member(*n)]).await
        }
    });
    join_all(publishes).await.into_iter().for_each(|result| result.unwrap());
    let mut bulk = take_bundles(&broker, Queue::Lane(Lane::Bulk), 25).await.concat();
    bulk.sort_unstable();
    assert_eq!(bulk, (1..=25).map(|n| n * 2).collect::<Vec<u64>>());
    vhost.finish().await;
}
