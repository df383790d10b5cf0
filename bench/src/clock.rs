//! The one clock of a run, and the pacer of open loops.
//!
//! Sender and receiver are processes of one machine, so the wall clock is common to them; a step of it within a
//! run would show as an absurd latency.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

/// Nanoseconds since the Unix epoch.
pub(crate) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Shortest sleep of the pacer.
const SLEEP_MIN: Duration = Duration::from_millis(1);

/// Sends the intended time (nanoseconds since the epoch) of each of `count` requests when it comes.
///
/// The times are fixed in advance, so that a slow answer delays no later request's intended time and cannot hide
/// the waiting it causes (coordinated omission). A thread sleeps between them, [`SLEEP_MIN`] or longer: the requests that are due meanwhile
/// go together, or the waking would take more of the machine than the sending. The runtime's timers round up and come later.
pub(crate) fn pace(per_second: f64, count: u64) -> mpsc::UnboundedReceiver<u64> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let start = now_ns() + 1_000_000;
        for index in 0..count {
            let intended = start + (index as f64 * 1e9 / per_second) as u64;
            let now = now_ns();
            if intended > now {
                std::thread::sleep(Duration::from_nanos(intended - now).max(SLEEP_MIN));
            }
            if sender.send(intended).is_err() {
                return;
            }
        }
    });
    receiver
}
