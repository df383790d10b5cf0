//! Which configuration version every live instance has applied, so that the API can answer an edit once all of them have it.
//!
//! Each role announces its version when it changes and every [`REPEAT_EVERY`]. An instance that was not heard for
//! [`LIVE_FOR`] is not waited for: it stopped, or the broker is away. Roles of this very process write to the board directly
//! and are waited for even without a broker.
//!
//! Does not: keep anything on disk, or know an instance before its first announcement.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_wire::messages::{AppliedVersion, Hint, ServiceRole};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;

/// How often an instance repeats which version it has applied.
const REPEAT_EVERY: Duration = Duration::from_secs(1);
/// An instance that was not heard for this long does not count as live.
const LIVE_FOR: Duration = Duration::from_secs(3);

/// The versions that live instances have applied. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct AppliedVersions {
    board: Arc<Board>,
}

#[derive(Debug, Default)]
struct Board {
    /// By instance and role.
    entries: Mutex<HashMap<(String, ServiceRole), Entry>>,
    changed: Notify,
}

#[derive(Debug)]
struct Entry {
    version: i64,
    /// When it was last heard; `None` for a role of this process, which is removed when it ends.
    heard: Option<Instant>,
}

impl Entry {
    fn is_live(&self, now: Instant) -> bool {
        self.heard.is_none_or(|heard| now.saturating_duration_since(heard) <= LIVE_FOR)
    }
}

impl AppliedVersions {
    /// Waits until every live instance has applied `version`, at most for `limit`. Returns the names of the instances that
    /// still lag, sorted; none when all have it.
    pub async fn wait_for(&self, version: i64, limit: Duration) -> Vec<String> {
        let deadline = Instant::now() + limit;
        loop {
            let mut changed = std::pin::pin!(self.board.changed.notified());
            // Registered before the look: a change in between wakes it.
            changed.as_mut().enable();
            let lagging = self.lagging(version);
            if lagging.is_empty() || timeout_at(deadline, changed).await.is_err() {
                return lagging;
            }
        }
    }

    /// Connection instances with an older version than `version`.
    fn lagging(&self, version: i64) -> Vec<String> {
        let now = Instant::now();
        let mut entries = self.board.entries.lock();
        entries.retain(|_, entry| entry.is_live(now));
        let behind = entries.iter().filter(|(_, entry)| entry.version < version);
        let mut instances: Vec<String> = behind.map(|((instance, _), _)| instance.clone()).collect();
        instances.sort();
        instances.dedup();
        instances
    }

    fn enter(&self, applied: AppliedVersion, heard: Option<Instant>) {
        let AppliedVersion { instance, role, version } = applied;
        let mut entries = self.board.entries.lock();
        let entry = entries.entry((instance, role)).or_insert(Entry { version, heard });
        // This process hears its own announcements, too, later than it made them.
        if heard.is_none() || entry.heard.is_some() {
            *entry = Entry { version, heard };
        }
        drop(entries);
        self.board.changed.notify_waiters();
    }

    fn remove(&self, instance: &str, role: ServiceRole) {
        self.board.entries.lock().remove(&(instance.to_owned(), role));
        self.board.changed.notify_waiters();
    }
}

/// Takes a role of this process off the board when it ends.
struct Own {
    board: AppliedVersions,
    instance: String,
    role: ServiceRole,
}

impl Drop for Own {
    fn drop(&mut self) {
        self.board.remove(&self.instance, self.role);
    }
}

impl Broker {
    /// The versions that live instances have applied: those of this process, and others' while
    /// [`Broker::follow_applied_versions`] runs.
    pub fn applied_versions(&self) -> AppliedVersions {
        self.applied().clone()
    }

    /// Announces which version `role` of this process has applied, until the sender of `versions` is dropped. 0 stands for
    /// no configuration yet and is not announced.
    pub async fn announce_applied_version(self, role: ServiceRole, mut versions: watch::Receiver<i64>) {
        let hints = self.hint_sender();
        let own = Own { board: self.applied_versions(), instance: self.instance().to_owned(), role };
        drop(self);
        let mut repeat = tokio::time::interval(REPEAT_EVERY);
        repeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let version = *versions.borrow_and_update();
            if version > 0 {
                let applied = AppliedVersion { instance: own.instance.clone(), role, version };
                own.board.enter(applied.clone(), None);
                hints.send(Hint::Applied(applied));
            }
            tokio::select! {
                changed = versions.changed() => if changed.is_err() { return },
                _ = repeat.tick() => {}
            }
        }
    }

    /// Listens to what other processes announce, until `stop`.
    pub async fn follow_applied_versions(self, stop: CancellationToken) {
        let mut heard = self.listen_for_hints(self.hint_sender(), stop);
        let board = self.applied_versions();
        drop(self);
        while let Some(hint) = heard.recv().await {
            if let Hint::Applied(applied) = hint {
                board.enter(applied, Some(Instant::now()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(500);

    fn applied(instance: &str, version: i64) -> AppliedVersion {
        AppliedVersion { instance: instance.into(), role: ServiceRole::Ingest, version }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_the_last_live_instance_has_the_version() {
        let board = AppliedVersions::default();
        assert!(board.wait_for(7, LIMIT).await.is_empty(), "nothing is live");
        board.enter(applied("a", 7), Some(Instant::now()));
        board.enter(applied("b", 6), Some(Instant::now()));
        let (waiting, begun) = (board.clone(), Instant::now());
        let waiting = tokio::spawn(async move { waiting.wait_for(7, LIMIT).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        board.enter(applied("b", 8), Some(Instant::now()));
        assert!(waiting.await.unwrap().is_empty());
        assert_eq!(begun.elapsed(), Duration::ZERO, "woken, not polled");
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_lags_is_named_and_one_that_fell_silent_is_not_waited_for() {
        let board = AppliedVersions::default();
        board.enter(applied("slow", 6), Some(Instant::now()));
        assert_eq!(board.wait_for(7, LIMIT).await, ["slow"]);
        tokio::time::advance(LIVE_FOR).await;
        let begun = Instant::now();
        assert!(board.wait_for(7, LIMIT).await.is_empty());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_of_this_process_counts_without_a_broker_until_it_ends() {
        let board = AppliedVersions::default();
        let own = Own { board: board.clone(), instance: "own".into(), role: ServiceRole::Ingest };
        board.enter(applied("own", 7), None);
        board.enter(applied("own", 6), Some(Instant::now()));
        assert!(board.wait_for(7, LIMIT).await.is_empty(), "an announcement heard late does not count");
        tokio::time::advance(LIVE_FOR * 2).await;
        assert_eq!(board.wait_for(8, LIMIT).await, ["own"]);
        drop(own);
        assert!(board.wait_for(8, LIMIT).await.is_empty());
    }
}
