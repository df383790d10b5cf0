//! Measures the delay with which this process runs its tasks. The delay shows whether the endpoints or this process cause slow
//! answers.
//!
//! When the processors are the bottleneck, every answer takes longer, although the endpoints are not the cause. A task sleeps
//! for a few milliseconds and measures how late it wakes up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Duration of the sleep in each measurement.
const SAMPLE_EVERY: Duration = Duration::from_millis(10);
/// The resolution of timers. A delay up to this value is ignored.
const TIMER_RESOLUTION: Duration = Duration::from_millis(2);
/// Weight of the newest sample in the average.
const WEIGHT: f64 = 1.0 / 16.0;

/// The average scheduler lag of this process. Clones share the value.
#[derive(Debug, Clone, Default)]
pub(crate) struct SchedulerLag {
    micros: Arc<AtomicU64>,
}

impl SchedulerLag {
    /// Returns the average scheduler lag.
    pub(crate) fn average(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }

    /// Measures until `stop`.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let start = Instant::now();
            tokio::time::sleep(SAMPLE_EVERY).await;
            self.record(start.elapsed().saturating_sub(SAMPLE_EVERY + TIMER_RESOLUTION));
        }
    }

    fn record(&self, late: Duration) {
        let before = self.micros.load(Ordering::Relaxed) as f64;
        let average = before * (1.0 - WEIGHT) + late.as_micros() as f64 * WEIGHT;
        self.micros.store(average as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_sample_hardly_moves_the_average_and_many_do() {
        let lag = SchedulerLag::default();
        lag.record(Duration::from_millis(50));
        assert!(lag.average() < Duration::from_millis(5));
        for _ in 0..100 {
            lag.record(Duration::from_millis(50));
        }
        assert!(lag.average() > Duration::from_millis(45));
        for _ in 0..200 {
            lag.record(Duration::ZERO);
        }
        assert!(lag.average() < Duration::from_millis(1));
    }
}
