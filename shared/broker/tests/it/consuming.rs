//! Consuming: acks follow the handler, only poisoned members are dead-lettered, and unacked messages are redelivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postrider_broker::{
    BatchOptions, Broker, BundleOutcome, ConsumeOptions, MemberContext, MessageRoute, Poison, Queue, RawMessage, Route,
    Unsettled, catch_panic,
};
use postrider_model::delivery::Lane;
use postrider_wire::bundle::{self, Member};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Ledger, PATIENCE, Vhost, eventually, member, number};

const LIVE: Queue = Queue::Lane(Lane::Live);

/// A consumer that runs in the background. `end` stops and drains it.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn members<H, F>(broker: &Broker, handler: H) -> Self
    where
        H: Fn(Member, MemberContext) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Unsettled>> + Send + 'static,
    {
        let (stop, broker) = (CancellationToken::new(), broker.clone());
        let token = stop.clone();
        let task = tokio::spawn(async move {
            broker.consume_members(LIVE, ConsumeOptions::default(), handler, token).await;
        });
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("did not drain").unwrap();
    }
}

async fn publish(broker: &Broker, numbers: impl Iterator<Item = u64>) {
    let publisher = broker.batch_publisher(Route::Lane(Lane::Live), BatchOptions::default());
    publisher.publish(numbers.map(member).collect()).await.unwrap();
}

async fn next_dead_letter(broker: &Broker) -> RawMessage {
    let stop = CancellationToken::new();
    let mut dead = broker.consume_raw(Queue::DeadLetters, ConsumeOptions { prefetch: 1, ..Default::default() }, stop);
    tokio::time::timeout(PATIENCE, dead.recv()).await.expect("no dead letter").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_acked_after_its_handler_and_a_drain_waits_for_it() {
    let vhost = Vhost::new("ack-last").await;
    let broker = vhost.broker().await;
    publish(&broker, 0..32).await;
    let permits = Arc::new(Semaphore::new(0));
    let started = Arc::new(AtomicUsize::new(0));
    let (permits_in, started_in) = (Arc::clone(&permits), Arc::clone(&started));
    let running = Running::members(&broker, move |_, _| {
        let (permits, started) = (Arc::clone(&permits_in), Arc::clone(&started_in));
        async move {
            started.fetch_add(1, Ordering::SeqCst);
            permits.acquire().await.unwrap().forget();
            Ok(())
        }
    });
    eventually("all handlers to start", async || started.load(Ordering::SeqCst) == 32).await;
    permits.add_permits(31);
    // 31 of 32 handlers are done, so the message is not acked and must be redelivered after its connection is cut.
    eventually("31 handlers to end", async || permits.available_permits() == 0).await;
    vhost.cut("consume").await;
    eventually("the redelivery", async || started.load(Ordering::SeqCst) == 64).await;
    let stopping = tokio::spawn(running.end());
    permits.add_permits(100);
    stopping.await.unwrap();
    assert_eq!(broker.queue_depth(LIVE.name()).await.unwrap().messages, 0);
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_survives_cut_connections_and_loses_nothing() {
    let vhost = Vhost::new("resubscribe").await;
    let broker = vhost.broker().await;
    let ledger = Ledger::default();
    let seen = ledger.clone();
    let running = Running::members(&broker, move |member, _| {
        seen.add(number(&member));
        async { Ok(()) }
    });
    for round in 0..3 {
        publish(&broker, round * 500..(round + 1) * 500).await;
        vhost.cut("consume").await;
    }
    publish(&broker, 1_500..1_600).await;
    ledger.wait_for(0..1_600).await;
    running.end().await;
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_again_and_consumed() {
    let vhost = Vhost::new("deleted").await;
    let broker = vhost.broker().await;
    let ledger = Ledger::default();
    let seen = ledger.clone();
    let running = Running::members(&broker, move |member, _| {
        seen.add(number(&member));
        async { Ok(()) }
    });
    publish(&broker, 0..1).await;
    ledger.wait_for(0..1).await;
    vhost.delete(&format!("queues/{}/{}", vhost.name, LIVE.name())).await;
    publish(&broker, 1..2).await;
    ledger.wait_for(0..2).await;
    running.end().await;
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_poisoned_and_the_panicking_member_are_dead_lettered() {
    let vhost = Vhost::new("poison").await;
    let broker = vhost.broker().await;
    let ledger = Ledger::default();
    let seen = ledger.clone();
    let running = Running::members(&broker, move |member, _| {
        let seen = seen.clone();
        async move {
            match number(&member) {
                7 => Err(Poison::new("the head has no event").into()),
                9 => panic!("nine is not served"),
                n => {
                    seen.add(n);
                    Ok(())
                }
            }
        }
    });
    publish(&broker, 0..32).await;
    ledger.wait_for((0..32).filter(|n| ![7, 9].contains(n))).await;
    let mut dead: Vec<_> = vec![next_dead_letter(&broker).await, next_dead_letter(&broker).await];
    dead.sort_by_key(|message| message.headers.reason.clone());
    assert_eq!(dead[0].headers.reason.as_deref(), Some("panic: nine is not served"));
    assert_eq!(dead[1].headers.reason.as_deref(), Some("the head has no event"));
    assert_eq!(dead[1].headers.source.as_deref(), Some("postrider.lane.live"));
    let members = bundle::decode(&dead[1].body).unwrap();
    assert_eq!(members, [member(7)]);
    assert_eq!(ledger.all().len(), 30);
    running.end().await;
    assert_eq!(broker.queue_depth(LIVE.name()).await.unwrap().messages, 0);
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_bundle_is_dead_lettered_unchanged() {
    let vhost = Vhost::new("garbage").await;
    let broker = vhost.broker().await;
    vhost.publish_raw("postrider.lanes", "live", "not a bundle at all").await;
    let running = Running::members(&broker, |_, _| async { Ok(()) });
    let dead = next_dead_letter(&broker).await;
    assert_eq!((&dead.body[..], dead.headers.reason.as_deref()), (&b"not a bundle at all"[..], Some("not a bundle")));
    running.end().await;
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_failing_member_of_a_redelivered_bundle_is_dead_lettered() {
    let vhost = Vhost::new("explode").await;
    let broker = vhost.broker().await;
    let ledger = Ledger::default();
    let alone = Arc::new(AtomicUsize::new(0));
    let (seen, alone_in) = (ledger.clone(), Arc::clone(&alone));
    // The handler of member 5 always requeues the whole message, as a crash would. The handlers of the other members succeed.
    let running = Running::members(&broker, move |member, context| {
        let (seen, alone) = (seen.clone(), Arc::clone(&alone_in));
        async move {
            if number(&member) == 5 {
                alone.fetch_max(context.delivery_count as usize, Ordering::SeqCst);
                return Err(Unsettled::Requeue("as a crash would".into()));
            }
            seen.add(number(&member));
            Ok(())
        }
    });
    publish(&broker, 0..32).await;
    let dead = next_dead_letter(&broker).await;
    assert_eq!(bundle::decode(&dead.body).unwrap(), [member(5)]);
    assert_eq!(dead.headers.reason.as_deref(), Some("seen 30 times without being settled"));
    ledger.wait_for((0..32).filter(|n| *n != 5)).await;
    // Each other member was handled three times: twice in the bundle, then once as a single message.
    assert_eq!(ledger.all().len(), 31 * 3);
    // Member 5 was last handled with a delivery count of 29. At 30 it became a dead letter.
    assert_eq!(alone.load(Ordering::SeqCst), 29);
    running.end().await;
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_handler_names_poisoned_members_and_a_panic_splits_the_bundle() {
    let vhost = Vhost::new("bundles").await;
    let broker = vhost.broker().await;
    let ledger = Ledger::default();
    let seen = ledger.clone();
    let (stop, consuming) = (CancellationToken::new(), broker.clone());
    let token = stop.clone();
    let task = tokio::spawn(async move {
        let handler = move |members: Vec<Member>, _| {
            let seen = seen.clone();
            async move {
                assert!(!members.iter().any(|member| number(member) == 40), "forty is not served");
                let work = members.iter().enumerate().filter_map(|(place, member)| {
                    let work = catch_panic(|| {
                        assert_ne!(number(member), 3, "three is not served");
                        seen.add(number(member));
                    });
                    work.err().map(|poison| (place, poison))
                });
                BundleOutcome::Settled { poisoned: work.collect() }
            }
        };
        consuming.consume_bundles(LIVE, ConsumeOptions::default(), handler, token).await;
    });
    publish(&broker, 0..32).await;
    publish(&broker, 32..50).await;
    ledger.wait_for((0..50).filter(|n| ![3, 40].contains(n))).await;
    let mut culprits = Vec::new();
    for _ in 0..2 {
        let dead = next_dead_letter(&broker).await;
        culprits.push(number(&bundle::decode(&dead.body).unwrap()[0]));
        dead.ack();
    }
    culprits.sort_unstable();
    assert_eq!(culprits, [3, 40]);
    stop.cancel();
    task.await.unwrap();
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsettled_raw_message_is_redelivered_and_an_acked_one_is_not() {
    let vhost = Vhost::new("raw").await;
    let broker = vhost.broker().await;
    let singles = broker.message_publisher();
    for n in 0..3 {
        singles.publish(MessageRoute::Queue(Queue::Outcomes.name()), &[member(n)]).await.unwrap();
    }
    let stop = CancellationToken::new();
    let mut raw = broker.consume_raw(Queue::Outcomes, ConsumeOptions::default(), stop.clone());
    let first = raw.recv().await.unwrap();
    drop(raw.recv().await.unwrap());
    raw.recv().await.unwrap().ack();
    let again = raw.recv().await.unwrap();
    assert!(again.redelivered);
    assert_eq!(again.delivery_count, 1);
    again.ack();
    stop.cancel();
    assert!(raw.recv().await.is_none());
    first.ack();
    raw.drained().await;
    assert_eq!(broker.queue_depth(Queue::Outcomes.name()).await.unwrap().messages, 0);
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_members_in_flight_stay_within_the_budget() {
    let vhost = Vhost::new("budget").await;
    let broker = vhost.broker().await;
    publish(&broker, 0..200).await;
    let (in_hand, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let ledger = Ledger::default();
    let (stop, consuming, most_in, seen) =
        (CancellationToken::new(), broker.clone(), Arc::clone(&most), ledger.clone());
    let token = stop.clone();
    let task = tokio::spawn(async move {
        let options = ConsumeOptions { members_max: 40, ..Default::default() };
        let handler = move |member: Member, _| {
            let (in_hand, most, seen) = (Arc::clone(&in_hand), Arc::clone(&most_in), seen.clone());
            async move {
                most.fetch_max(in_hand.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                in_hand.fetch_sub(1, Ordering::SeqCst);
                seen.add(number(&member));
                Ok(())
            }
        };
        consuming.consume_members(LIVE, options, handler, token).await;
    });
    ledger.wait_for(0..200).await;
    assert!((32..=40).contains(&most.load(Ordering::SeqCst)), "{}", most.load(Ordering::SeqCst));
    stop.cancel();
    task.await.unwrap();
    vhost.finish().await;
}
