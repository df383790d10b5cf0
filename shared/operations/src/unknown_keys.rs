//! Limits requests with unknown keys and refused sign-ins, for each address and in total. Reports them in the log, a metric and the audit log.
//!
//! Requests with a known key are not limited here, so an attacker who guesses keys cannot lock out the holder of a key at the
//! same address. Keys are too long to be guessed.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use postrider_model::limits::{
    REFUSED_KEYS_BURST, REFUSED_KEYS_PER_PEER_BURST, REFUSED_KEYS_PER_PEER_SECOND, REFUSED_KEYS_PER_SECOND,
};
use postrider_store::Store;

use crate::error::Error;
use crate::metrics::{self, Interface};
use crate::peer_budget::{PeerBudget, network};

/// Minimum time between two warnings, and between two entries of the audit log.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Counts and limits requests with unknown keys.
pub(crate) struct UnknownKeys {
    store: Store,
    all: DefaultDirectRateLimiter,
    peers: PeerBudget,
    unreported: AtomicU64,
    reported_at: Mutex<Option<Instant>>,
}

impl UnknownKeys {
    pub(crate) fn new(store: Store) -> Self {
        metrics::describe();
        let all = Quota::per_second(REFUSED_KEYS_PER_SECOND).allow_burst(REFUSED_KEYS_BURST);
        Self {
            store,
            all: RateLimiter::direct(all),
            peers: PeerBudget::new(REFUSED_KEYS_PER_PEER_SECOND, REFUSED_KEYS_PER_PEER_BURST),
            unreported: AtomicU64::new(0),
            reported_at: Mutex::new(None),
        }
    }

    /// Counts a request with an unknown key.
    ///
    /// # Errors
    /// [`Error::TooMany`] if there were too many such requests, from this address or in total.
    pub(crate) fn count(&self, place: Interface, peer: Option<IpAddr>) -> Result<(), Error> {
        let peer = peer.map(network);
        metrics::refused_key(place);
        self.report(place, peer);
        let too_many = |wait| Error::too_many("too many requests with unknown keys or refused sign-ins", wait);
        self.charge(peer).map_err(too_many)
    }

    fn charge(&self, peer: Option<IpAddr>) -> Result<(), Duration> {
        let now = DefaultClock::default().now();
        if let Some(peer) = peer {
            self.peers.charge(peer)?;
        }
        self.all.check().map_err(|over| over.wait_time_from(now))
    }

    /// Logs a warning and writes an entry of the audit log, at most once a minute.
    fn report(&self, place: Interface, peer: Option<IpAddr>) {
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
        tracing::warn!(count, peer, place = place.as_str(), "refused requests with unknown keys, or sign-ins");
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.sessions().record_refused_keys(count, &peer).await {
                tracing::debug!(%error, "cannot write refused keys to the audit log");
            }
        });
    }
}
