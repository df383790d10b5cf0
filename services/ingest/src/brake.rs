//! The brake: while processors are short, the requests of a tenant beyond its share wait a moment.
//!
//! Lanes keep what is delivered apart, but accepting, deciding and recording share the machine too. A producer that waits for its answer
//! sends less, so that a flood takes what the others leave. Nothing is refused for it and nothing accepted is late; who is within its share,
//! or alone, never waits.
//!
//! What comes from the exchange is not slowed: its messages would wait before those of others.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_model::ids::TenantId;
use postrider_model::shares::Shares;
use postrider_runtime::cpu_pressure::CpuPressure;
use postrider_runtime::problem::Problem;
use tokio::sync::Semaphore;

use crate::metrics;

/// Longest wait of a request.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// They wait that long at so much more pressure than where they begin to wait.
const PRESSURE_MORE: f64 = 0.2;
/// Events that wait at once at most. A single one has not been read yet; a batch has, for it had to be counted.
const WAITING_MAX: usize = 4_096;

/// Who is slowed, and for how long.
pub(crate) struct Brake {
    shares: Mutex<Shares>,
    pressure: CpuPressure,
    /// The pressure from which on requests wait.
    from: f64,
    waiting: Semaphore,
}

impl Brake {
    pub(crate) fn new(pressure: CpuPressure, from: f64) -> Self {
        Self { shares: Mutex::new(Shares::new(Instant::now())), pressure, from, waiting: Semaphore::new(WAITING_MAX) }
    }

    /// Waits if `events` are beyond the tenant's share and processors are short; returns for how long.
    ///
    /// # Errors
    /// 429 with `Retry-After` when too many wait already.
    pub(crate) async fn wait(&self, tenant: TenantId, events: usize) -> Result<Duration, Problem> {
        let within = self.shares.lock().charge(tenant, events, Instant::now());
        let wait = if within { Duration::ZERO } else { wait_for(self.pressure.level() - self.from) };
        if wait.is_zero() {
            return Ok(wait);
        }
        let Ok(_waiting) = self.waiting.try_acquire_many(u32::try_from(events).unwrap_or(u32::MAX)) else {
            metrics::limited();
            let detail = "the tenant sends more than its share, processors are short, and too many events wait already";
            return Err(Problem::too_many_requests(detail, WAIT_MAX));
        };
        metrics::slowed();
        tokio::time::sleep(wait).await;
        Ok(wait)
    }
}

/// How long to wait at so much pressure too much; at random from half of it to all, or those that came together would come together
/// again.
fn wait_for(pressure: f64) -> Duration {
    longest_wait_for(pressure).mul_f64(0.5 + 0.5 * rand::random::<f64>())
}

fn longest_wait_for(pressure: f64) -> Duration {
    WAIT_MAX.mul_f64((pressure / PRESSURE_MORE).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use postrider_model::shares::SHARE_MIN;

    use super::*;

    const FROM: f64 = 0.3;

    /// A brake that two tenants use, and one of them is beyond its share from now on.
    async fn flooded(level: f64) -> (Brake, TenantId, TenantId) {
        let (brake, quiet, flooding) =
            (Brake::new(CpuPressure::at(level), FROM), TenantId::generate(), TenantId::generate());
        brake.wait(quiet, 1).await.unwrap();
        brake.wait(flooding, SHARE_MIN as usize * 100).await.unwrap();
        (brake, quiet, flooding)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_beyond_its_share_waits_while_processors_are_short_and_nobody_else_does() {
        let (brake, quiet, flooding) = flooded(0.8).await;
        assert!((WAIT_MAX / 2..=WAIT_MAX).contains(&brake.wait(flooding, 1).await.unwrap()));
        assert_eq!(brake.wait(quiet, 1).await.unwrap(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn with_processors_to_spare_nobody_waits() {
        let (brake, _, flooding) = flooded(0.2).await;
        assert_eq!(brake.wait(flooding, 1).await.unwrap(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_is_alone_never_waits() {
        let (brake, tenant) = (Brake::new(CpuPressure::at(1.0), FROM), TenantId::generate());
        for _ in 0..3 {
            assert_eq!(brake.wait(tenant, 10_000).await.unwrap(), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_too_many_wait_the_next_are_told_to_come_again() {
        let (brake, quiet, flooding) = flooded(1.0).await;
        let waits = join_all((0..=WAITING_MAX).map(|_| brake.wait(flooding, 1))).await;
        let refused: Vec<&Problem> = waits.iter().filter_map(|wait| wait.as_ref().err()).collect();
        assert_eq!(refused.len(), 1);
        assert!(brake.wait(flooding, WAITING_MAX + 1).await.is_err(), "a batch counts by its events");
        assert_eq!((refused[0].status, refused[0].retry_after_seconds), (429, Some(2)));
        assert_eq!(brake.wait(quiet, 1).await.unwrap(), Duration::ZERO);
    }

    #[test]
    fn the_wait_grows_with_the_pressure() {
        let ms = |too_much| longest_wait_for(too_much).as_millis();
        assert_eq!([-0.3, 0.0, 0.1, 0.2, 0.7].map(ms), [0, 0, 1_000, 2_000, 2_000]);
    }

    #[test]
    fn those_that_come_together_wait_each_for_another_time() {
        let mut waits: Vec<Duration> = (0..100).map(|_| wait_for(PRESSURE_MORE)).collect();
        waits.sort();
        assert!(waits[0] >= WAIT_MAX / 2 && waits[99] <= WAIT_MAX && waits[99] - waits[0] > WAIT_MAX / 4, "{waits:?}");
    }
}
