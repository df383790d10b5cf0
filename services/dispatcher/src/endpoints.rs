//! The endpoints that this dispatcher deals with: their gates, and what the database says about them, cached.
//!
//! An entry is good for every message whose `config_version` it knows: the version that it was read at, or a later one
//! that the configuration feed has reached without naming the endpoint. Otherwise it is read again. While the database is
//! away an entry is served as it is, however old; without one the caller waits.
//!
//! Bounded: at most [`Limits::entries`], forgotten when idle. Forgetting takes the pace along, which is learnt anew.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;
use postrider_model::ids::EndpointId;

use crate::breakers::Board;
use crate::gate::{Gate, Sweeper};
use crate::prepared::Prepared;
use crate::strain::Strain;

/// After the database was found away (or a row unreadable), so long nobody asks again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Longest time that a delivery waits for the database.
const LOAD_MAX: Duration = Duration::from_secs(2);

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Endpoints at most; the least recently used go first.
    pub(crate) entries: u64,
    /// An endpoint without deliveries is forgotten after so long.
    pub(crate) idle: Duration,
}

/// What the database says about an endpoint.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// It exists.
    Ready(Arc<Prepared>),
    /// It was deleted (endpoints are committed before any message names them).
    Deleted,
    /// It exists, and cannot be attempted.
    Unusable,
}

/// What was read, and when.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// What it says.
    pub(crate) known: Known,
    /// The configuration version that it was read at.
    pub(crate) config_version: i64,
}

/// The database gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Away;

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The gate before it.
    pub(crate) gate: Arc<Gate>,
    loaded: ArcSwapOption<Loaded>,
    /// The last configuration version that is known to have changed it.
    changed_at: AtomicI64,
    /// One reads, the others wait; when it may be tried again.
    load: tokio::sync::Mutex<Option<Instant>>,
}

impl Entry {
    /// What is known, if it is good for a message that asks for `wanted` while the feed is at `feed`.
    fn good_for(&self, wanted: i64, feed: i64) -> Option<Known> {
        let loaded = self.loaded.load();
        let loaded = loaded.as_ref()?;
        let unchanged = loaded.config_version >= self.changed_at.load(Ordering::Acquire);
        (unchanged && wanted <= loaded.config_version.max(feed)).then(|| loaded.known.clone())
    }
}

/// The cache.
#[derive(Debug)]
pub(crate) struct Endpoints {
    entries: Cache<EndpointId, Arc<Entry>>,
    feed: AtomicI64,
    away_until: Mutex<Option<Instant>>,
    sweeper: Sweeper,
    strain: Strain,
    board: Board,
}

impl Endpoints {
    pub(crate) fn new(limits: Limits, sweeper: Sweeper, strain: Strain, board: Board) -> Self {
        let entries = Cache::builder()
            .max_capacity(limits.entries)
            .time_to_idle(limits.idle)
            // The default policy may refuse to admit an endpoint that is new.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { entries, feed: AtomicI64::new(0), away_until: Mutex::new(None), sweeper, strain, board }
    }

    /// Endpoints in the cache, about.
    pub(crate) fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    /// The endpoint's entry, made when there is none.
    pub(crate) fn entry(&self, id: EndpointId) -> Arc<Entry> {
        self.entries.get(&id).unwrap_or_else(|| {
            self.entries.get_with(id, || {
                let gate = Gate::new(self.sweeper.clone(), self.strain.clone());
                if let Some(known) = self.board.lock().get(id) {
                    gate.adopt(known.state, Duration::ZERO);
                }
                Arc::new(Entry {
                    gate,
                    loaded: ArcSwapOption::empty(),
                    changed_at: AtomicI64::new(0),
                    load: tokio::sync::Mutex::new(None),
                })
            })
        })
    }

    /// The endpoint's entry, if there is one.
    pub(crate) fn met(&self, id: EndpointId) -> Option<Arc<Entry>> {
        self.entries.get(&id)
    }

    /// The feed has reached `version`, and these changed on the way; `None`: any of them may have.
    pub(crate) fn changed(&self, version: i64, ids: Option<&[EndpointId]>) {
        let mark = |entry: &Entry| entry.changed_at.fetch_max(version, Ordering::AcqRel);
        match ids {
            Some(ids) => ids.iter().filter_map(|id| self.entries.get(id)).for_each(|entry| {
                mark(&entry);
            }),
            None => self.entries.iter().for_each(|(_, entry)| {
                mark(&entry);
            }),
        }
        // Only now: until every changed entry is marked, nothing may count as known at this version.
        self.feed.fetch_max(version, Ordering::AcqRel);
    }

    /// What is known about the endpoint without asking anybody, when that is new enough.
    pub(crate) fn known_now(&self, entry: &Entry, wanted: i64) -> Option<Known> {
        entry.good_for(wanted, self.feed.load(Ordering::Acquire))
    }

    /// What is known about an endpoint, good for a message that asks for `wanted`; read by `load` when it must be.
    ///
    /// # Errors
    /// The database is away, and nothing was known before.
    pub(crate) async fn known<F>(&self, entry: &Entry, wanted: i64, load: impl FnOnce() -> F) -> Result<Known, Away>
    where
        F: Future<Output = Result<Loaded, Away>>,
    {
        let good = || self.known_now(entry, wanted);
        let stale = || entry.loaded.load().as_ref().map(|loaded| loaded.known.clone()).ok_or(Away);
        let waited = tokio::time::timeout(LOAD_MAX, entry.load.lock());
        let Ok(mut ask_again_at) = waited.await else { return stale() };
        if let Some(known) = good() {
            return Ok(known);
        }
        let now = Instant::now();
        let too_soon = |until: Option<Instant>| until.is_some_and(|until| now < until);
        if too_soon(*ask_again_at) || too_soon(*self.away_until.lock()) {
            return stale();
        }
        match tokio::time::timeout(LOAD_MAX, load()).await {
            Ok(Ok(loaded)) => {
                // What cannot be attempted is not asked for with every delivery.
                let usable = !matches!(loaded.known, Known::Unusable);
                *ask_again_at = (!usable).then(|| now + ASK_AGAIN_AFTER);
                let known = loaded.known.clone();
                entry.loaded.store(Some(Arc::new(loaded)));
                Ok(known)
            }
            Ok(Err(Away)) | Err(_) => {
                let until = Instant::now() + ASK_AGAIN_AFTER;
                *ask_again_at = Some(until);
                *self.away_until.lock() = Some(until);
                stale()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Case {
        endpoints: Endpoints,
        id: EndpointId,
        loads: AtomicUsize,
    }

    impl Case {
        fn new() -> Self {
            let limits = Limits { entries: 10, idle: Duration::from_secs(60) };
            let endpoints = Endpoints::new(limits, Sweeper::default(), Strain::default(), Board::default());
            Self { endpoints, id: EndpointId::generate(), loads: AtomicUsize::new(0) }
        }

        /// Asks for `wanted` while the database is at `database` (`None`: away); tells whether it was asked and what it said.
        async fn ask(&self, wanted: i64, database: Option<i64>) -> (bool, Result<(), Away>) {
            let before = self.loads.load(Ordering::Relaxed);
            let load = || async {
                self.loads.fetch_add(1, Ordering::Relaxed);
                let known = Known::Deleted;
                database.map(|config_version| Loaded { known, config_version }).ok_or(Away)
            };
            let known = self.endpoints.known(&self.endpoints.entry(self.id), wanted, load).await;
            (self.loads.load(Ordering::Relaxed) > before, known.map(drop))
        }
    }

    const READ: (bool, Result<(), Away>) = (true, Ok(()));
    const SERVED: (bool, Result<(), Away>) = (false, Ok(()));

    #[tokio::test]
    async fn an_entry_serves_what_it_knows_and_is_read_again_for_more() {
        let case = Case::new();
        assert_eq!(case.ask(5, Some(5)).await, READ);
        assert_eq!(case.ask(5, Some(5)).await, SERVED);
        assert_eq!(case.ask(4, Some(5)).await, SERVED);
        assert_eq!(case.ask(6, Some(9)).await, READ);
        assert_eq!(case.ask(9, Some(9)).await, SERVED);
    }

    #[tokio::test]
    async fn the_feed_keeps_an_entry_good_until_it_names_it() {
        let case = Case::new();
        assert_eq!(case.ask(5, Some(5)).await, READ);
        case.endpoints.changed(8, Some(&[EndpointId::generate()]));
        assert_eq!(case.ask(8, Some(8)).await, SERVED);
        case.endpoints.changed(9, Some(&[case.id]));
        assert_eq!(case.ask(5, Some(9)).await, READ);
        assert_eq!(case.ask(9, Some(9)).await, SERVED);
        case.endpoints.changed(12, None);
        assert_eq!(case.ask(5, Some(12)).await, READ);
    }

    #[tokio::test]
    async fn a_change_that_is_told_while_the_entry_is_being_read_is_not_missed() {
        let case = Case::new();
        let entry = case.endpoints.entry(case.id);
        let load = || async {
            case.endpoints.changed(6, Some(&[case.id]));
            Ok(Loaded { known: Known::Deleted, config_version: 5 })
        };
        assert!(case.endpoints.known(&entry, 5, load).await.is_ok());
        assert_eq!(case.ask(5, Some(6)).await, READ);
        assert_eq!(case.ask(5, Some(6)).await, SERVED);
    }

    #[tokio::test]
    async fn a_stale_entry_is_served_while_the_database_is_away_and_without_one_the_caller_waits() {
        let case = Case::new();
        assert_eq!(case.ask(5, None).await, (true, Err(Away)));
        assert_eq!(case.ask(5, None).await, (false, Err(Away)), "asked again too soon");
        *case.endpoints.away_until.lock() = None;
        *case.endpoints.entry(case.id).load.lock().await = None;
        assert_eq!(case.ask(5, Some(5)).await, READ);
        assert_eq!(case.ask(6, None).await, (true, Ok(())));
        assert_eq!(case.ask(6, None).await, SERVED);
        // Others do not ask either, for a second.
        let other = Case { id: EndpointId::generate(), ..case };
        assert_eq!(other.ask(5, Some(5)).await, (false, Err(Away)));
    }

    #[tokio::test]
    async fn a_database_that_hangs_is_away() {
        let case = Case::new();
        let entry = case.endpoints.entry(case.id);
        let known = case.endpoints.known(&entry, 1, std::future::pending).await;
        assert!(matches!(known, Err(Away)));
    }

    #[tokio::test]
    async fn many_that_ask_at_once_read_once() {
        let case = Arc::new(Case::new());
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let case = Arc::clone(&case);
                tokio::spawn(async move { case.ask(3, Some(3)).await.1 })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(()));
        }
        assert_eq!(case.loads.load(Ordering::Relaxed), 1);
    }
}
