//! Tests that a message that cannot be written becomes a dead letter, and that the rest of its batch is written.

use bytes::Bytes;
use postrider_broker::{ProducerMessage, Queue};
use postrider_model::ids::TenantId;
use postrider_model::limits::DEAD_LETTERS_PER_TENANT_AND_DAY_MAX;
use postrider_testkit::engines::{Rights, Scope};
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

    let letters = world.dead_letters().await;
    for letter in &letters {
        assert_eq!(letter.source, "postrider.event-log");
        assert!(
            letter.reason.contains("refused by the database") && letter.reason.contains("poisoned"),
            "{}",
            letter.reason
        );
        let member = bundle::decode(&letter.excerpt).unwrap().remove(0);
        assert_eq!(&member.payload[..], b"{\"the\":\"data\"}", "the letter has the whole message");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_messages_and_dead_letters_become_rows_with_their_reasons() {
    let world = World::new("rec_unreadable").await;
    let nonsense = Member { head: Bytes::from_static(b"{}"), payload: Bytes::new() };
    let neighbours = [member(&event(TenantId::OPERATOR), b"{}"), nonsense, member(&event(TenantId::OPERATOR), b"{}")];
    world.publish(Queue::EventLog, &neighbours).await;
    world.singles.dead_letter_bytes(Bytes::from_static(b"\0\xff"), "postrider.fanout", "panic: oh no").await.unwrap();
    let recorder = world.recorder();
    world.wait_for_rows("events", 2).await;
    world.wait_for_rows("dead_letters", 2).await;
    recorder.stop().await;
    let mut letters: Vec<(String, String)> =
        world.dead_letters().await.into_iter().map(|letter| (letter.source, letter.reason)).collect();
    letters.sort();
    assert_eq!(letters[0].0, "postrider.event-log");
    assert!(letters[0].1.contains("missing field"), "{letters:?}");
    assert_eq!(letters[1], ("postrider.fanout".into(), "panic: oh no".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_of_a_producers_dead_letter_is_the_intake() {
    let world = World::new("rec_forged").await;
    let tenant = TenantId::generate();
    let keys = format!(r"^{tenant}\.");
    let rights = Rights {
        configure: "^$",
        write: r"^postrider\.events$",
        read: "^$",
        routing_keys: ("postrider.events", &keys),
    };
    let producer = world.scope.user(&rights).await.unwrap();
    let bundle = bundle::encode(&[member(&event(TenantId::OPERATOR), b"{}")]);
    let forged = [
        ("x-source", "postrider.fanout"),
        ("x-reason", "panic: index out of bounds"),
        ("x-death", "not a table"),
        ("x-first-death-queue", "postrider.fanout"),
        ("x-first-death-reason", "delivery_limit"),
    ];
    // Nothing consumes the intake in this test, so the message expires and becomes a dead letter.
    Scope::publish_expiring(&producer, &format!("{tenant}.a.b"), &forged, &bundle).await.unwrap();
    world.singles.dead_letter_bytes(Bytes::from_static(b"ours"), "postrider.fanout", "panic: oh no").await.unwrap();
    let recorder = world.recorder();
    world.wait_for_rows("dead_letters", 2).await;

    let letters = world.dead_letters().await;
    let of = |excerpt: &[u8]| letters.iter().find(|letter| letter.excerpt == excerpt).unwrap().clone();
    let (theirs, ours) = (of(&bundle), of(b"ours"));
    assert_eq!((ours.source.as_str(), ours.reason.as_str()), ("postrider.fanout", "panic: oh no"));
    assert_eq!(theirs.source, "postrider.intake");
    assert!(theirs.reason.contains("unverified"), "{}", theirs.reason);
    assert!(theirs.headers.contains(&("x-source".into(), "postrider.fanout".into())), "{:?}", theirs.headers);

    // The outbox relay publishes the requeued letter to the intake, not to fan-out.
    world.store.requeue_dead_letters(&[theirs.id]).await.unwrap();
    world.wait_for_none("outbox").await;
    recorder.stop().await;
    let depth = async |queue: Queue| world.broker.queue_depth(queue.name()).await.unwrap().messages;
    assert_eq!((depth(Queue::Intake).await, depth(Queue::Fanout).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_over_a_tenants_daily_limit_are_only_counted() {
    let world = World::new("rec_flood").await;
    let (flooding, other) = (TenantId::generate(), TenantId::generate());
    let most = u64::from(DEAD_LETTERS_PER_TENANT_AND_DAY_MAX);
    let letter = |tenant: TenantId, n: u64| ProducerMessage {
        routing_key: format!("{tenant}.a.b"),
        message_id: Some(n.to_string()),
        ..ProducerMessage::default()
    };
    let put = async |message: ProducerMessage| {
        world.singles.dead_letter_message(&message, Queue::Intake, "not JSON").await.unwrap();
    };
    futures::future::join_all((0..most + 7).map(|n| put(letter(flooding, n)))).await;
    put(letter(other, 0)).await;
    let recorder = world.recorder();
    world.wait_for_rows("dead_letters", most + 1).await;
    let waiting = async || world.broker.queue_depth(Queue::DeadLetters.name()).await.unwrap().messages;
    while waiting().await > 0 {
        tokio::task::yield_now().await;
    }
    recorder.stop().await;
    assert_eq!(world.count("dead_letters").await, most + 1);
    let not_kept = world.store.history().dead_letters_not_kept().await.unwrap();
    let [counted] = &not_kept[..] else { panic!("{not_kept:?}") };
    assert_eq!((counted.producer.as_str(), counted.kept, counted.not_kept), (flooding.to_string().as_str(), most, 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_with_the_id_of_another_event_becomes_a_whole_dead_letter() {
    let world = World::new("rec_other").await;
    let named = |hash: Option<&str>, sequence| {
        let mut named = event(TenantId::OPERATOR);
        (named.id, named.sequence) = ("order-1".parse().unwrap(), sequence);
        (named.content_hash, named.claimed) = (hash.map(str::to_owned), true);
        named
    };
    let (first, other) = (named(Some("c1.a"), 1), named(Some("c1.b"), 3));
    world.publish(Queue::EventLog, &[member(&first, b"{}"), member(&named(Some("c1.a"), 2), b"{}")]).await;
    let recorder = world.recorder();
    world.wait_for_rows("events", 1).await;
    world
        .publish(Queue::EventLog, &[member(&other, b"{\"other\":1}"), member(&event(TenantId::OPERATOR), b"{}")])
        .await;
    world.wait_for_rows("dead_letters", 1).await;
    recorder.stop().await;
    assert_eq!(world.count("events").await, 2, "the other event is written");
    let letter = world.dead_letters().await.remove(0);
    assert_eq!(letter.source, "postrider.event-log");
    assert!(letter.reason.contains("order-1 of ten_operator belongs to an event"), "{}", letter.reason);
    let member = bundle::decode(&letter.excerpt).unwrap().remove(0);
    assert_eq!(&member.payload[..], b"{\"other\":1}");
}
