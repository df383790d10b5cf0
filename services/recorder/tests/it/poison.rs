//! What cannot be written becomes a dead letter alone, and never holds up its neighbours.

use bytes::Bytes;
use postrider_broker::Queue;
use postrider_model::ids::TenantId;
use postrider_store::log::PageRequest;
use postrider_wire::bundle::{self, Member};

use crate::harness::{World, event, member};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_database_refuses_is_found_among_hundreds() {
    let world = World::new("rec_refused").await;
    world
        .sql(&world.scope.database_url, "ALTER TABLE events ADD CONSTRAINT poisoned CHECK (id NOT LIKE 'poison%')")
        .await;
    let mut members: Vec<Member> = (0..300).map(|_| member(&event(TenantId::OPERATOR), b"{}")).collect();
    for (place, id) in [(7, "poison-1"), (8, "poison-2"), (250, "poison-3")] {
        let mut poisoned = event(TenantId::OPERATOR);
        poisoned.id = id.parse().unwrap();
        members[place] = member(&poisoned, b"{\"the\":\"data\"}");
    }
    for bundle in members.chunks(32) {
        world.publish(Queue::EventLog, bundle).await;
    }
    let recorder = world.recorder();
    world.wait_for_rows("events", 297).await;
    world.wait_for_rows("dead_letters", 3).await;
    recorder.stop().await;
    assert_eq!(world.broker.queue_depth(Queue::EventLog.name()).await.unwrap().messages, 0);

    let letters = world.store.list_dead_letters(&PageRequest::default()).await.unwrap().items;
    for letter in &letters {
        assert_eq!(letter.source, "postrider.event-log");
        assert!(
            letter.reason.contains("refused by the database") && letter.reason.contains("poisoned"),
            "{}",
            letter.reason
        );
        let member = bundle::decode(&letter.body).unwrap().remove(0);
        assert_eq!(&member.payload[..], b"{\"the\":\"data\"}", "it can be put back whole");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_and_what_others_put_aside_are_rows_with_their_reasons() {
    let world = World::new("rec_unreadable").await;
    let nonsense = Member { head: Bytes::from_static(b"{}"), payload: Bytes::new() };
    let neighbours = [member(&event(TenantId::OPERATOR), b"{}"), nonsense, member(&event(TenantId::OPERATOR), b"{}")];
    world.publish(Queue::EventLog, &neighbours).await;
    world.singles.dead_letter_raw(Bytes::from_static(b"\0\xff"), "postrider.fanout", "panic: oh no").await.unwrap();
    let recorder = world.recorder();
    world.wait_for_rows("events", 2).await;
    world.wait_for_rows("dead_letters", 2).await;
    recorder.stop().await;
    let mut letters: Vec<(String, String)> = world
        .store
        .list_dead_letters(&PageRequest::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|letter| (letter.source, letter.reason))
        .collect();
    letters.sort();
    assert_eq!(letters[0].0, "postrider.event-log");
    assert!(letters[0].1.contains("missing field"), "{letters:?}");
    assert_eq!(letters[1], ("postrider.fanout".into(), "panic: oh no".into()));
}
