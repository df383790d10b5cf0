//! A document of the provider that is kept in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::error::SignInError;

/// Time between two requests while the provider is not available.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long a document is used while it cannot be read again. A key that the provider has withdrawn is not trusted for longer.
const STALE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// A document that is fetched when it is needed. While it is fetched, other callers wait for the same answer.
pub(crate) struct Cached<T>(Mutex<State<T>>);

struct State<T> {
    fetched: Option<(Arc<T>, Instant)>,
    failed: Option<(SignInError, Instant)>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Mutex::new(State { fetched: None, failed: None }))
    }
}

impl<T> Cached<T> {
    /// Returns the document. Runs `fetch` if the document is older than `age_max`. If that fails, returns the older document, or the
    /// error if there is none.
    pub(crate) async fn get<F>(&self, age_max: Duration, fetch: F) -> Result<Arc<T>, SignInError>
    where
        F: Future<Output = Result<T, SignInError>>,
    {
        let mut state = self.0.lock().await;
        if let Some((document, at)) = &state.fetched
            && at.elapsed() < age_max
        {
            return Ok(Arc::clone(document));
        }
        let recent = state.failed.as_ref().filter(|(_, at)| at.elapsed() < RETRY_AFTER);
        let error = match recent {
            Some((error, _)) => error.clone(),
            None => match fetch.await {
                Ok(document) => {
                    let document = Arc::new(document);
                    *state = State { fetched: Some((Arc::clone(&document), Instant::now())), failed: None };
                    return Ok(document);
                }
                Err(error) => {
                    state.failed = Some((error.clone(), Instant::now()));
                    error
                }
            },
        };
        match &state.fetched {
            Some((document, at)) if at.elapsed() < STALE_MAX => {
                tracing::warn!(%error, "cannot read the identity provider's configuration again; using the last one");
                Ok(Arc::clone(document))
            }
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn away() -> SignInError {
        SignInError::Unavailable("away".into())
    }

    #[tokio::test]
    async fn a_document_is_fetched_once_and_outlives_a_failure() {
        let cached = Cached::default();
        assert_eq!(*cached.get(HOUR, async { Ok(1) }).await.unwrap(), 1);
        assert_eq!(*cached.get(HOUR, async { Ok(2) }).await.unwrap(), 1);
        assert_eq!(*cached.get(Duration::ZERO, async { Ok(3) }).await.unwrap(), 3);
        assert_eq!(*cached.get(Duration::ZERO, async { Err(away()) }).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_failure_is_repeated_for_a_while_without_a_request() {
        let cached: Cached<u8> = Cached::default();
        assert_eq!(cached.get(HOUR, async { Err(away()) }).await, Err(away()));
        assert_eq!(cached.get(HOUR, async { Ok(1) }).await, Err(away()), "no request within 5 s");
    }
}
