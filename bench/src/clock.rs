//! The clock of a run, and the pacer for fixed rates.
//!
//! The sender and the receiver are processes of one machine and use the same wall clock. If the wall clock is set during a run,
//! the measured latencies are wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

/// Returns the nanoseconds since the Unix epoch.
pub(crate) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Minimum sleep of the pacer.
const SLEEP_MIN: Duration = Duration::from_micros(100);

/// Sends a message for each of `count` requests when the request is due. The message is the due time in nanoseconds since the
/// epoch.
///
/// The due times are fixed in advance. A slow response does not postpone later requests, so the measured latency includes the
/// wait that the response causes (no coordinated omission). A thread sleeps between due times, at least for [`SLEEP_MIN`].
/// Requests that become due during a sleep are sent together, because waking up for each request would take more CPU than
/// sending it. The timers of the runtime are less precise than this thread.
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
