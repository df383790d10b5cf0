//! Each tenant's share, so that a burst of one tenant waits behind itself and not before the others.
//!
//! # How it is decided
//! By what tenants cause, as seen by this process over the last seconds:
//! - a tenant that is alone has no share to keep to: there is nobody whom it could delay;
//! - else its share is a multiple of the mean rate of the other active tenants, and at least [`SHARE_MIN`];
//! - a token bucket of that rate tells what is within the share. Multiple and depth are the [`Rule`] of whoever asks.
//!
//! Ingest counts events and slows the producers of what is beyond while processors are short. Fan-out counts deliveries (an event
//! for a hundred endpoints weighs a hundred; only there the number is known, and there events that came by HTTP and by the exchange
//! meet) and gives what is beyond to the bulk lane. Several processes divide everybody's events alike, so that shares stay in
//! proportion; only the least share counts for each of them.
//!
//! # What it does not
//! It refuses nothing (`events_per_second` does, at ingest), and what is beyond a share is late only while something is short: the
//! processors at ingest, the bulk lane's slots after fan-out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ids::TenantId;

/// Events or deliveries a second that are within any tenant's share.
pub const SHARE_MIN: f64 = 200.0;
/// How long what happened counts: rates are averages that fade with this time.
const FADES_IN: Duration = Duration::from_secs(5);
/// A tenant without an event for so long is not active.
const ACTIVE_FOR: Duration = Duration::from_secs(5);
/// How often the tenants that are no longer active are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// How large a share is.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// As a multiple of what the other tenants cause on average; at least 1.
    pub times_the_others: f64,
    /// How much of it may come at once: what it allows in that time, and at least what [`SHARE_MIN`] allows in a second.
    pub at_once: Duration,
}

/// One active tenant.
#[derive(Debug)]
struct Recent {
    /// What it causes a second, as of `at`.
    rate: f64,
    /// What it may still cause at once, as of `at`; below zero by an event with many deliveries.
    tokens: f64,
    at: Instant,
}

/// All active tenants.
#[derive(Debug)]
pub struct Shares {
    tenants: HashMap<TenantId, Recent>,
    /// The sum of all rates, as of `at`: they fade alike, so their sum fades as they do.
    rate: f64,
    at: Instant,
    forgotten_at: Instant,
}

fn faded(rate: f64, since: Instant, now: Instant) -> f64 {
    rate * (-now.saturating_duration_since(since).as_secs_f64() / FADES_IN.as_secs_f64()).exp()
}

impl Shares {
    /// Of nobody.
    pub fn new(now: Instant) -> Self {
        Self { tenants: HashMap::new(), rate: 0.0, at: now, forgotten_at: now }
    }

    /// Charges events or deliveries to a tenant; tells whether they are within its share.
    pub fn charge(&mut self, tenant: TenantId, count: usize, rule: Rule, now: Instant) -> bool {
        self.forget_inactive(now);
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let others = self.tenants.len() - usize::from(self.tenants.contains_key(&tenant));
        let all = faded(self.rate, self.at, now);
        let added = count / FADES_IN.as_secs_f64();
        (self.rate, self.at) = (all + added, now);
        let recent = self.tenants.entry(tenant).or_insert(Recent { rate: 0.0, tokens: f64::MAX, at: now });
        let own = faded(recent.rate, recent.at, now);
        let passed = now.saturating_duration_since(recent.at).as_secs_f64();
        (recent.rate, recent.at) = (own + added, now);
        if others == 0 {
            // Whoever is alone begins with a full bucket when another comes.
            recent.tokens = f64::MAX;
            return true;
        }
        #[expect(clippy::cast_precision_loss, reason = "a number of tenants")]
        let mean = (all - own).max(0.0) / others as f64;
        let share = SHARE_MIN.max(mean * rule.times_the_others);
        let at_once = SHARE_MIN.max(share * rule.at_once.as_secs_f64());
        recent.tokens = (recent.tokens + share * passed).min(at_once);
        let within = recent.tokens > 0.0;
        if within {
            recent.tokens -= count;
        }
        within
    }

    fn forget_inactive(&mut self, now: Instant) {
        if now.saturating_duration_since(self.forgotten_at) >= FORGET_EVERY {
            self.forgotten_at = now;
            self.tenants.retain(|_, recent| now.saturating_duration_since(recent.at) < ACTIVE_FOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const TWICE: Rule = Rule { times_the_others: 2.0, at_once: Duration::from_secs(1) };

    /// What of each tenant was within its share, and all, in the last of `seconds`, when each causes so many a second.
    fn last_second(seconds: u32, rates: &[u32], rule: Rule) -> Vec<(u32, u32)> {
        let start = Instant::now();
        let mut shares = Shares::new(start);
        let tenants: Vec<TenantId> = rates.iter().map(|_| TenantId::generate()).collect();
        let mut counts = vec![(0, 0); rates.len()];
        for ms in 0..seconds * 1_000 {
            for (place, rate) in rates.iter().enumerate() {
                // So many by now, and so many before.
                let due = u64::from(*rate) * u64::from(ms + 1) / 1_000 - u64::from(*rate) * u64::from(ms) / 1_000;
                for _ in 0..due {
                    let within = shares.charge(tenants[place], 1, rule, start + MS * ms);
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
    fn a_tenant_that_is_alone_is_within_its_share_whatever_it_sends() {
        assert_eq!(last_second(3, &[20_000], TWICE), [(20_000, 20_000)]);
    }

    #[test]
    fn what_a_flood_sends_is_beyond_its_share_and_nothing_of_the_others_is() {
        let counts = last_second(20, &[1_000, 100, 100], TWICE);
        assert!((190..=260).contains(&counts[0].0), "{counts:?}");
        assert_eq!(counts[1..], [(100, 100), (100, 100)]);
        // Above the least share it follows what the others do.
        let counts = last_second(20, &[5_000, 500], TWICE);
        assert!((950..=1_100).contains(&counts[0].0), "{counts:?}");
        assert_eq!(counts[1], (500, 500));
    }

    #[test]
    fn a_rule_says_how_large_a_share_is_and_how_much_of_it_may_come_at_once() {
        let rule = Rule { times_the_others: 1.25, at_once: MS * 100 };
        let counts = last_second(20, &[8_000, 800], rule);
        assert!((980..=1_080).contains(&counts[0].0), "{counts:?}");
        assert_eq!(counts[1], (800, 800));
        let at_once = |rule| {
            let (now, mut shares, tenant) = (Instant::now(), Shares::new(Instant::now()), TenantId::generate());
            // 10,000 in the last five seconds, as seen now: 2,000 a second.
            shares.charge(TenantId::generate(), 10_000, rule, now);
            (0..10_000).filter(|_| shares.charge(tenant, 1, rule, now)).count()
        };
        assert_eq!(
            [MS, MS * 100, MS * 1_000].map(|at_once| Rule { times_the_others: 2.0, at_once }).map(at_once),
            [200, 400, 4_000]
        );
    }

    #[test]
    fn tenants_that_send_alike_are_all_within_their_shares() {
        for (live, all) in last_second(10, &[2_000, 2_500, 3_000], TWICE) {
            assert_eq!(live, all);
        }
    }

    #[test]
    fn one_that_causes_much_at_once_weighs_as_much_as_many() {
        let (now, tenant) = (Instant::now(), TenantId::generate());
        let mut shares = Shares::new(now);
        shares.charge(TenantId::generate(), 1, TWICE, now);
        assert!(shares.charge(tenant, 1_000, TWICE, now));
        assert!(!shares.charge(tenant, 1, TWICE, now + MS * 1_000));
        assert!(shares.charge(tenant, 1, TWICE, now + MS * 4_100));
    }

    #[test]
    fn a_tenant_that_stopped_is_nobodys_neighbour_any_more() {
        let (now, tenant) = (Instant::now(), TenantId::generate());
        let mut shares = Shares::new(now);
        shares.charge(TenantId::generate(), 1, TWICE, now);
        shares.charge(tenant, 5_000, TWICE, now);
        assert!(!shares.charge(tenant, 1, TWICE, now + MS));
        assert!(shares.charge(tenant, 5_000, TWICE, now + ACTIVE_FOR + FORGET_EVERY));
    }
}
