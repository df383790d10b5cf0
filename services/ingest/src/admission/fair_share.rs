//! The fair-share throttle: while CPU is short, requests of a tenant that exceeds its share are delayed.
//!
//! Lanes separate deliveries, but accepting, matching and recording share the CPU too. A producer that waits for its answer sends less,
//! so that a flood leaves CPU for others. Accepted events are not delayed, and requests are refused only if too many wait. A tenant
//! within its share, or alone, never waits.
//!
//! Messages from the exchange are not delayed: they would block the messages behind them.

use std::time::Duration;

use parking_lot::Mutex;
use postrider_model::fair_share::{ShareRule, TenantShares};
use postrider_model::ids::TenantId;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::cpu_pressure::CpuPressure;
use crate::metrics;
use crate::refused::Refused;

/// Longest delay of a request. It shortens the time for the broker's confirm, and leaves some of it.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Requests are delayed for the longest time at this much pressure above the threshold.
const PRESSURE_MORE: f64 = 0.2;
/// A tenant's share at minimum strength, as a multiple of the others' rate.
const TIMES_THE_OTHERS: f64 = 2.0;
/// The same at full strength: slightly above the others' average, which itself fluctuates.
const TIMES_THE_OTHERS_BRAKED: f64 = 1.25;
/// The burst of a share: short, because a flood sends it before its first delay.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Time to fall from full strength to none. Pressure drops for moments, in which all delayed requests would otherwise pass together.
const RELEASED_IN: Duration = Duration::from_secs(5);
/// Maximum delayed events. A batch is in memory while it is delayed, because its events had to be counted.
const WAITING_MAX: usize = 4_096;

/// Decides which requests are delayed, and for how long.
pub(crate) struct FairShare {
    shares: Mutex<TenantShares>,
    pressure: CpuPressure,
    /// The pressure above which requests are delayed.
    from: f64,
    strength: Mutex<Strength>,
    waiting: Semaphore,
}

/// The strength of the throttle, 0 to 1: it rises at once and falls slowly.
struct Strength {
    value: f64,
    at: Instant,
}

impl Strength {
    /// The strength from now on, if `needed` is required (below 0: none, above 1: all).
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

    /// Waits if `events` exceed the tenant's share and CPU is short. Returns for how long.
    ///
    /// # Errors
    /// Too many events are delayed already.
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

/// The delay at this strength, jittered to 67-100% so that simultaneous requests do not return together.
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

    /// A throttle for two tenants, of which one exceeds its share.
    async fn flooded(level: f64) -> (FairShare, TenantId, TenantId) {
        let (throttle, quiet, flooding) =
            (FairShare::new(CpuPressure::at(level), FROM), TenantId::generate(), TenantId::generate());
        throttle.delay(quiet, 1).await.unwrap();
        throttle.delay(flooding, SHARE_MIN as usize * 100).await.unwrap();
        (throttle, quiet, flooding)
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_over_its_share_is_delayed_while_cpu_is_short() {
        let (throttle, quiet, flooding) = flooded(0.8).await;
        assert!((WAIT_MAX / 3 * 2..=WAIT_MAX).contains(&throttle.delay(flooding, 1).await.unwrap()));
        assert_eq!(throttle.delay(quiet, 1).await.unwrap(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn without_cpu_pressure_no_request_is_delayed() {
        let (throttle, _, flooding) = flooded(0.2).await;
        assert_eq!(throttle.delay(flooding, 1).await.unwrap(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_alone_is_never_delayed() {
        let (throttle, tenant) = (FairShare::new(CpuPressure::at(1.0), FROM), TenantId::generate());
        for _ in 0..3 {
            assert_eq!(throttle.delay(tenant, 10_000).await.unwrap(), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_too_many_events_are_delayed_the_next_get_429() {
        let (throttle, quiet, flooding) = flooded(1.0).await;
        let waits = join_all((0..=WAITING_MAX).map(|_| throttle.delay(flooding, 1))).await;
        let refused: Vec<Problem> = waits.into_iter().filter_map(Result::err).map(Problem::from).collect();
        assert_eq!(refused.len(), 1);
        assert!(throttle.delay(flooding, WAITING_MAX + 1).await.is_err(), "a batch counts by its events");
        assert_eq!((refused[0].status, refused[0].retry_after_seconds), (429, Some(3)));
        assert_eq!(throttle.delay(quiet, 1).await.unwrap(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_grows_with_the_pressure() {
        let (mild, _, flooding) = flooded(FROM + PRESSURE_MORE / 10.0).await;
        let waited = mild.delay(flooding, 1).await.unwrap();
        assert!((WAIT_MAX / 15..=WAIT_MAX / 10).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_share_of_a_flood_shrinks_as_pressure_grows() {
        let sent_before_the_first_wait = |level| async move {
            let (throttle, quiet, flooding) =
                (FairShare::new(CpuPressure::at(level), FROM), TenantId::generate(), TenantId::generate());
            // 4,000 a second, as it is seen now.
            throttle.delay(quiet, 20_000).await.unwrap();
            let mut sent = 0;
            while throttle.delay(flooding, 1).await.unwrap().is_zero() {
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
    async fn a_flood_is_still_delayed_just_after_the_pressure_falls() {
        let (mut throttle, quiet, flooding) = flooded(1.0).await;
        throttle.delay(flooding, 1).await.unwrap();
        throttle.pressure = CpuPressure::at(0.0);
        assert!(throttle.delay(flooding, 1).await.unwrap() >= WAIT_MAX / 4);
        assert_eq!(throttle.delay(quiet, 1).await.unwrap(), Duration::ZERO);
    }

    #[test]
    fn the_strength_falls_over_seconds_without_pressure() {
        let now = Instant::now();
        let mut strength = Strength { value: 0.0, at: now };
        let mut after = |ms, needed| (strength.follow(needed, now + Duration::from_millis(ms)) * 100.0).round();
        assert_eq!([after(0, -1.5), after(10, 3.5), after(60, -1.5), after(110, 0.2)], [0.0, 100.0, 99.0, 98.0]);
        assert_eq!([after(2_610, -1.5), after(2_700, 0.7), after(9_000, -1.5)], [48.0, 70.0, 0.0]);
    }

    #[test]
    fn simultaneous_requests_are_delayed_for_different_times() {
        let mut waits: Vec<Duration> = (0..100).map(|_| wait_at(1.0)).collect();
        waits.sort();
        assert!(
            waits[0] >= WAIT_MAX / 3 * 2 && waits[99] <= WAIT_MAX && waits[99] - waits[0] > WAIT_MAX / 6,
            "{waits:?}"
        );
    }
}
