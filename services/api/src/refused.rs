//! Requests with unknown keys: limited by address, and reported in the log, a metric and the audit log.
//!
//! Only unknown keys are limited. Valid keys are found first, so guessing cannot lock out a key's holder at the same address.
//! The length of keys makes guessing infeasible.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::{Extensions, StatusCode};
use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use postrider_http::problem::Problem;
use postrider_http::server::Peer;
use postrider_model::limits::{
    REFUSED_KEYS_BURST, REFUSED_KEYS_PER_PEER_BURST, REFUSED_KEYS_PER_PEER_SECOND, REFUSED_KEYS_PER_SECOND,
};
use postrider_store::Store;

use crate::metrics;

/// The response to too many unknown keys.
pub(crate) const TOO_MANY: &str = "too many requests with unknown keys";
/// Minimum time between warnings, and between entries of the audit log.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Maximum addresses tracked. Beyond it, idle addresses are removed.
const PEERS_MAX: usize = 10_000;

type PerPeer = RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>;

/// Where a key was tried.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// In a request to the API.
    Api,
    /// In the dashboard's form.
    SignIn,
}

impl Place {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::SignIn => "sign_in",
        }
    }
}

/// Counts and limits requests with unknown keys.
pub(crate) struct Refused {
    store: Store,
    all: DefaultDirectRateLimiter,
    peers: PerPeer,
    unreported: AtomicU64,
    reported_at: Mutex<Option<Instant>>,
}

impl Refused {
    pub(crate) fn new(store: Store) -> Self {
        metrics::describe();
        let all = Quota::per_second(REFUSED_KEYS_PER_SECOND).allow_burst(REFUSED_KEYS_BURST);
        let peer = Quota::per_second(REFUSED_KEYS_PER_PEER_SECOND).allow_burst(REFUSED_KEYS_PER_PEER_BURST);
        Self {
            store,
            all: RateLimiter::direct(all),
            peers: RateLimiter::hashmap_with_clock(peer, DefaultClock::default()),
            unreported: AtomicU64::new(0),
            reported_at: Mutex::new(None),
        }
    }

    /// Counts a 401 and turns it into a 429 over the limit. Other responses are returned unchanged.
    pub(crate) fn judge(&self, problem: Problem, place: Place, request: &Extensions) -> Problem {
        if problem.status != StatusCode::UNAUTHORIZED.as_u16() {
            return problem;
        }
        match self.count(place, request.get::<Peer>().map(|peer| peer.0)) {
            Ok(()) => problem,
            Err(wait) => Problem::too_many_requests(TOO_MANY, wait),
        }
    }

    /// Counts a request with an unknown key.
    ///
    /// # Errors
    /// How long to wait: the limit is exceeded.
    pub(crate) fn count(&self, place: Place, peer: Option<IpAddr>) -> Result<(), Duration> {
        let peer = peer.map(network);
        metrics::refused_key(place);
        self.report(place, peer);
        self.charge(peer)
    }

    fn charge(&self, peer: Option<IpAddr>) -> Result<(), Duration> {
        let now = DefaultClock::default().now();
        let wait = |wait: Duration| wait.max(Duration::from_secs(1));
        if let Some(peer) = peer {
            if self.peers.len() > PEERS_MAX {
                self.peers.retain_recent();
            }
            self.peers.check_key(&peer).map_err(|over| wait(over.wait_time_from(now)))?;
        }
        self.all.check().map_err(|over| wait(over.wait_time_from(now)))
    }

    /// Warns and writes an entry of the audit log, once a minute.
    fn report(&self, place: Place, peer: Option<IpAddr>) {
        self.unreported.fetch_add(1, Ordering::Relaxed);
        {
            let mut reported_at = self.reported_at.lock();
            if reported_at.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
                return;
            }
            *reported_at = Some(Instant::now());
        }
        let count = self.unreported.swap(0, Ordering::Relaxed);
        let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        tracing::warn!(count, peer, place = place.as_str(), "refused requests with unknown keys");
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.sessions().record_refused_keys(count, &peer).await {
                tracing::debug!(%error, "cannot write refused keys to the audit log");
            }
        });
    }
}

/// The unit of limits by address: an IPv4 address or an IPv6 /64, which is what one host gets.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}
