//! The depth of the queues that this process consumes, in messages and in members.
//!
//! The broker counts messages, and a message is a bundle of 1 to 32 members. Services are scaled by members, so the number of
//! members in a queue is estimated from the recent messages that this process took from the queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::broker::Broker;
use crate::metrics;
use crate::topology::Queue;

/// The interval at which the broker is asked for the depths.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Weight of the newest message in the averages, so that they reflect about the last hundred messages.
const WEIGHT: f64 = 0.01;

/// What this process has consumed from one queue.
pub(crate) struct QueueTally {
    counter: ::metrics::Counter,
    members: AtomicU64,
    members_per_message: MovingAverage,
    bytes_per_message: MovingAverage,
}

impl QueueTally {
    pub(crate) fn new(counter: ::metrics::Counter) -> Self {
        Self {
            counter,
            members: AtomicU64::new(0),
            members_per_message: MovingAverage::default(),
            bytes_per_message: MovingAverage::default(),
        }
    }

    /// Counts a message that was taken.
    pub(crate) fn record(&self, members: usize, bytes: usize) {
        self.counter.increment(members as u64);
        self.members.fetch_add(members as u64, Ordering::Relaxed);
        self.members_per_message.add(members);
        self.bytes_per_message.add(bytes);
    }

    /// The number of members taken so far.
    pub(crate) fn members(&self) -> u64 {
        self.members.load(Ordering::Relaxed)
    }

    /// The average number of members in the recent messages; `None` before the first message.
    pub(crate) fn members_per_message(&self) -> Option<f64> {
        self.members_per_message.get()
    }

    /// The average number of bytes in the recent messages; `None` before the first message.
    pub(crate) fn bytes_per_message(&self) -> Option<f64> {
        self.bytes_per_message.get()
    }
}

/// A moving average, as the bits of an `f64`; 0 before the first value. If two threads add a value at the same time, one value
/// may be lost.
#[derive(Default)]
struct MovingAverage(AtomicU64);

impl MovingAverage {
    fn get(&self) -> Option<f64> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            bits => Some(f64::from_bits(bits)),
        }
    }

    fn add(&self, value: usize) {
        let value = f64::from(u32::try_from(value).unwrap_or(u32::MAX));
        let average = self.get().map_or(value, |before| before + (value - before) * WEIGHT);
        self.0.store(average.to_bits(), Ordering::Relaxed);
    }
}

/// The queues that this process consumes.
#[derive(Default)]
pub(crate) struct QueueTallies(Mutex<HashMap<Queue, Arc<QueueTally>>>);

impl QueueTallies {
    /// Returns the tally of a queue. After the first call for a queue, [`watch`] also asks the broker for the queue's depth.
    pub(crate) fn of(&self, queue: Queue) -> Arc<QueueTally> {
        let mut queues = self.0.lock();
        let tally = queues.entry(queue).or_insert_with(|| {
            metrics::consuming(queue.name());
            Arc::new(QueueTally::new(::metrics::counter!(metrics::CONSUMED_MEMBERS, "queue" => queue.name())))
        });
        Arc::clone(tally)
    }

    /// The given average of each queue that has an average.
    pub(crate) fn averages(&self, average: impl Fn(&QueueTally) -> Option<f64>) -> Vec<(Queue, f64)> {
        self.all().into_iter().filter_map(|(queue, tally)| Some((queue, average(&tally)?))).collect()
    }

    fn all(&self) -> Vec<(Queue, Arc<QueueTally>)> {
        self.0.lock().iter().map(|(queue, tally)| (*queue, Arc::clone(tally))).collect()
    }
}

/// Asks the broker for the depths until `broker` returns `None`. While the broker is away, the metrics have the last depths.
pub(crate) async fn watch(broker: impl Fn() -> Option<Broker>) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let Some(broker) = broker() else { return };
        for (queue, tally) in broker.tallies().all() {
            let Ok(depth) = broker.queue_depth(queue.name()).await else { continue };
            let members = f64::from(depth.messages) * tally.members_per_message().unwrap_or(1.0);
            metrics::depth(queue.name(), depth.messages, members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_follow_the_messages_and_unused_queues_have_none() {
        let queues = QueueTallies::default();
        let (fanout, _intake) = (queues.of(Queue::Fanout), queues.of(Queue::Intake));
        fanout.record(32, 4_000);
        assert_eq!(queues.averages(QueueTally::members_per_message), [(Queue::Fanout, 32.0)]);
        for _ in 0..1_000 {
            fanout.record(2, 1_000);
        }
        let [(Queue::Fanout, average)] = queues.averages(QueueTally::members_per_message)[..] else {
            panic!("{:?}", queues.averages(QueueTally::members_per_message))
        };
        assert!((2.0..2.1).contains(&average), "{average}");
        let [(Queue::Fanout, bytes)] = queues.averages(QueueTally::bytes_per_message)[..] else {
            panic!("{:?}", queues.averages(QueueTally::bytes_per_message))
        };
        assert!((1_000.0..1_001.0).contains(&bytes), "{bytes}");
    }
}
