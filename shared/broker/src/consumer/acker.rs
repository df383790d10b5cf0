//! One task per channel acks its messages: a gapless run of settled messages gets one `multiple` ack, messages after a gap get
//! single acks.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::sync::mpsc;

/// How long the task gathers acks before it counts them. While there are few acks, it gathers up to [`GATHER_TIMES`] times.
const GATHER: Duration = Duration::from_millis(20);
const GATHER_TIMES: usize = 4;
/// With this many acks the task gathers no more. A crash repeats messages without an ack; the prefetch limits their number.
const ACKS_MIN: usize = 8;
/// Maximum number of acks that are sent together.
const ACKS_MAX: usize = 1_024;

/// How a message is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settlement {
    Ack,
    Requeue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settled {
    tag: u64,
    settlement: Settlement,
}

/// Acks or requeues messages of one channel. Does nothing once the channel is closed: the broker then requeues its messages.
#[derive(Clone)]
pub(super) struct Acker(mpsc::UnboundedSender<Settled>);

impl Acker {
    /// Starts the task. After the last clone is dropped, the task writes the remaining acks and ends.
    pub(super) fn start(channel: Channel) -> (Self, tokio::task::JoinHandle<()>) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Self(tx), tokio::spawn(run(channel, rx)))
    }

    pub(super) fn settle(&self, tag: u64, settlement: Settlement) {
        // The receiver is closed only if the channel has failed. The channel's delivery tags are then invalid.
        let _ = self.0.send(Settled { tag, settlement });
    }
}

async fn run(channel: Channel, mut settled: mpsc::UnboundedReceiver<Settled>) {
    let mut runs = Runs::default();
    let mut batch = Vec::new();
    while settled.recv_many(&mut batch, ACKS_MAX).await > 0 {
        // Acks are not urgent, and a quorum queue writes each of them to disk.
        for _ in 0..GATHER_TIMES {
            tokio::time::sleep(GATHER).await;
            while batch.len() < ACKS_MAX
                && let Ok(one) = settled.try_recv()
            {
                batch.push(one);
            }
            if batch.len() >= ACKS_MIN {
                break;
            }
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

/// The settled delivery tags of a channel. The broker numbers the messages of a channel from 1 without gaps.
#[derive(Debug, Default)]
struct Runs {
    /// Every tag up to and including this tag is acked or requeued.
    done: u64,
    /// Tags above `done` that are acked or requeued.
    ahead: BTreeSet<u64>,
}

impl Runs {
    /// Empties `batch` and returns the fewest acks that settle its messages. The tag of a `multiple` ack is always a tag of
    /// this batch, because the broker refuses a tag that is already settled.
    fn next_acks(&mut self, batch: &mut Vec<Settled>) -> Vec<Ack> {
        let mut acks = Vec::new();
        batch.sort_unstable_by_key(|settled| settled.tag);
        let mut up_to = None;
        let mut run: u64 = 0;
        for Settled { tag, settlement } in batch.drain(..) {
            while self.ahead.remove(&(self.done + 1)) {
                self.done += 1;
            }
            if settlement == Settlement::Requeue {
                acks.push(Ack::Requeue(tag));
                self.ahead.insert(tag);
            } else if tag == self.done + 1 {
                self.done = tag;
                up_to = Some(tag);
                run += 1;
            } else {
                acks.push(Ack::One(tag));
                self.ahead.insert(tag);
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
        let mut batch: Vec<_> = tags.iter().map(|tag| Settled { tag: *tag, settlement: Settlement::Ack }).collect();
        runs.next_acks(&mut batch)
    }

    #[test]
    fn a_run_gets_one_ack_and_messages_after_a_gap_get_single_acks() {
        let mut runs = Runs::default();
        assert_eq!(acks(&mut runs, &[2, 1, 3]), [Ack::UpTo(3)]);
        assert_eq!(acks(&mut runs, &[5, 6]), [Ack::One(5), Ack::One(6)]);
        assert_eq!(acks(&mut runs, &[4]), [Ack::One(4)]);
        assert_eq!(acks(&mut runs, &[7, 8]), [Ack::UpTo(8)]);
        assert_eq!(acks(&mut runs, &[10]), [Ack::One(10)]);
        assert_eq!(acks(&mut runs, &[9, 11]), [Ack::UpTo(11)]);
    }

    proptest! {
        /// Compares with a model of the broker: each tag is acked or requeued exactly once. A `multiple` ack names an unacked tag
        /// and covers no message that is still being handled.
        #[test]
        fn acks_cover_exactly_what_is_settled(order in Just((1u64..=40).collect::<Vec<_>>()).prop_shuffle(), cuts in 1usize..7, back in 0u64..9) {
            let mut runs = Runs::default();
            let mut unacked: BTreeSet<u64> = (1..=40).collect();
            let mut settled = BTreeSet::new();
            for chunk in order.chunks(cuts) {
                settled.extend(chunk.iter().copied());
                let of = |tag: u64| if tag % 9 == back { Settlement::Requeue } else { Settlement::Ack };
                let mut batch: Vec<_> = chunk.iter().map(|tag| Settled { tag: *tag, settlement: of(*tag) }).collect();
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
