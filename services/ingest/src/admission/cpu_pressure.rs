//! CPU pressure of this machine, as its kernel reports it.
//!
//! Linux measures the share of time in which a task was ready to run and waited for a CPU (pressure stall information,
//! <https://docs.kernel.org/accounting/psi.html>), over all processes. On two CPUs that are 60% busy with Postrider it is about 0.4, at
//! 85% about 0.8. On systems without it the pressure is always 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The file in which Linux reports it.
const FILE: &str = "/proc/pressure/cpu";
/// How often it is read.
const READ_EVERY: Duration = Duration::from_millis(50);
/// Weight of the last reading in the average.
const WEIGHT: f64 = 0.5;

/// The recent share of time in which a task waited for a CPU. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct CpuPressure {
    /// The bits of an `f64`.
    level: Arc<AtomicU64>,
}

impl CpuPressure {
    #[cfg(test)]
    pub(crate) fn at(level: f64) -> Self {
        Self { level: Arc::new(AtomicU64::new(level.to_bits())) }
    }

    /// 0 (no task waits) to 1 (a task always waits), over the last tenths of a second.
    pub(crate) fn level(&self) -> f64 {
        f64::from_bits(self.level.load(Ordering::Relaxed))
    }

    /// Follows the kernel's reports until `stop`. Without reports the level does not change.
    pub(crate) async fn watch(self, stop: CancellationToken) {
        self.follow(waited_so_far, stop.clone()).await;
        stop.cancelled().await;
    }

    async fn follow(self, waited_so_far: impl Fn() -> Option<Duration>, stop: CancellationToken) {
        let Some(mut before) = waited_so_far() else { return };
        let mut ticks = tokio::time::interval(READ_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut at = Instant::now();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let (Some(waited), now) = (waited_so_far(), Instant::now()) else { return };
            let level = average(self.level(), waited.saturating_sub(before), now - at);
            self.level.store(level.to_bits(), Ordering::Relaxed);
            (before, at) = (waited, now);
        }
    }
}

/// The time in which a task waited for a CPU since the machine started.
fn waited_so_far() -> Option<Duration> {
    // The kernel serves this file from memory.
    read(&std::fs::read_to_string(FILE).ok()?)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`, the last in microseconds; other lines follow.
fn read(text: &str) -> Option<Duration> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let total = some.split(' ').find_map(|field| field.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

fn average(before: f64, waited: Duration, passed: Duration) -> f64 {
    if passed.is_zero() {
        return before;
    }
    let newest = (waited.as_secs_f64() / passed.as_secs_f64()).min(1.0);
    before * (1.0 - WEIGHT) + newest * WEIGHT
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_kernels_report_is_read_and_other_text_is_not() {
        let text = "some avg10=0.55 avg60=0.25 avg300=11.11 total=32024434378\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(read(text), Some(Duration::from_micros(32_024_434_378)));
        for other in ["", "full avg10=0.00 total=7", "some avg10=0.55", "some total=-1"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn the_average_follows_the_readings_and_stays_within_its_range() {
        let mut level = 0.0;
        for _ in 0..4 {
            level = average(level, MS * 40, MS * 50);
        }
        assert!((0.7..=0.8).contains(&level), "{level}");
        for _ in 0..20 {
            level = average(level, MS * 500, MS * 50);
        }
        assert!((0.99..=1.0).contains(&level), "{level}");
        assert_eq!(average(0.5, MS, Duration::ZERO), 0.5);
    }

    #[tokio::test(start_paused = true)]
    async fn watching_follows_the_kernel_until_the_stop() {
        let (pressure, stop, start) = (CpuPressure::default(), CancellationToken::new(), Instant::now());
        // Something waits for half of the time.
        let following = tokio::spawn(pressure.clone().follow(move || Some(start.elapsed() / 2), stop.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!((0.45..=0.55).contains(&pressure.level()), "{}", pressure.level());
        stop.cancel();
        following.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn without_reports_of_the_kernel_the_level_stays_zero() {
        let pressure = CpuPressure::default();
        pressure.clone().follow(|| None, CancellationToken::new()).await;
        assert_eq!(pressure.level(), 0.0);
    }
}
