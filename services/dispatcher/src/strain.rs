//! How late this process itself is: whether answers that take long are the endpoints' doing or ours.
//!
//! When the processors are the limit, everything takes longer, and no endpoint is slow for that. A task that wants to be
//! woken every few milliseconds tells by how late it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Timers are no finer: so much lateness is none.
const TIMER_STEP: Duration = Duration::from_millis(2);
/// Weight of the newest look in the average.
const WEIGHT: f64 = 1.0 / 16.0;

/// The average lateness of this process. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strain {
    micros: Arc<AtomicU64>,
}

impl Strain {
    /// How late whatever is due in this process is, on average.
    pub(crate) fn lag(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }

    /// Looks until `stop`.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let begun = Instant::now();
            tokio::time::sleep(LOOK_EVERY).await;
            self.look(begun.elapsed().saturating_sub(LOOK_EVERY + TIMER_STEP));
        }
    }

    fn look(&self, late: Duration) {
        let before = self.micros.load(Ordering::Relaxed) as f64;
        let average = before * (1.0 - WEIGHT) + late.as_micros() as f64 * WEIGHT;
        self.micros.store(average as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_look_is_no_strain_and_many_are() {
        let strain = Strain::default();
        strain.look(Duration::from_millis(50));
        assert!(strain.lag() < Duration::from_millis(5));
        for _ in 0..100 {
            strain.look(Duration::from_millis(50));
        }
        assert!(strain.lag() > Duration::from_millis(45));
        for _ in 0..200 {
            strain.look(Duration::ZERO);
        }
        assert!(strain.lag() < Duration::from_millis(1));
    }
}
