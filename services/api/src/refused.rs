//! Keys that do not exist: who tries them is limited, and it is seen, in the log, in a metric and in the audit log.
//!
//! Only refusals are limited. A key that exists is found before, so that nobody can keep its holder out by guessing from the same
//! address. What keeps guessing hopeless is the length of keys.

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

/// The answer to too many keys that do not exist.
pub(crate) const TOO_MANY: &str = "too many keys that do not exist were tried";
/// One warning, and one entry of the audit log, in this time.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Addresses that are remembered; then those that did nothing lately are forgotten.
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

/// Counts keys that do not exist.
pub(crate) struct Refused {
    store: Store,
    all: DefaultDirectRateLimiter,
    peers: PerPeer,
    untold: AtomicU64,
    told_at: Mutex<Option<Instant>>,
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
            untold: AtomicU64::new(0),
            told_at: Mutex::new(None),
        }
    }

    /// What to answer to a key that was not found: a 401 counts, and becomes a 429 for those who try too many; anything else stays.
    pub(crate) fn judge(&self, problem: Problem, place: Place, request: &Extensions) -> Problem {
        if problem.status != StatusCode::UNAUTHORIZED.as_u16() {
            return problem;
        }
        match self.count(place, request.get::<Peer>().map(|peer| peer.0)) {
            Ok(()) => problem,
            Err(wait) => Problem::too_many_requests(TOO_MANY, wait),
        }
    }

    /// Counts a key that does not exist.
    ///
    /// # Errors
    /// When to try again: too many such keys were tried.
    pub(crate) fn count(&self, place: Place, peer: Option<IpAddr>) -> Result<(), Duration> {
        let peer = peer.map(network);
        metrics::refused_key(place);
        self.tell(place, peer);
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

    /// Warns, and writes it into the audit log, once a minute.
    fn tell(&self, place: Place, peer: Option<IpAddr>) {
        self.untold.fetch_add(1, Ordering::Relaxed);
        {
            let mut told_at = self.told_at.lock();
            if told_at.is_some_and(|at| at.elapsed() < TOLD_EVERY) {
                return;
            }
            *told_at = Some(Instant::now());
        }
        let count = self.untold.swap(0, Ordering::Relaxed);
        let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        tracing::warn!(count, peer, place = place.as_str(), "keys were tried that do not exist");
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.sessions().record_refused_keys(count, &peer).await {
                tracing::debug!(%error, "refused keys are not in the audit log");
            }
        });
    }
}

/// What counts as one address: of IPv6 a /64, which is what one host gets.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}
