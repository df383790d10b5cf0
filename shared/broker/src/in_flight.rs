//! Numbers of messages that this process has received and not yet settled, by queue. A drain waits until they are zero.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::topology::Queue;

/// The counts. Clones share the same counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<BTreeMap<&'static str, usize>>>);

/// Counts one message as in flight until the guard is dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    counts: InFlight,
    queue: &'static str,
}

impl InFlight {
    /// Counts one message of a queue.
    pub(crate) fn add(&self, queue: Queue) -> Guard {
        *self.0.lock().entry(queue.name()).or_default() += 1;
        Guard { counts: self.clone(), queue: queue.name() }
    }

    /// The queues with messages in flight, and the number of messages of each.
    pub(crate) fn counts(&self) -> Vec<(&'static str, usize)> {
        self.0.lock().iter().filter(|(_, count)| **count > 0).map(|(queue, count)| (*queue, *count)).collect()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(count) = self.counts.0.lock().get_mut(self.queue) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_messages_are_not_in_flight() {
        let in_flight = InFlight::default();
        let (one, _other) = (in_flight.add(Queue::Fanout), in_flight.add(Queue::Fanout));
        let outcome = in_flight.add(Queue::Outcomes);
        drop((one, outcome));
        assert_eq!(in_flight.counts(), [("postrider.fanout", 1)]);
    }
}
