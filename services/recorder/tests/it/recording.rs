//! Tests that messages result in the same rows in every order of arrival, with or without duplicates.

use postrider_broker::Queue;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::TenantId;

use crate::harness::{World, decision, event, member, outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_message_becomes_rows_in_any_order() {
    let world = World::new("rec_rows").await;
    let endpoint = world.endpoint().await;
    let (early, late) = (event(endpoint.tenant), event(endpoint.tenant));
    let recorder = world.recorder();
    // The outcome of `early` arrives before the event and its decision. The outcome of `late` arrives after them.
    world.publish(Queue::Outcomes, &[member(&outcome(&early, endpoint.id, 200), b"fine")]).await;
    world.wait_for_rows("attempts", 1).await;
    let decisions = [&early, &late].map(|event| member(&decision(event, endpoint.version, vec![endpoint.id]), b""));
    world.publish(Queue::Decisions, &decisions).await;
    world.publish(Queue::EventLog, &[member(&early, b"{}"), member(&late, b"{}")]).await;
    world.publish(Queue::Outcomes, &[member(&outcome(&late, endpoint.id, 500), b"busy")]).await;
    world.wait_for_rows("attempts", 2).await;
    world.wait_for_rows("events", 2).await;
    world.wait_for_rows("decisions", 2).await;
    world.wait_for_rows("deliveries", 2).await;

    for (event, status) in [(&early, DeliveryStatus::Delivered), (&late, DeliveryStatus::Failed)] {
        let rows = world.store.history().deliveries_of_event(event.tenant, &event.id, event.event_day).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.status).collect::<Vec<_>>(), [status]);
    }
    recorder.stop().await;
    for queue in [Queue::EventLog, Queue::Decisions, Queue::Outcomes, Queue::DeadLetters] {
        assert_eq!(world.broker.queue_depth(queue.name()).await.unwrap().messages, 0, "{}", queue.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attribute_values_are_written_at_the_latest_when_the_recorder_stops() {
    let world = World::new("rec_attributes").await;
    let endpoint = world.endpoint().await;
    let events: Vec<_> = ["b1", "b2", "b1"]
        .into_iter()
        .map(|bridge| {
            let mut event = event(endpoint.tenant);
            event.attributes.0.insert("bridge".into(), bridge.into());
            event
        })
        .collect();
    let recorder = world.recorder();
    let members: Vec<_> = events.iter().map(|event| member(event, b"{}")).collect();
    world.publish(Queue::EventLog, &members).await;
    world.wait_for_rows("events", 3).await;
    recorder.stop().await;
    let seen =
        world.store.history().attribute_values(endpoint.tenant, "bridge", events[0].event_day, 10).await.unwrap();
    let seen: Vec<_> = seen.iter().map(|seen| (seen.value.as_str(), seen.events)).collect();
    assert_eq!(seen, [("b1", 2), ("b2", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_recorders_and_duplicate_messages_make_each_row_once() {
    let world = World::new("rec_twice").await;
    let endpoint = world.endpoint().await;
    let events: Vec<_> = (0..1_000).map(|_| event(endpoint.tenant)).collect();
    let of = |make: &dyn Fn(&postrider_wire::messages::AcceptedEvent) -> postrider_wire::bundle::Member| {
        events.iter().map(make).collect::<Vec<_>>()
    };
    let kinds = [
        (Queue::EventLog, of(&|event| member(event, b"{}"))),
        (Queue::Decisions, of(&|event| member(&decision(event, endpoint.version, vec![endpoint.id]), b""))),
        (Queue::Outcomes, of(&|event| member(&outcome(event, endpoint.id, 200), b""))),
    ];
    let recorders = [world.recorder(), world.recorder()];
    for round in 0..2 {
        for (queue, members) in &kinds {
            // The second round publishes the members again, in another order and in other bundles. So both recorders write them.
            let mut members = members.clone();
            if round == 1 {
                members.reverse();
            }
            for bundle in members.chunks(if round == 0 { 32 } else { 20 }) {
                world.publish(*queue, bundle).await;
            }
        }
    }
    for table in ["events", "decisions", "deliveries", "attempts"] {
        world.wait_for_rows(table, 1_000).await;
    }
    for recorder in recorders {
        recorder.stop().await;
    }
    for table in ["events", "decisions", "deliveries", "attempts"] {
        assert_eq!(world.count(table).await, 1_000, "{table}");
    }
    assert_eq!(world.count("dead_letters").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_a_day_without_partition_is_skipped() {
    let world = World::new("rec_old_day").await;
    let recorder = world.recorder();
    let (mut old, new) = (event(TenantId::OPERATOR), event(TenantId::OPERATOR));
    old.event_day = old.event_day.plus_days(-400);
    world.publish(Queue::EventLog, &[member(&old, b"{}"), member(&new, b"{}")]).await;
    world.wait_for_rows("events", 1).await;
    recorder.stop().await;
    assert_eq!(world.broker.queue_depth(Queue::EventLog.name()).await.unwrap().messages, 0);
    assert_eq!(world.count("dead_letters").await, 0);
}
