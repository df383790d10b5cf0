//! The provider's public keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use parking_lot::Mutex;

use crate::cached::Cached;
use crate::error::SignInError;

/// How long keys are used before they are read again.
const KEYS_KEPT: Duration = Duration::from_secs(3_600);
/// Minimum time between two searches for an unknown key.
const SEARCH_EVERY: Duration = Duration::from_secs(60);

/// The keys. A provider may replace its keys at any time: a token with an unknown key causes a search for new keys.
#[derive(Default)]
pub(crate) struct Keys {
    cached: Cached<JwkSet>,
    searched_at: Mutex<Option<Instant>>,
}

impl Keys {
    /// Returns the keys.
    pub(crate) async fn current<F>(&self, fetch: F) -> Result<Arc<JwkSet>, SignInError>
    where
        F: Future<Output = Result<JwkSet, SignInError>>,
    {
        self.cached.get(KEYS_KEPT, fetch).await
    }

    /// Reads the keys again because a token names an unknown key. Returns `None` if that was done less than a minute ago.
    pub(crate) async fn search<F>(&self, fetch: F) -> Result<Option<Arc<JwkSet>>, SignInError>
    where
        F: Future<Output = Result<JwkSet, SignInError>>,
    {
        {
            let mut searched_at = self.searched_at.lock();
            if searched_at.is_some_and(|at| at.elapsed() < SEARCH_EVERY) {
                return Ok(None);
            }
            *searched_at = Some(Instant::now());
        }
        self.cached.get(Duration::ZERO, fetch).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unknown_keys_cause_one_search_a_minute() {
        let keys = Keys::default();
        let empty = || std::future::ready(Ok(JwkSet { keys: Vec::new() }));
        assert!(keys.current(empty()).await.is_ok());
        assert!(keys.search(empty()).await.unwrap().is_some());
        let unexpected = || std::future::poll_fn(|_| panic!("a second request"));
        assert!(keys.search(unexpected()).await.unwrap().is_none());
        assert!(keys.current(unexpected()).await.is_ok());
    }
}
