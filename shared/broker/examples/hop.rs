//! Measures the throughput and CPU time of one hop through the broker (publish, confirm, consume, ack), with bundles and with
//! single members.
//!
//! ```text
//! POSTRIDER_AMQP_URL=amqp://guest:guest@127.0.0.1:5672/bench cargo run --release -p postrider-broker --example hop
//! ```
//! This is not a test: the numbers depend on the machine. Use an empty virtual host that nothing else uses.

#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_broker::{BatchOptions, Broker, BrokerConfig, ConsumeOptions, MessageRoute, PublishError, Queue, Route};
use postrider_model::delivery::Lane;
use postrider_wire::bundle::Member;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const MEMBERS: usize = 100_000;
const BODY_BYTES: usize = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("POSTRIDER_AMQP_URL")?;
    let broker = Broker::connect(BrokerConfig::new(url, "postrider hop"), CancellationToken::new()).await?;
    for (name, bundled, waiting) in
        [("bundled, 64 submitters", true, 64), ("bundled, 1,000 submitters", true, 1_000), ("singles", false, 1_000)]
    {
        run(&broker, name, bundled, waiting).await?;
    }
    broker.close().await;
    Ok(())
}

async fn run(broker: &Broker, name: &str, bundled: bool, waiting: usize) -> Result<(), Box<dyn std::error::Error>> {
    let consumed = Arc::new(AtomicUsize::new(0));
    let arrived = Arc::new(Semaphore::new(0));
    let stop = CancellationToken::new();
    let (consuming, counting, arriving, token) = (broker.clone(), consumed.clone(), arrived.clone(), stop.clone());
    let consumer = tokio::spawn(async move {
        let handler = move |_: Member, _| {
            if counting.fetch_add(1, Ordering::Relaxed) + 1 == MEMBERS {
                arriving.add_permits(1);
            }
            async { Ok(()) }
        };
        let options = ConsumeOptions { prefetch: 2_000, ..Default::default() };
        consuming.consume_members(Queue::Lane(Lane::Live), options, handler, token).await;
    });

    let began = Instant::now();
    let cpu = cpu_time();
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    let publisher = broker.batch_publisher(Route::Lane(Lane::Live), BatchOptions::default());
    let singles = broker.message_publisher();
    let mut submitters = tokio::task::JoinSet::new();
    for _ in 0..waiting {
        let (publisher, singles, body) = (publisher.clone(), singles.clone(), body.clone());
        submitters.spawn(async move {
            for _ in 0..MEMBERS / waiting {
                let member = Member { head: Bytes::from_static(b"{}"), payload: body.clone() };
                let published = if bundled {
                    publisher.publish(vec![member]).await
                } else {
                    singles.publish(MessageRoute::Lane(Lane::Live), &[member]).await
                };
                published?;
            }
            Ok::<_, PublishError>(())
        });
    }
    while let Some(submitter) = submitters.join_next().await {
        submitter??;
    }
    for _ in 0..MEMBERS % waiting {
        publisher.publish(vec![Member { head: Bytes::from_static(b"{}"), payload: body.clone() }]).await?;
    }
    let confirmed = began.elapsed();
    arrived.acquire().await?.forget();
    let (took, cpu) = (began.elapsed(), cpu_time().saturating_sub(cpu));
    println!(
        "{name}: {:.0} members/s confirmed, {:.0}/s consumed, {:.1} us of this process's CPU each",
        MEMBERS as f64 / confirmed.as_secs_f64(),
        MEMBERS as f64 / took.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / MEMBERS as f64
    );
    stop.cancel();
    consumer.await?;
    Ok(())
}

/// User plus system time of this process; zero if `/proc/self/stat` cannot be read.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum::<u64>();
    // On common Linux systems a tick is 10 ms.
    Duration::from_millis(ticks * 10)
}
