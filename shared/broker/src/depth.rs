//! How much waits in the queues that this process consumes, in messages and in members.
//!
//! The broker counts messages, and a message is a bundle of 1 to 32 members: work is scaled by members, so what a queue
//! holds is estimated by what its messages held lately. The estimate stands only on this process's own share of the queue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::broker::Broker;
use crate::metrics;
use crate::topology::Queue;

/// How often the depths are asked for.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Weight of the newest message in the average: about the last hundred count.
const WEIGHT: f64 = 0.01;

/// What one queue has given to this process so far.
pub(crate) struct QueueTally {
    counter: ::metrics::Counter,
    members: AtomicU64,
    /// Moving average of members a message, as the bits of an `f64`; 0: nothing was taken yet.
    per_message: AtomicU64,
    /// The same of bytes a message.
    bytes_per_message: AtomicU64,
}

impl QueueTally {
    pub(crate) fn new(counter: ::metrics::Counter) -> Self {
        Self {
            counter,
            members: AtomicU64::new(0),
            per_message: AtomicU64::new(0),
            bytes_per_message: AtomicU64::new(0),
        }
    }

    /// A message with so many members and bytes was taken. Two at the very same time may count as one in the averages.
    pub(crate) fn took(&self, members: usize, bytes: usize) {
        self.counter.increment(members as u64);
        self.members.fetch_add(members as u64, Ordering::Relaxed);
        follow(&self.per_message, members);
        follow(&self.bytes_per_message, bytes);
    }

    /// All members that were taken so far.
    pub(crate) fn members(&self) -> u64 {
        self.members.load(Ordering::Relaxed)
    }

    /// Members a message, as they were lately; `None`: nothing was taken yet.
    fn average(&self) -> Option<f64> {
        average(&self.per_message)
    }
}

/// A moving average; `None`: nothing was taken yet.
fn average(bits: &AtomicU64) -> Option<f64> {
    match bits.load(Ordering::Relaxed) {
        0 => None,
        bits => Some(f64::from_bits(bits)),
    }
}

/// Takes one more value into a moving average.
fn follow(bits: &AtomicU64, value: usize) {
    let value = f64::from(u32::try_from(value).unwrap_or(u32::MAX));
    let average = average(bits).map_or(value, |before| before + (value - before) * WEIGHT);
    bits.store(average.to_bits(), Ordering::Relaxed);
}

/// The queues that this process consumes.
#[derive(Default)]
pub(crate) struct QueueTallies(Mutex<HashMap<Queue, Arc<QueueTally>>>);

impl QueueTallies {
    /// The tally of a queue, which from now on is asked for its depth.
    pub(crate) fn of(&self, queue: Queue) -> Arc<QueueTally> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = queues.entry(queue).or_insert_with(|| {
            metrics::consuming(queue.name());
            Arc::new(QueueTally::new(::metrics::counter!(metrics::CONSUMED_MEMBERS, "queue" => queue.name())))
        });
        Arc::clone(tally)
    }

    /// Members a message of the queues that anything was taken from.
    pub(crate) fn averages(&self) -> Vec<(Queue, f64)> {
        self.all().into_iter().filter_map(|(queue, tally)| Some((queue, tally.average()?))).collect()
    }

    /// Bytes a message of the same queues.
    pub(crate) fn average_bytes(&self) -> Vec<(Queue, f64)> {
        self.all().into_iter().filter_map(|(queue, tally)| Some((queue, average(&tally.bytes_per_message)?))).collect()
    }

    fn all(&self) -> Vec<(Queue, Arc<QueueTally>)> {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.iter().map(|(queue, tally)| (*queue, Arc::clone(tally))).collect()
    }
}

/// Asks for the depths as long as `broker` has clones. While the broker is away the last answers stay.
pub(crate) async fn watch(broker: impl Fn() -> Option<Broker>) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let Some(broker) = broker() else { return };
        for (queue, tally) in broker.consumed_queues().all() {
            let Ok(depth) = broker.queue_depth(queue.name()).await else { continue };
            let members = f64::from(depth.messages) * tally.average().unwrap_or(1.0);
            metrics::depth(queue.name(), depth.messages, members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_what_is_taken_and_queues_without_messages_have_none() {
        let queues = QueueTallies::default();
        let (fanout, _intake) = (queues.of(Queue::Fanout), queues.of(Queue::Intake));
        fanout.took(32, 4_000);
        assert_eq!(queues.averages(), [(Queue::Fanout, 32.0)]);
        for _ in 0..1_000 {
            fanout.took(2, 1_000);
        }
        let [(Queue::Fanout, average)] = queues.averages()[..] else { panic!("{:?}", queues.averages()) };
        assert!((2.0..2.1).contains(&average), "{average}");
        let [(Queue::Fanout, bytes)] = queues.average_bytes()[..] else { panic!("{:?}", queues.average_bytes()) };
        assert!((1_000.0..1_001.0).contains(&bytes), "{bytes}");
    }
}
