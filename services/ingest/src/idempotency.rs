//! Repeats of events whose producers name an id or an idempotency key. Events without either never come here.
//!
//! What is remembered is what the broker confirmed. A repeat is answered from memory, else from the log of today and
//! yesterday; while the database is away the look-up is skipped, because the id is the same either way and a receiver
//! dedupes by it. Of two repeats at the same moment one publishes and the other waits for it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use postrider_model::ids::{EventId, TenantId};
use postrider_model::time::{Day, UnixMillis};
use postrider_runtime::tasks::Tasks;
use postrider_store::Store;
use tokio::sync::{mpsc, oneshot};

/// An event as producers and consumers know it.
pub(crate) type EventKey = (TenantId, EventId);

/// Most look-ups of one statement.
const LOOKUPS_MAX: usize = 500;

/// What a publish under a producer's id came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is new, and was published.
    Published,
    /// The same event was accepted before.
    Duplicate,
    /// Another event was accepted under this id.
    OtherContent,
}

#[derive(Clone)]
struct Known {
    content_hash: Arc<str>,
    published_here: bool,
}

/// The ids that were confirmed lately.
#[derive(Clone)]
pub(crate) struct Remembered {
    confirmed: moka::future::Cache<EventKey, Known>,
    lookups: mpsc::Sender<(EventKey, oneshot::Sender<Option<String>>)>,
}

impl Remembered {
    /// Remembers up to `capacity` ids. The task that looks others up ends with the last clone of this.
    pub(crate) fn new(capacity: u64, store: Store, tasks: &Tasks) -> Self {
        let (lookups, requests) = mpsc::channel(10_000);
        tasks.spawn("ingest.lookups", look_up(store, requests));
        Self { confirmed: moka::future::Cache::new(capacity), lookups }
    }

    /// Runs `publish` unless the event was accepted before.
    ///
    /// # Errors
    /// What `publish` fails with; then nothing is remembered.
    pub(crate) async fn once<E>(
        &self,
        key: EventKey,
        content_hash: &str,
        publish: impl Future<Output = Result<(), E>>,
    ) -> Result<Seen, Arc<E>>
    where
        E: Send + Sync + 'static,
    {
        let lookup_key = key.clone();
        let entry = self
            .confirmed
            .entry(key)
            .or_try_insert_with(async {
                if let Some(recorded) = self.recorded(lookup_key).await {
                    return Ok(Known { content_hash: recorded.into(), published_here: false });
                }
                publish.await?;
                Ok(Known { content_hash: content_hash.into(), published_here: true })
            })
            .await?;
        let fresh = entry.is_fresh();
        let known = entry.into_value();
        Ok(match () {
            () if known.content_hash.as_ref() != content_hash => Seen::OtherContent,
            () if fresh && known.published_here => Seen::Published,
            () => Seen::Duplicate,
        })
    }

    /// The hash of an event in the log; `None` also when the database does not answer.
    async fn recorded(&self, key: EventKey) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.lookups.try_send((key, answer)).ok()?;
        answered.await.ok().flatten()
    }
}

/// Answers look-ups, as many as wait in one statement.
async fn look_up(store: Store, mut requests: mpsc::Receiver<(EventKey, oneshot::Sender<Option<String>>)>) {
    let mut waiting = Vec::new();
    while requests.recv_many(&mut waiting, LOOKUPS_MAX).await > 0 {
        let keys: Vec<EventKey> = waiting.iter().map(|(key, _)| key.clone()).collect();
        let today: Day = UnixMillis::now().day();
        let found = store.seen(&keys, [today.plus_days(-1), today]).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "look-up of repeats skipped");
            HashMap::new()
        });
        for (key, answer) in waiting.drain(..) {
            // An asker that gave up no longer listens.
            let _ = answer.send(found.get(&key).cloned().flatten());
        }
    }
}
