//! The brake: while processors are short, the requests of a tenant beyond its share wait a moment.
//!
//! Lanes keep what is delivered apart, but accepting, deciding and recording share the machine too. A producer that waits for its answer
//! sends less, so that a flood takes what the others leave. Nothing accepted is late for it, and nothing is refused unless too much waits
//! already; who is within its share, or alone, never waits.
//!
//! What comes from the exchange is not slowed: its messages would wait before those of others.

use std::time::Duration;

use parking_lot::Mutex;
use postrider_model::fair_share::{ShareRule, TenantShares};
use postrider_model::ids::TenantId;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::cpu_pressure::CpuPressure;
use crate::metrics;
use crate::refused::Refused;

/// Longest wait of a request. It comes off the time that the broker has for its confirm, and leaves some of it.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Requests wait that long at so much more pressure than where they begin to wait.
const PRESSURE_MORE: f64 = 0.2;
/// A tenant's share, as a multiple of what the others send, as long as the brake is hardly pulled.
const TIMES_THE_OTHERS: f64 = 2.0;
/// The same at full strength: little more than what the others send, who send unevenly too.
const TIMES_THE_OTHERS_BRAKED: f64 = 1.25;
/// How much of its share a tenant may send at once: little, for a flood sends it before its first waits.
const AT_ONCE: Duration = Duration::from_millis(100);
/// From its full strength it takes so long to let go: pressure falls for moments, in which all who wait no longer would come together.
const RELEASED_IN: Duration = Duration::from_secs(5);
/// Events that wait at once at most. A single one has not been read yet; a batch has, for it had to be counted.
const WAITING_MAX: usize = 4_096;

/// Who is slowed, and for how long.
pub(crate) struct FairShare {
    shares: Mutex<TenantShares>,
    pressure: CpuPressure,
    /// The pressure from which on requests wait.
    from: f64,
    strength: Mutex<Strength>,
    waiting: Semaphore,
}

/// How hard the brake is pulled, 0 to 1: as hard as it has to be at once, and less only little by little.
struct Strength {
    value: f64,
    at: Instant,
}

impl Strength {
    /// The strength from now on, when so much of it is `needed` (below 0: none, above 1: all).
    fn follow(&mut self, needed: f64, now: Instant) -> f64 {
        let released = now.saturating_duration_since(self.at).as_secs_f64() / RELEASED_IN.as_secs_f64();
        self.value = (self.value - released).max(needed).clamp(0.0, 1.0);
        self.at = now;
        self.value
    }
}

impl FairShare {
    pub(crate) fn new(pressure: CpuPressure, from: f64) -> Self {
        let now = Instant::now();
        Self {
            shares: Mutex::new(TenantShares::new(now.into_std())),
            pressure,
            from,
            strength: Mutex::new(Strength { value: 0.0, at: now }),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    /// Waits if `events` are beyond the tenant's share and processors are short; returns for how long.
    ///
    /// # Errors
    /// 429 with `Retry-After` when too many wait already.
    pub(crate) async fn delay(&self, tenant: TenantId, events: usize) -> Result<Duration, Refused> {
        let now = Instant::now();
        let needed = (self.pressure.level() - self.from) / PRESSURE_MORE;
        let strength = self.strength.lock().follow(needed, now);
        if self.shares.lock().charge(tenant, events, share_at(strength), now.into_std()) || strength == 0.0 {
            return Ok(Duration::ZERO);
        }
        let wait = wait_at(strength);
        let Ok(_waiting) = self.waiting.try_acquire_many(u32::try_from(events).unwrap_or(u32::MAX)) else {
            metrics::limited();
            let detail = "the tenant sends more than its share, processors are short, and too many events wait already";
            return Err(Refused::limited(detail, WAIT_MAX));
        };
        metrics::slowed();
        tokio::time::sleep(wait).await;
        Ok(wait)
    }
}

/// The share of a tenant at this strength.
fn share_at(strength: f64) -> ShareRule {
    let times_the_others = TIMES_THE_OTHERS + (TIMES_THE_OTHERS_BRAKED - TIMES_THE_OTHERS) * strength;
    ShareRule { times_the_others, at_once: AT_ONCE }
}

/// How long to wait at this strength; at random from two thirds of it to all, or those that came together would come together again.
fn wait_at(strength: f64) -> Duration {
    WAIT_MAX.mul_f64(strength * (2.0 + rand::random::<f64>()) / 3.0)
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use postrider_http::problem::Problem;
    use postrider_model::fair_share::SHARE_MIN;

    use super::*;

    const FROM: f64 = 0.3;

    /// A brake that two tenants use, and one of them is beyond its share from now on.
    async fn flooded(level: f64) -> (FairShare, TenantId, TenantId) {
        let (brake, quiet, flooding) =
            (FairShare::new(CpuPressure::at(level), FROM), TenantId::generate(), TenantId::generate());
        brake.delay(quiet, 1).await.unwrap();
        brake.delay(flooding, SHARE_MIN as usize * 100).await.unwrap();
        (brake, quiet, flooding)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_beyond_its_share_waits_while_processors_are_short_and_nobody_else_does() {
        let (brake, quiet, flooding) = flooded(0.8).await;
        assert!((WAIT_MAX / 3 * 2..=WAIT_MAX).contains(&brake.delay(flooding, 1).await.unwrap()));
        assert_eq!(brake.delay(quiet, 1).await.unwrap(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn with_processors_to_spare_nobody_waits() {
        let (brake, _, flooding) = flooded(0.2).await;
        assert_eq!(brake.delay(flooding, 1).await.unwrap(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_is_alone_never_waits() {
        let (brake, tenant) = (FairShare::new(CpuPressure::at(1.0), FROM), TenantId::generate());
        for _ in 0..3 {
            assert_eq!(brake.delay(tenant, 10_000).await.unwrap(), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_too_many_wait_the_next_are_told_to_come_again() {
        let (brake, quiet, flooding) = flooded(1.0).await;
        let waits = join_all((0..=WAITING_MAX).map(|_| brake.delay(flooding, 1))).await;
        let refused: Vec<Problem> = waits.into_iter().filter_map(Result::err).map(Problem::from).collect();
        assert_eq!(refused.len(), 1);
        assert!(brake.delay(flooding, WAITING_MAX + 1).await.is_err(), "a batch counts by its events");
        assert_eq!((refused[0].status, refused[0].retry_after_seconds), (429, Some(3)));
        assert_eq!(brake.delay(quiet, 1).await.unwrap(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_grows_with_the_pressure() {
        let (mild, _, flooding) = flooded(FROM + PRESSURE_MORE / 10.0).await;
        let waited = mild.delay(flooding, 1).await.unwrap();
        assert!((WAIT_MAX / 15..=WAIT_MAX / 10).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_has_the_larger_share_the_less_the_pressure() {
        let sent_before_the_first_wait = |level| async move {
            let (brake, quiet, flooding) =
                (FairShare::new(CpuPressure::at(level), FROM), TenantId::generate(), TenantId::generate());
            // 4,000 a second, as it is seen now.
            brake.delay(quiet, 20_000).await.unwrap();
            let mut sent = 0;
            while brake.delay(flooding, 1).await.unwrap().is_zero() {
                sent += 1;
            }
            sent
        };
        // A tenth of a second's worth of 1.925 and of 1.25 times that.
        let (mild, strong) =
            (sent_before_the_first_wait(FROM + PRESSURE_MORE / 10.0).await, sent_before_the_first_wait(1.0).await);
        assert!((769..=771).contains(&mild) && (499..=501).contains(&strong), "{mild}, {strong}");
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_pressure_has_just_fallen_a_flood_still_waits() {
        let (mut brake, quiet, flooding) = flooded(1.0).await;
        brake.delay(flooding, 1).await.unwrap();
        brake.pressure = CpuPressure::at(0.0);
        assert!(brake.delay(flooding, 1).await.unwrap() >= WAIT_MAX / 4);
        assert_eq!(brake.delay(quiet, 1).await.unwrap(), Duration::ZERO);
    }

    #[test]
    fn a_moment_without_pressure_lets_nobody_through_and_seconds_do() {
        let now = Instant::now();
        let mut strength = Strength { value: 0.0, at: now };
        let mut after = |ms, needed| (strength.follow(needed, now + Duration::from_millis(ms)) * 100.0).round();
        assert_eq!([after(0, -1.5), after(10, 3.5), after(60, -1.5), after(110, 0.2)], [0.0, 100.0, 99.0, 98.0]);
        assert_eq!([after(2_610, -1.5), after(2_700, 0.7), after(9_000, -1.5)], [48.0, 70.0, 0.0]);
    }

    #[test]
    fn those_that_come_together_wait_each_for_another_time() {
        let mut waits: Vec<Duration> = (0..100).map(|_| wait_at(1.0)).collect();
        waits.sort();
        assert!(
            waits[0] >= WAIT_MAX / 3 * 2 && waits[99] <= WAIT_MAX && waits[99] - waits[0] > WAIT_MAX / 6,
            "{waits:?}"
        );
    }
}
