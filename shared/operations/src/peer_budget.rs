//! A budget of requests for each client address.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// Number of tracked addresses above which idle addresses are removed.
const PEERS_MAX: usize = 10_000;

/// A budget for each client address, which refills at a constant rate.
pub(crate) struct PeerBudget(RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>);

impl PeerBudget {
    pub(crate) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self(RateLimiter::hashmap_with_clock(quota, DefaultClock::default()))
    }

    /// Charges a request to an address, or returns how long it must wait.
    pub(crate) fn charge(&self, peer: IpAddr) -> Result<(), Duration> {
        if self.0.len() > PEERS_MAX {
            self.0.retain_recent();
        }
        self.0.check_key(&network(peer)).map_err(|over| over.wait_time_from(DefaultClock::default().now()))
    }
}

/// Returns the address or network that shares a limit: an IPv4 address, or the /64 network of an IPv6 address, because one host
/// usually has a whole /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_budget() {
        let one = NonZeroU32::MIN;
        let budget = PeerBudget::new(one, one);
        let check = |peer: &str| budget.charge(peer.parse().unwrap()).is_ok();
        assert!(check("192.0.2.1") && check("192.0.2.2") && check("2001:db8::1"));
        assert!(!check("::ffff:192.0.2.1") && !check("2001:db8::2"), "one address, and one network of a host");
    }
}
