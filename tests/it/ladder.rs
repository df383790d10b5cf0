//! Twenty thousand deliveries are parked on the delay ladder while the broker is killed and started again. None is early, none is
//! lost; the test prints how late they are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::StreamExt;
use postrider_broker::{Broker, BrokerConfig, ConsumeOptions, DelayPublisher, Destination, Queue, ladder};
use postrider_model::delivery::Lane;
use postrider_testkit::engines::PrivateRabbit;
use postrider_wire::bundle::Member;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::harness::FaultLine;

const DELIVERIES: usize = 20_000;
/// Requested delays, evenly distributed from the shortest to the longest, in milliseconds.
const SHORTEST: Duration = Duration::from_secs(6);
const LONGEST: Duration = Duration::from_secs(25);
/// The broker is killed after this many arrivals, while rungs drain.
const KILL_AFTER: usize = 3_000;
/// The broker's clock truncates to milliseconds.
const RESOLUTION: Duration = Duration::from_millis(1);

struct Parked {
    wanted: Duration,
    asked: OnceLock<Instant>,
    came: OnceLock<Instant>,
}

impl Parked {
    /// How late the delivery arrived: after its wanted delay, and after the delay of its rung, which is rounded up.
    fn lateness(&self) -> Option<(Duration, Duration)> {
        let (asked, came) = (*self.asked.get()?, *self.came.get()?);
        let after = |delay: Duration| came.saturating_duration_since(asked + delay);
        Some((after(self.wanted), after(ladder::rung_at_least(self.wanted).delay())))
    }
}

fn ledger() -> Arc<Vec<Parked>> {
    let step = (LONGEST - SHORTEST) / u32::try_from(DELIVERIES).unwrap();
    let parked = |n: usize| Parked {
        wanted: SHORTEST + step * u32::try_from(n).unwrap(),
        asked: OnceLock::new(),
        came: OnceLock::new(),
    };
    Arc::new((0..DELIVERIES).map(parked).collect())
}

/// Parks all deliveries, at most a thousand unconfirmed, in an order that mixes the delays.
async fn park_all(delays: &DelayPublisher, ledger: &Arc<Vec<Parked>>) {
    futures::stream::iter(0..DELIVERIES)
        .for_each_concurrent(1_000, |n| {
            // 7,919 and the count have no common divisor, so every number occurs once.
            let n = n * 7_919 % DELIVERIES;
            let (delays, ledger) = (delays.clone(), Arc::clone(ledger));
            async move {
                let rung = ladder::rung_at_least(ledger[n].wanted);
                let member = Member::new(&json!({ "n": n }), vec![b'x'; 500].into()).unwrap();
                ledger[n].asked.set(Instant::now()).unwrap();
                delays.publish(Destination::Rung { rung, lane: Lane::Live }, member).await.unwrap();
            }
        })
        .await;
}

/// Records deliveries as they arrive. `arrivals` counts distinct ones, `repeats` the others.
#[derive(Default)]
struct Arrivals {
    distinct: AtomicUsize,
    repeats: AtomicUsize,
    changed: Notify,
}

impl Arrivals {
    async fn wait_for(&self, count: usize, patience: Duration) {
        let reached = async {
            loop {
                let changed = self.changed.notified();
                if self.distinct.load(Ordering::SeqCst) >= count {
                    return;
                }
                changed.await;
            }
        };
        let done = tokio::time::timeout(patience, reached).await;
        assert!(done.is_ok(), "{} of {count} came within {patience:?}", self.distinct.load(Ordering::SeqCst));
    }
}

fn consume(broker: &Broker, ledger: &Arc<Vec<Parked>>, arrivals: &Arc<Arrivals>, stop: &CancellationToken) {
    let (broker, ledger, arrivals, stop) = (broker.clone(), Arc::clone(ledger), Arc::clone(arrivals), stop.clone());
    tokio::spawn(async move {
        let handler = move |member: Member, _| {
            let now = Instant::now();
            let (ledger, arrivals) = (Arc::clone(&ledger), Arc::clone(&arrivals));
            async move {
                let n = member.head::<Value>().unwrap()["n"].as_u64().unwrap();
                let counter = match ledger[usize::try_from(n).unwrap()].came.set(now) {
                    Ok(()) => &arrivals.distinct,
                    Err(_) => &arrivals.repeats,
                };
                counter.fetch_add(1, Ordering::SeqCst);
                arrivals.changed.notify_one();
                Ok(())
            }
        };
        broker.consume_members(Queue::Lane(Lane::Live), ConsumeOptions::default(), handler, stop).await;
    });
}

fn print(what: &str, parked: impl Iterator<Item = (Duration, Duration)>) {
    let (mut late, mut broker): (Vec<Duration>, Vec<Duration>) = parked.unzip();
    for (name, lateness) in [("later than wanted", &mut late), ("later than their rung", &mut broker)] {
        lateness.sort_unstable();
        let at =
            |permille: usize| lateness.get((lateness.len() * permille / 1_000).min(lateness.len().saturating_sub(1)));
        let [median, most, last] = [500, 990, 1_000].map(|permille| at(permille).copied().unwrap_or_default());
        println!("{what}: {} deliveries {name}: p50 {median:.1?} p99 {most:.1?} max {last:.1?}", lateness.len());
    }
}

/// Guarantee (Attempts and retries): No retry is early, even if the broker dies.
#[tokio::test(flavor = "multi_thread")]
async fn parked_deliveries_survive_the_brokers_death_and_none_is_early() {
    let mut rabbit = PrivateRabbit::start().await.unwrap();
    let config = BrokerConfig::new(rabbit.amqp_url(), "ladder test");
    let broker = Broker::connect(config, CancellationToken::new()).await.unwrap();
    let (ledger, arrivals, stop) = (ledger(), Arc::new(Arrivals::default()), CancellationToken::new());
    consume(&broker, &ledger, &arrivals, &stop);

    let parking = tokio::spawn({
        let (onward, ledger) = (broker.delay_publisher(), Arc::clone(&ledger));
        async move { park_all(&onward, &ledger).await }
    });
    arrivals.wait_for(KILL_AFTER, Duration::from_secs(300)).await;
    let killed = Instant::now();
    rabbit.kill9();
    let outstanding = DELIVERIES - arrivals.distinct.load(Ordering::SeqCst);
    assert!(outstanding > 0, "nothing was parked when the broker was killed");
    rabbit.restart().await.unwrap();
    let restarted = Instant::now();
    println!("killed with {outstanding} parked; serving again after {:.1?}", restarted - killed);

    parking.await.unwrap();
    arrivals.wait_for(DELIVERIES, Duration::from_secs(600)).await;
    stop.cancel();

    for (n, parked) in ledger.iter().enumerate() {
        let waited = *parked.came.get().unwrap() - *parked.asked.get().unwrap();
        assert!(waited + RESOLUTION >= parked.wanted, "delivery {n} came after {waited:?} of {:?}", parked.wanted);
    }
    let due = |parked: &Parked| *parked.asked.get().unwrap() + parked.wanted;
    let group = |from: Option<Instant>, to: Option<Instant>| {
        let within = move |at: Instant| from.is_none_or(|from| at >= from) && to.is_none_or(|to| at < to);
        ledger.iter().filter(move |parked| within(due(parked))).filter_map(Parked::lateness)
    };
    // Rounding up to a rung adds up to a second. Deliveries whose rung falls into the outage are later.
    print("due before the kill", group(None, Some(killed - Duration::from_secs(1))));
    print("due around and during the outage", group(Some(killed - Duration::from_secs(1)), Some(restarted)));
    print("due after the restart", group(Some(restarted), None));
    FaultLine {
        fault: "kill -9 of RabbitMQ, deliveries on the ladder".into(),
        accepted: DELIVERIES,
        delivered: DELIVERIES,
        duplicates: arrivals.repeats.load(Ordering::SeqCst),
        ..FaultLine::default()
    }
    .emit();
}
