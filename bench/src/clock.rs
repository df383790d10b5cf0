//! The clock of a run, and the pacer of fixed rates.
//!
//! Sender and receiver are processes of one machine and share the wall clock. If that clock is set during a run, latencies are
//! impossible values.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

/// Nanoseconds since the Unix epoch.
pub(crate) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Shortest sleep of the pacer.
const SLEEP_MIN: Duration = Duration::from_micros(100);

/// Sends the time (nanoseconds since the epoch) at which each of `count` requests is due, as soon as it is due.
///
/// The times are fixed in advance: a slow answer does not postpone later requests, so it cannot hide the waiting it causes
/// (coordinated omission). A thread sleeps between them, at least for [`SLEEP_MIN`]; requests that become due meanwhile are sent
/// together, because waking for each would take more CPU than sending. The runtime's timers are less precise.
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
