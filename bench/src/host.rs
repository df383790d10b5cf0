//! What the host of a virtual machine took from it, moment by moment.
//!
//! A host that runs others on the same processors takes them away for milliseconds or seconds, which the machine's kernel counts as
//! "steal" (field 8 of `/proc/stat`, proc(5)). An event that was due about then was late for no reason of the engine's. On a
//! machine of its own, and where nothing is counted, nothing was taken.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::now_ns;
use crate::processes::MachineTime;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What was taken so long before an event was due may have left queues that it waits in.
const BEFORE_NS: u64 = 500_000_000;
/// What was taken so long after may have delayed it. The same for every event, however long that took in the end: late ones must
/// be as likely to count as others.
const AFTER_NS: u64 = 300_000_000;
/// From so many ticks on it matters; a single one is the counter's grain.
const MATTERS_FROM: f64 = 2.0;

/// Looks until it is asked what it saw, or dropped.
pub(crate) struct Watch {
    going_on: mpsc::Sender<()>,
    thread: JoinHandle<Taken>,
}

/// What the host took, and when.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// At the end of each look (nanoseconds since the epoch) what had been taken so far, in ticks of 10 ms of one processor.
    looks: Vec<(u64, f64)>,
}

impl Watch {
    /// Begins.
    pub(crate) fn start() -> Self {
        let (going_on, over) = mpsc::channel();
        let look = || (now_ns(), MachineTime::now().stolen());
        let mut taken = Taken { looks: vec![look()] };
        let thread = std::thread::spawn(move || {
            while over.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                taken.looks.push(look());
            }
            taken.looks.push(look());
            taken
        });
        Self { going_on, thread }
    }

    /// Ends, and tells.
    pub(crate) fn stop(self) -> Taken {
        drop(self.going_on);
        self.thread.join().unwrap_or_default()
    }
}

impl Taken {
    #[cfg(test)]
    pub(crate) fn of(looks: Vec<(u64, f64)>) -> Self {
        Self { looks }
    }

    /// Whether the host took nothing that matters about when an event was due.
    pub(crate) fn nothing_about(&self, due_ns: u64) -> bool {
        let so_far = |at_ns: u64| {
            let later = self.looks.partition_point(|(look_ns, _)| *look_ns < at_ns);
            self.looks.get(later).or(self.looks.last()).map_or(0.0, |(_, ticks)| *ticks)
        };
        so_far(due_ns + AFTER_NS) - so_far(due_ns.saturating_sub(BEFORE_NS)) < MATTERS_FROM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn an_event_is_undisturbed_when_nothing_was_taken_shortly_before_and_after_it_was_due() {
        // From 10 s on, every 100 ms; three ticks are taken shortly before 12 s, and one before 14 s.
        let looks = (0..60).map(|look| {
            let at_ns = 10 * S + look * S / 10;
            (at_ns, f64::from(u8::from(at_ns >= 12 * S)) * 3.0 + f64::from(u8::from(at_ns >= 14 * S)))
        });
        let taken = Taken::of(looks.collect());
        let undisturbed = |tenths: u64| taken.nothing_about(tenths * S / 10);
        assert!([100, 110, 116].into_iter().all(undisturbed));
        assert!(![118, 120, 124].into_iter().any(undisturbed));
        assert!([127, 137, 140, 150, 159, 170].into_iter().all(undisturbed));
    }

    #[test]
    fn where_nothing_is_counted_nothing_was_taken() {
        assert!(Taken::default().nothing_about(S));
        assert!(Watch::start().stop().looks.len() >= 2);
    }
}
