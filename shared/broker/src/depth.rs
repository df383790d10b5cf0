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
/// Share of the newest interval in the running average of members a message.
const WEIGHT: f64 = 0.5;

/// What one queue has given to this process so far.
pub(crate) struct Consumed {
    counter: ::metrics::Counter,
    messages: AtomicU64,
    members: AtomicU64,
    /// Whether consumers say what their messages hold.
    in_members: bool,
}

impl Consumed {
    /// A message with so many members was taken.
    pub(crate) fn took(&self, members: usize) {
        self.counter.increment(members as u64);
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.members.fetch_add(members as u64, Ordering::Relaxed);
    }
}

/// The queues that this process consumes.
#[derive(Default)]
pub(crate) struct ConsumedQueues(Mutex<HashMap<Queue, Arc<Consumed>>>);

impl ConsumedQueues {
    /// The tally of a queue, which from now on is asked for its depth. `in_members`: whether [`Consumed::took`] will be called.
    pub(crate) fn of(&self, queue: Queue, in_members: bool) -> Arc<Consumed> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = queues.entry(queue).or_insert_with(|| {
            metrics::consuming(queue.name());
            let counter = ::metrics::counter!(metrics::CONSUMED_MEMBERS, "queue" => queue.name());
            Arc::new(Consumed { counter, messages: AtomicU64::new(0), members: AtomicU64::new(0), in_members })
        });
        Arc::clone(tally)
    }

    fn all(&self) -> Vec<(Queue, Arc<Consumed>)> {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.iter().map(|(queue, tally)| (*queue, Arc::clone(tally))).collect()
    }
}

/// Members a message, as they were lately.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Average {
    messages: u64,
    members: u64,
    per_message: f64,
}

impl Default for Average {
    fn default() -> Self {
        Self { messages: 0, members: 0, per_message: 1.0 }
    }
}

impl Average {
    /// Takes the totals as they are now. While nothing comes the average stays.
    #[expect(clippy::cast_precision_loss, reason = "members of a few seconds")]
    fn update(&mut self, messages: u64, members: u64) {
        let (came, held) = (messages.saturating_sub(self.messages), members.saturating_sub(self.members));
        if came > 0 {
            let lately = held as f64 / came as f64;
            let weight = if self.messages == 0 { 1.0 } else { WEIGHT };
            self.per_message += weight * (lately - self.per_message);
        }
        (self.messages, self.members) = (messages, members);
    }
}

/// Asks for the depths as long as `broker` has clones. While the broker is away the last answers stay.
pub(crate) async fn watch(broker: impl Fn() -> Option<Broker>) {
    let mut averages: HashMap<Queue, Average> = HashMap::new();
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let Some(broker) = broker() else { return };
        for (queue, tally) in broker.consumed_queues().all() {
            let average = averages.entry(queue).or_default();
            average.update(tally.messages.load(Ordering::Relaxed), tally.members.load(Ordering::Relaxed));
            let Ok(depth) = broker.queue_depth(queue.name()).await else { continue };
            let members = tally.in_members.then(|| f64::from(depth.messages) * average.per_message);
            metrics::depth(queue.name(), depth.messages, members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_what_messages_held_lately_and_stays_while_none_come() {
        let mut average = Average::default();
        assert_eq!(average.per_message, 1.0, "unknown is one");
        average.update(10, 320);
        assert_eq!(average.per_message, 32.0, "the first interval counts alone");
        average.update(10, 320);
        assert_eq!(average.per_message, 32.0);
        average.update(20, 340);
        assert_eq!(average.per_message, 17.0, "half of 32 and half of 2");
    }
}
