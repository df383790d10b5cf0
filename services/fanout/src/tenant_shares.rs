//! Fair shares of the live lane. Deliveries of a tenant that exceed its share use the bulk lane, so that they do not delay the
//! live lane.
//!
//! # How a share is calculated
//! The shares depend on the number of each tenant's deliveries that this process created in the last seconds:
//! - A tenant has no limit while no other tenant is active, because it cannot delay another tenant.
//! - Otherwise its share is twice the mean rate of the other active tenants, and at least [`SHARE_MIN`].
//! - A token bucket decides which deliveries are within the share. Its rate is the share, and its size is one second of the
//!   share.
//!
//! The ratios between the tenants' loads are about equal in all processes, so the ratios between the shares are also about
//! equal. [`SHARE_MIN`] applies to each process separately.
//!
//! # What it does not do
//! It refuses no events. Ingest refuses events, by `events_per_second`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use postrider_model::ids::TenantId;

/// Minimum share, in deliveries per second.
const SHARE_MIN: f64 = 200.0;
/// The share as a multiple of the mean rate of the other tenants.
const TIMES_THE_OTHERS: f64 = 2.0;
/// Time constant of the rates, which are exponentially decaying averages.
const DECAY: Duration = Duration::from_secs(5);
/// Time without deliveries after which a tenant is not active.
const ACTIVE_FOR: Duration = Duration::from_secs(5);
/// Interval at which inactive tenants are removed.
const REMOVE_EVERY: Duration = Duration::from_secs(1);

/// The load of one active tenant.
#[derive(Debug)]
struct Load {
    /// The tenant's deliveries per second at `at`.
    rate: f64,
    /// The tokens at `at`. The number is negative after an event with many deliveries.
    tokens: f64,
    at: Instant,
}

/// The load of all active tenants.
#[derive(Debug)]
pub(crate) struct TenantShares {
    tenants: HashMap<TenantId, Load>,
    /// The sum of all tenants' rates at `at`. It decays at the same speed as the rates.
    rate: f64,
    at: Instant,
    removed_at: Instant,
}

fn decayed(rate: f64, since: Instant, now: Instant) -> f64 {
    rate * (-now.saturating_duration_since(since).as_secs_f64() / DECAY.as_secs_f64()).exp()
}

impl TenantShares {
    /// Creates the state before any delivery.
    pub(crate) fn new(now: Instant) -> Self {
        Self { tenants: HashMap::new(), rate: 0.0, at: now, removed_at: now }
    }

    /// Charges deliveries to a tenant. Returns whether they are within the tenant's share.
    pub(crate) fn charge(&mut self, tenant: TenantId, count: usize, now: Instant) -> bool {
        self.remove_inactive(now);
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let others = self.tenants.len() - usize::from(self.tenants.contains_key(&tenant));
        let all = decayed(self.rate, self.at, now);
        let added = count / DECAY.as_secs_f64();
        (self.rate, self.at) = (all + added, now);
        let load = self.tenants.entry(tenant).or_insert(Load { rate: 0.0, tokens: f64::MAX, at: now });
        let own = decayed(load.rate, load.at, now);
        let passed = now.saturating_duration_since(load.at).as_secs_f64();
        (load.rate, load.at) = (own + added, now);
        if others == 0 {
            // If only this tenant was active, its bucket is full when another tenant becomes active.
            load.tokens = f64::MAX;
            return true;
        }
        #[expect(clippy::cast_precision_loss, reason = "a number of tenants")]
        let mean = (all - own).max(0.0) / others as f64;
        let share = SHARE_MIN.max(mean * TIMES_THE_OTHERS);
        load.tokens = (load.tokens + share * passed).min(share);
        let within = load.tokens > 0.0;
        if within {
            load.tokens -= count;
        }
        within
    }

    fn remove_inactive(&mut self, now: Instant) {
        if now.saturating_duration_since(self.removed_at) >= REMOVE_EVERY {
            self.removed_at = now;
            self.tenants.retain(|_, load| now.saturating_duration_since(load.at) < ACTIVE_FOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Simulates tenants with these rates. Returns two numbers for each tenant: its deliveries within its share, and all of its
    /// deliveries, both in the last of the `seconds`.
    fn last_second(seconds: u32, rates: &[u32]) -> Vec<(u32, u32)> {
        let start = Instant::now();
        let mut shares = TenantShares::new(start);
        let tenants: Vec<TenantId> = rates.iter().map(|_| TenantId::generate()).collect();
        let mut counts = vec![(0, 0); rates.len()];
        for ms in 0..seconds * 1_000 {
            for (place, rate) in rates.iter().enumerate() {
                // The number of deliveries that are due in this millisecond.
                let due = u64::from(*rate) * u64::from(ms + 1) / 1_000 - u64::from(*rate) * u64::from(ms) / 1_000;
                for _ in 0..due {
                    let within = shares.charge(tenants[place], 1, start + MS * ms);
                    if ms >= (seconds - 1) * 1_000 {
                        counts[place].0 += u32::from(within);
                        counts[place].1 += 1;
                    }
                }
            }
        }
        counts
    }

    #[test]
    fn a_tenant_that_is_alone_is_always_within_its_share() {
        assert_eq!(last_second(3, &[20_000]), [(20_000, 20_000)]);
    }

    #[test]
    fn a_flood_exceeds_its_share_and_the_other_tenants_do_not() {
        let counts = last_second(20, &[1_000, 100, 100]);
        assert!((190..=260).contains(&counts[0].0), "{counts:?}");
        assert_eq!(counts[1..], [(100, 100), (100, 100)]);
        // Above the minimum, the share depends on the rates of the other tenants.
        let counts = last_second(20, &[5_000, 500]);
        assert!((950..=1_100).contains(&counts[0].0), "{counts:?}");
        assert_eq!(counts[1], (500, 500));
    }

    #[test]
    fn the_burst_of_a_share_is_one_second_of_it() {
        let (now, mut shares, tenant) = (Instant::now(), TenantShares::new(Instant::now()), TenantId::generate());
        // The average spreads these 10,000 deliveries over five seconds: 2,000 per second.
        shares.charge(TenantId::generate(), 10_000, now);
        assert_eq!((0..10_000).filter(|_| shares.charge(tenant, 1, now)).count(), 4_000);
    }

    #[test]
    fn tenants_with_similar_load_are_within_their_shares() {
        for (live, all) in last_second(10, &[2_000, 2_500, 3_000]) {
            assert_eq!(live, all);
        }
    }

    #[test]
    fn a_large_charge_weighs_as_much_as_many_small_ones() {
        let (now, tenant) = (Instant::now(), TenantId::generate());
        let mut shares = TenantShares::new(now);
        shares.charge(TenantId::generate(), 1, now);
        assert!(shares.charge(tenant, 1_000, now));
        assert!(!shares.charge(tenant, 1, now + MS * 1_000));
        assert!(shares.charge(tenant, 1, now + MS * 4_100));
    }

    #[test]
    fn a_tenant_that_stopped_no_longer_limits_others() {
        let (now, tenant) = (Instant::now(), TenantId::generate());
        let mut shares = TenantShares::new(now);
        shares.charge(TenantId::generate(), 1, now);
        shares.charge(tenant, 5_000, now);
        assert!(!shares.charge(tenant, 1, now + MS));
        assert!(shares.charge(tenant, 5_000, now + ACTIVE_FOR + REMOVE_EVERY));
    }
}
