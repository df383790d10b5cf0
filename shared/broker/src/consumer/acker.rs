//! One acker task a channel: whole runs of settled messages with one `multiple` ack, single acks past a straggler.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::sync::mpsc;

/// How long acks gather: what it adds to what a crash repeats is bounded by the prefetch as before.
const GATHER: Duration = Duration::from_millis(20);
/// Acks that are sent together at most.
const ACKS_MAX: usize = 1_024;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settle {
    pub(super) tag: u64,
    /// Back to its queue instead of acked.
    pub(super) give_back: bool,
}

/// Settles messages of one channel. When the channel is gone this does nothing, and the messages come back.
#[derive(Clone)]
pub(super) struct Acker(mpsc::UnboundedSender<Settle>);

impl Acker {
    /// Starts the task. It ends, with every ack written, when the last clone is dropped.
    pub(super) fn start(channel: Channel) -> (Self, tokio::task::JoinHandle<()>) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Self(tx), tokio::spawn(run(channel, rx)))
    }

    pub(super) fn settle(&self, tag: u64, give_back: bool) {
        // A closed receiver is a dead channel, whose tags mean nothing any more.
        let _ = self.0.send(Settle { tag, give_back });
    }
}

async fn run(channel: Channel, mut settled: mpsc::UnboundedReceiver<Settle>) {
    let mut runs = Runs::default();
    let mut batch = Vec::new();
    while settled.recv_many(&mut batch, ACKS_MAX).await > 0 {
        // Nobody waits for an ack, and to a quorum queue each is a log entry that is synced to disk.
        tokio::time::sleep(GATHER).await;
        while batch.len() < ACKS_MAX
            && let Ok(settle) = settled.try_recv()
        {
            batch.push(settle);
        }
        for ack in runs.next_acks(&mut batch) {
            let result = match ack {
                Ack::UpTo(tag) => channel.basic_ack(tag, BasicAckOptions { multiple: true }).await,
                Ack::One(tag) => channel.basic_ack(tag, BasicAckOptions::default()).await,
                Ack::Requeue(tag) => channel.basic_nack(tag, BasicNackOptions { requeue: true, multiple: false }).await,
            };
            if result.is_err() {
                return;
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ack {
    UpTo(u64),
    One(u64),
    Requeue(u64),
}

/// Which tags are settled. Delivery tags of a channel count from 1 without gaps.
#[derive(Debug, Default)]
struct Runs {
    /// Every tag up to this one is settled and told to the broker.
    done: u64,
    /// Tags beyond, settled and told one by one.
    ahead: BTreeSet<u64>,
}

impl Runs {
    /// Empties `batch` into the fewest acks that say the same. A `multiple` ack names a tag of this batch: the
    /// broker refuses one that names a tag it has no more.
    fn next_acks(&mut self, batch: &mut Vec<Settle>) -> Vec<Ack> {
        let mut acks = Vec::new();
        batch.sort_unstable_by_key(|settle| settle.tag);
        let mut up_to = None;
        let mut run: u64 = 0;
        for settle in batch.drain(..) {
            while self.ahead.remove(&(self.done + 1)) {
                self.done += 1;
            }
            if settle.give_back {
                acks.push(Ack::Requeue(settle.tag));
                self.ahead.insert(settle.tag);
            } else if settle.tag == self.done + 1 {
                self.done = settle.tag;
                up_to = Some(settle.tag);
                run += 1;
            } else {
                acks.push(Ack::One(settle.tag));
                self.ahead.insert(settle.tag);
            }
        }
        while self.ahead.remove(&(self.done + 1)) {
            self.done += 1;
        }
        if let Some(tag) = up_to {
            acks.push(if run == 1 { Ack::One(tag) } else { Ack::UpTo(tag) });
        }
        acks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn acks(runs: &mut Runs, tags: &[u64]) -> Vec<Ack> {
        let mut batch: Vec<Settle> = tags.iter().map(|tag| Settle { tag: *tag, give_back: false }).collect();
        runs.next_acks(&mut batch)
    }

    #[test]
    fn a_run_is_one_ack_and_what_is_past_a_straggler_goes_alone() {
        let mut runs = Runs::default();
        assert_eq!(acks(&mut runs, &[2, 1, 3]), [Ack::UpTo(3)]);
        assert_eq!(acks(&mut runs, &[5, 6]), [Ack::One(5), Ack::One(6)]);
        assert_eq!(acks(&mut runs, &[4]), [Ack::One(4)]);
        assert_eq!(acks(&mut runs, &[7, 8]), [Ack::UpTo(8)]);
        assert_eq!(acks(&mut runs, &[10]), [Ack::One(10)]);
        assert_eq!(acks(&mut runs, &[9, 11]), [Ack::UpTo(11)]);
    }

    proptest! {
        /// Against a model of the broker: each tag is told exactly once, a `multiple` ack never covers one that is not
        /// settled, and names one that the broker still has.
        #[test]
        fn acks_cover_exactly_what_is_settled(order in Just((1u64..=40).collect::<Vec<_>>()).prop_shuffle(), cuts in 1usize..7, back in 0u64..9) {
            let mut runs = Runs::default();
            let mut unacked: BTreeSet<u64> = (1..=40).collect();
            let mut settled = BTreeSet::new();
            for chunk in order.chunks(cuts) {
                settled.extend(chunk.iter().copied());
                let mut batch: Vec<Settle> = chunk.iter().map(|tag| Settle { tag: *tag, give_back: tag % 9 == back }).collect();
                for ack in runs.next_acks(&mut batch) {
                    match ack {
                        Ack::One(tag) | Ack::Requeue(tag) => prop_assert!(unacked.remove(&tag)),
                        Ack::UpTo(tag) => {
                            prop_assert!(unacked.contains(&tag));
                            prop_assert!(unacked.range(..=tag).all(|tag| settled.contains(tag)));
                            unacked = unacked.split_off(&(tag + 1));
                        }
                    }
                }
                prop_assert!(unacked.iter().all(|tag| !settled.contains(tag)));
            }
            prop_assert!(unacked.is_empty());
        }
    }
}
