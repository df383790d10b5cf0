//! How many members messages have: the broker counts messages, people want to know deliveries.

use std::sync::atomic::{AtomicU64, Ordering};

use postrider_model::delivery::Lane;

use crate::topology::Queue;

/// Weight of the newest message in the average: about the last hundred count.
const WEIGHT: f64 = 0.01;

/// The queues whose messages are bundles.
const QUEUES: [Queue; 7] = [
    Queue::Fanout,
    Queue::EventLog,
    Queue::Lane(Lane::Live),
    Queue::Lane(Lane::Slow),
    Queue::Lane(Lane::Bulk),
    Queue::Decisions,
    Queue::Outcomes,
];

/// A moving average for each queue, as the bits of an `f64`; 0: nothing was taken from it yet.
#[derive(Debug, Default)]
pub(crate) struct BundleSizes([AtomicU64; QUEUES.len()]);

impl BundleSizes {
    /// A message with so many members was taken. Two at the very same time may count as one.
    pub(crate) fn saw(&self, queue: Queue, members: usize) {
        let Some(place) = QUEUES.iter().position(|known| *known == queue) else { return };
        let members = f64::from(u32::try_from(members).unwrap_or(u32::MAX));
        let before = f64::from_bits(self.0[place].load(Ordering::Relaxed));
        let average = if before == 0.0 { members } else { before + (members - before) * WEIGHT };
        self.0[place].store(average.to_bits(), Ordering::Relaxed);
    }

    /// The averages of the queues that anything was taken from.
    pub(crate) fn averages(&self) -> Vec<(Queue, f64)> {
        let averages = self.0.iter().map(|bits| f64::from_bits(bits.load(Ordering::Relaxed)));
        QUEUES.into_iter().zip(averages).filter(|(_, average)| *average > 0.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_what_is_taken_and_queues_without_messages_have_none() {
        let sizes = BundleSizes::default();
        sizes.saw(Queue::Fanout, 32);
        assert_eq!(sizes.averages(), [(Queue::Fanout, 32.0)]);
        for _ in 0..1_000 {
            sizes.saw(Queue::Fanout, 2);
        }
        sizes.saw(Queue::Intake, 5);
        let [(Queue::Fanout, average)] = sizes.averages()[..] else { panic!("{:?}", sizes.averages()) };
        assert!((2.0..2.1).contains(&average), "{average}");
    }
}
