//! How many messages this process has taken and not yet settled, by queue: what a drain waits for.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::topology::Queue;

/// The counts. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<BTreeMap<&'static str, usize>>>);

/// One message that is in hand until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    counts: InFlight,
    queue: &'static str,
}

impl InFlight {
    /// Takes one in hand.
    pub(crate) fn take(&self, queue: Queue) -> Held {
        *self.0.lock().entry(queue.name()).or_default() += 1;
        Held { counts: self.clone(), queue: queue.name() }
    }

    /// Queues of which something is in hand.
    pub(crate) fn counts(&self) -> Vec<(&'static str, usize)> {
        self.0.lock().iter().filter(|(_, count)| **count > 0).map(|(queue, count)| (*queue, *count)).collect()
    }
}

impl Drop for Held {
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
    fn what_was_settled_is_not_in_hand() {
        let in_hand = InFlight::default();
        let (one, _other) = (in_hand.take(Queue::Fanout), in_hand.take(Queue::Fanout));
        let outcome = in_hand.take(Queue::Outcomes);
        drop((one, outcome));
        assert_eq!(in_hand.counts(), [("postrider.fanout", 1)]);
    }
}
