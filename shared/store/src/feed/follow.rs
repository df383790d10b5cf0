//! The task that runs a feed. It owns one connection and reconnects until the feed is dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_backoff::Backoff;
use tokio::sync::{Notify, mpsc, watch};

use super::read::{current, read};
use super::{Changes, FeedScope, FeedState};
use crate::config::CHANNEL;
use crate::error::StoreError;
use crate::store::Core;

/// The interval at which the version is polled while no notification arrives.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Timeout of reading the version.
const POLL_LIMIT: Duration = Duration::from_secs(5);
/// Timeout of reading a snapshot or changes.
const READ_LIMIT: Duration = Duration::from_secs(120);
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_LONGEST: Duration = Duration::from_secs(2);

/// The task that runs a [`super::Feed`].
pub(super) struct Follower {
    pub(super) store: Core,
    pub(super) what: FeedScope,
    pub(super) changes: mpsc::Sender<Changes>,
    pub(super) state: watch::Sender<FeedState>,
}

/// The feed was dropped.
pub(super) struct Dropped;

impl Follower {
    /// Runs until the feed is dropped.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_LONGEST);
        loop {
            let before = self.state.borrow().confirmed;
            let Err(error) = self.session().await else { return };
            if self.state.borrow().confirmed != before {
                backoff.reset();
            }
            // Logs a warning only for the first failure of an outage; the feed's state shows how old the configuration is.
            if backoff.tries() > 0 {
                tracing::debug!(%error, "cannot follow the configuration; retrying");
            } else {
                tracing::warn!(%error, config.version = self.state.borrow().version, "configuration feed interrupted; reconnecting");
            }
            tokio::select! {
                () = self.changes.closed() => return,
                () = tokio::time::sleep(backoff.next_delay()) => {}
            }
        }
    }

    /// Follows the configuration over one connection until the connection breaks.
    async fn session(&self) -> Result<Dropped, StoreError> {
        let hint = Arc::new(Notify::new());
        let notified = Arc::clone(&hint);
        let (mut client, driver) = self.store.listen(move |_| notified.notify_one()).await?;
        // Listens before it reads the version, so that a commit in between causes a notification and another read.
        within(POLL_LIMIT, async { Ok(client.batch_execute(&format!("LISTEN {CHANNEL}")).await?) }).await?;
        let mut reload = true;
        loop {
            let known = self.state.borrow().version;
            let version = within(POLL_LIMIT, current(&client)).await?;
            if reload || version != known {
                // A version below the last one means that the database was replaced or restored: read everything.
                let since = if known == 0 || version < known { None } else { Some(known) };
                let changes = within(READ_LIMIT, read(&mut client, self.what, since)).await?;
                let version = changes.version;
                if version != known && self.changes.send(changes).await.is_err() {
                    return Ok(Dropped);
                }
                self.confirm(version);
                reload = false;
            } else {
                self.confirm(known);
            }
            tokio::select! {
                () = self.changes.closed() => return Ok(Dropped),
                () = hint.notified() => {}
                () = tokio::time::sleep(POLL_EVERY) => {}
            }
            if driver.is_closed() {
                return Err(StoreError::Unavailable("the connection was closed".into()));
            }
        }
    }

    fn confirm(&self, version: i64) {
        self.state.send_replace(FeedState { version, confirmed: Some(Instant::now()) });
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable(format!("no answer within {limit:?}"));
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}
