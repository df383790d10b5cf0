//! The configuration version that each live instance has applied. An instance is a process. The API responds to an edit once
//! every live instance has applied it, or after a time limit.
//!
//! Each role of an instance announces its version when the version changes, and every [`REPEAT_EVERY`]. An instance without an
//! announcement for [`LIVE_FOR`] is not live: it stopped, or the broker is away. This process enters the versions of its own
//! roles directly, so that they count even without a broker. Nothing is stored on disk: an instance is unknown until its first
//! announcement.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_wire::messages::{AppliedVersion, Hint, ServiceRole};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;

/// The interval at which an instance repeats its version.
const REPEAT_EVERY: Duration = Duration::from_secs(1);
/// The time for which an instance is live after an announcement.
const LIVE_FOR: Duration = Duration::from_secs(3);

/// The versions of live instances. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct AppliedVersions {
    board: Arc<Board>,
}

#[derive(Debug, Default)]
struct Board {
    /// The latest version of each instance and role.
    entries: Mutex<HashMap<(String, ServiceRole), Entry>>,
    changed: Notify,
}

#[derive(Debug)]
struct Entry {
    version: i64,
    /// When the version was last announced; `None` for a role of this process, which is removed when the role ends.
    announced_at: Option<Instant>,
}

impl Entry {
    fn is_live(&self, now: Instant) -> bool {
        self.announced_at.is_none_or(|at| now.saturating_duration_since(at) <= LIVE_FOR)
    }
}

impl AppliedVersions {
    /// Waits until every live instance has applied `version` or a later one, at most for `limit`. Returns the sorted names of
    /// the instances that have not applied it.
    pub async fn wait_for(&self, version: i64, limit: Duration) -> Vec<String> {
        let deadline = Instant::now() + limit;
        loop {
            let mut changed = std::pin::pin!(self.board.changed.notified());
            // Registers before it reads the versions, so that a change in between wakes this wait.
            changed.as_mut().enable();
            let lagging = self.lagging(version);
            if lagging.is_empty() || timeout_at(deadline, changed).await.is_err() {
                return lagging;
            }
        }
    }

    /// The sorted names of the live instances whose version is older than `version`.
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

    fn enter(&self, applied: AppliedVersion, announced_at: Option<Instant>) {
        let AppliedVersion { instance, role, version } = applied;
        let mut entries = self.board.entries.lock();
        let entry = entries.entry((instance, role)).or_insert(Entry { version, announced_at });
        // This process also receives its own announcements, with a delay. They must not replace a version that it entered
        // directly.
        if announced_at.is_none() || entry.announced_at.is_some() {
            *entry = Entry { version, announced_at };
        }
        drop(entries);
        self.board.changed.notify_waiters();
    }

    fn remove(&self, instance: &str, role: ServiceRole) {
        self.board.entries.lock().remove(&(instance.to_owned(), role));
        self.board.changed.notify_waiters();
    }
}

/// A role of this process. Dropping it removes the role from the board.
struct OwnRole {
    board: AppliedVersions,
    instance: String,
    role: ServiceRole,
}

impl Drop for OwnRole {
    fn drop(&mut self) {
        self.board.remove(&self.instance, self.role);
    }
}

impl Broker {
    /// The versions of live instances: of this process, and of other processes while [`Broker::follow_applied_versions`] runs.
    pub fn applied_versions(&self) -> AppliedVersions {
        self.applied().clone()
    }

    /// Announces the version that `role` of this process has applied, until the sender of `versions` is dropped. Version 0
    /// means that no configuration is applied yet, and is not announced.
    pub async fn announce_applied_version(self, role: ServiceRole, mut versions: watch::Receiver<i64>) {
        let sender = self.hint_sender();
        let own = OwnRole { board: self.applied_versions(), instance: self.instance().to_owned(), role };
        drop(self);
        let mut repeat = tokio::time::interval(REPEAT_EVERY);
        repeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let version = *versions.borrow_and_update();
            if version > 0 {
                let applied = AppliedVersion { instance: own.instance.clone(), role, version };
                own.board.enter(applied.clone(), None);
                sender.send(Hint::Applied(applied));
            }
            tokio::select! {
                changed = versions.changed() => if changed.is_err() { return },
                _ = repeat.tick() => {}
            }
        }
    }

    /// Receives the announcements of other processes until `stop`.
    pub async fn follow_applied_versions(self, stop: CancellationToken) {
        let mut hints = self.listen_for_hints(self.hint_sender(), stop);
        let board = self.applied_versions();
        drop(self);
        while let Some(hint) = hints.recv().await {
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
        let (waiting, start) = (board.clone(), Instant::now());
        let waiting = tokio::spawn(async move { waiting.wait_for(7, LIMIT).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        board.enter(applied("b", 8), Some(Instant::now()));
        assert!(waiting.await.unwrap().is_empty());
        assert_eq!(start.elapsed(), Duration::ZERO, "woken, not polled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lagging_instance_is_named_and_a_silent_one_is_ignored() {
        let board = AppliedVersions::default();
        board.enter(applied("slow", 6), Some(Instant::now()));
        assert_eq!(board.wait_for(7, LIMIT).await, ["slow"]);
        tokio::time::advance(LIVE_FOR).await;
        let start = Instant::now();
        assert!(board.wait_for(7, LIMIT).await.is_empty());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_of_this_process_counts_without_a_broker_until_it_ends() {
        let board = AppliedVersions::default();
        let own = OwnRole { board: board.clone(), instance: "own".into(), role: ServiceRole::Ingest };
        board.enter(applied("own", 7), None);
        board.enter(applied("own", 6), Some(Instant::now()));
        assert!(board.wait_for(7, LIMIT).await.is_empty(), "a late announcement of its own does not count");
        tokio::time::advance(LIVE_FOR * 2).await;
        assert_eq!(board.wait_for(8, LIMIT).await, ["own"]);
        drop(own);
        assert!(board.wait_for(8, LIMIT).await.is_empty());
    }
}
