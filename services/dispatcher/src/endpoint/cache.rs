//! Caches the pace of each endpoint, and the endpoint's state in the database.
//!
//! An entry is valid for the configuration version at which it was read. It is also valid for later versions that the
//! configuration feed has reached without reporting a change of the endpoint. A message that needs a newer version causes a
//! read. While the database is unavailable, an entry of any age is used; without an entry, the delivery waits.
//!
//! [`CacheLimits`] limits the size of the cache. An endpoint that was removed from the cache starts again with the pace of a
//! new endpoint.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;
use postrider_model::breaker::BreakerBoard;
use postrider_model::ids::EndpointId;

use super::PreparedEndpoint;
use super::shared_pace::{SharedPace, Sweeper};
use crate::scheduler_lag::SchedulerLag;

/// Minimum time between two reads of an endpoint after a read failed or the endpoint was unusable.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Maximum time that a delivery waits until another task has read the endpoint. The same maximum applies to the delivery's own
/// read.
const LOAD_MAX: Duration = Duration::from_secs(2);

/// The breakers of all endpoints, shared with [`BreakerSync`](crate::breaker_sync::BreakerSync).
pub(crate) type SharedBreakerBoard = Arc<Mutex<BreakerBoard>>;

/// Limits of the cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheLimits {
    /// Maximum number of endpoints. At the maximum, the least recently used endpoint is removed.
    pub(crate) entries: u64,
    /// Time without deliveries after which an endpoint is removed.
    pub(crate) idle: Duration,
}

/// The state of an endpoint in the database.
#[derive(Debug, Clone)]
pub(crate) enum EndpointState {
    /// The endpoint exists.
    Ready(Arc<PreparedEndpoint>),
    /// The endpoint does not exist. It was deleted, because an endpoint is committed before any message refers to it.
    Deleted,
    /// The endpoint exists, but this build and configuration cannot attempt it.
    Unusable,
}

/// The state of an endpoint as read from the database.
#[derive(Debug, Clone)]
pub(crate) struct LoadedEndpoint {
    pub(crate) state: EndpointState,
    /// The configuration version at which the state was read.
    pub(crate) config_version: i64,
}

/// The database did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DatabaseUnavailable;

/// The cache entry of one endpoint.
#[derive(Debug)]
pub(crate) struct CachedEndpoint {
    /// Grants the permits for POSTs to the endpoint.
    pub(crate) pace: Arc<SharedPace>,
    loaded: ArcSwapOption<LoadedEndpoint>,
    /// The newest configuration version that changed the endpoint.
    changed_at: AtomicI64,
    /// The earliest time of the next read. The task that reads the endpoint locks this mutex.
    next_load: tokio::sync::Mutex<Option<Instant>>,
}

impl CachedEndpoint {
    /// Returns the state if it is valid for the configuration version `wanted`. `feed` is the version that the configuration
    /// feed has reached.
    fn covering(&self, wanted: i64, feed: i64) -> Option<EndpointState> {
        let loaded = self.loaded.load();
        let loaded = loaded.as_ref()?;
        let unchanged = loaded.config_version >= self.changed_at.load(Ordering::Acquire);
        (unchanged && wanted <= loaded.config_version.max(feed)).then(|| loaded.state.clone())
    }

    /// Returns the state regardless of its age.
    fn stale(&self) -> Result<EndpointState, DatabaseUnavailable> {
        self.loaded.load().as_ref().map(|loaded| loaded.state.clone()).ok_or(DatabaseUnavailable)
    }
}

/// The cache of all endpoints.
#[derive(Debug)]
pub(crate) struct EndpointCache {
    entries: Cache<EndpointId, Arc<CachedEndpoint>>,
    /// The configuration version that the configuration feed has reached.
    feed: AtomicI64,
    /// The time before which no endpoint is read, set after a failed read.
    unavailable_until: Mutex<Option<Instant>>,
    sweeper: Sweeper,
    scheduler_lag: SchedulerLag,
    board: SharedBreakerBoard,
}

impl EndpointCache {
    pub(crate) fn new(
        limits: CacheLimits,
        sweeper: Sweeper,
        scheduler_lag: SchedulerLag,
        board: SharedBreakerBoard,
    ) -> Self {
        let entries = Cache::builder()
            .max_capacity(limits.entries)
            .time_to_idle(limits.idle)
            // The default eviction policy may refuse to store a new endpoint.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        let unavailable_until = Mutex::new(None);
        Self { entries, feed: AtomicI64::new(0), unavailable_until, sweeper, scheduler_lag, board }
    }

    /// Returns the approximate number of endpoints.
    pub(crate) fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Returns the endpoint's entry. Creates the entry if it does not exist.
    pub(crate) fn get_or_create(&self, id: EndpointId) -> Arc<CachedEndpoint> {
        self.entries.get(&id).unwrap_or_else(|| {
            self.entries.get_with(id, || {
                let pace = SharedPace::new(self.sweeper.clone(), self.scheduler_lag.clone());
                if let Some(known) = self.board.lock().get(id) {
                    pace.adopt(known.state, Duration::ZERO);
                }
                Arc::new(CachedEndpoint {
                    pace,
                    loaded: ArcSwapOption::empty(),
                    changed_at: AtomicI64::new(0),
                    next_load: tokio::sync::Mutex::new(None),
                })
            })
        })
    }

    /// Returns the endpoint's entry, if it exists.
    pub(crate) fn get(&self, id: EndpointId) -> Option<Arc<CachedEndpoint>> {
        self.entries.get(&id)
    }

    /// Marks the `changed` endpoints when the feed reaches `version`. `None` means that any endpoint may have changed.
    pub(crate) fn apply_changes(&self, version: i64, changed: Option<&[EndpointId]>) {
        let mark = |entry: Arc<CachedEndpoint>| {
            entry.changed_at.fetch_max(version, Ordering::AcqRel);
        };
        match changed {
            Some(ids) => ids.iter().filter_map(|id| self.entries.get(id)).for_each(mark),
            None => self.entries.iter().for_each(|(_, entry)| mark(entry)),
        }
        // This update must come last. Otherwise a changed entry could count as valid for this version before it is marked.
        self.feed.fetch_max(version, Ordering::AcqRel);
    }

    /// Returns the cached state if it is valid for the version `wanted`.
    pub(crate) fn cached(&self, entry: &CachedEndpoint, wanted: i64) -> Option<EndpointState> {
        entry.covering(wanted, self.feed.load(Ordering::Acquire))
    }

    /// Returns the state for a message that needs the version `wanted`. Calls `load` if the cached state is not valid for
    /// `wanted`. Of several concurrent callers, one calls `load` and the others wait.
    ///
    /// # Errors
    /// The database is unavailable, and the cache contains no state of the endpoint.
    pub(crate) async fn cached_or_load<F>(
        &self,
        entry: &CachedEndpoint,
        wanted: i64,
        load: impl FnOnce() -> F,
    ) -> Result<EndpointState, DatabaseUnavailable>
    where
        F: Future<Output = Result<LoadedEndpoint, DatabaseUnavailable>>,
    {
        let Ok(mut next_load) = tokio::time::timeout(LOAD_MAX, entry.next_load.lock()).await else {
            return entry.stale();
        };
        if let Some(state) = self.cached(entry, wanted) {
            return Ok(state);
        }
        let now = Instant::now();
        let too_soon = |until: Option<Instant>| until.is_some_and(|until| now < until);
        if too_soon(*next_load) || too_soon(*self.unavailable_until.lock()) {
            return entry.stale();
        }
        match tokio::time::timeout(LOAD_MAX, load()).await {
            Ok(Ok(loaded)) => {
                // Limits how often an unusable endpoint is read.
                let unusable = matches!(loaded.state, EndpointState::Unusable);
                *next_load = unusable.then(|| now + RETRY_AFTER);
                let state = loaded.state.clone();
                entry.loaded.store(Some(Arc::new(loaded)));
                Ok(state)
            }
            Ok(Err(DatabaseUnavailable)) | Err(_) => {
                let until = Instant::now() + RETRY_AFTER;
                *next_load = Some(until);
                *self.unavailable_until.lock() = Some(until);
                entry.stale()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Case {
        endpoints: EndpointCache,
        id: EndpointId,
        loads: AtomicUsize,
    }

    impl Case {
        fn new() -> Self {
            let limits = CacheLimits { entries: 10, idle: Duration::from_secs(60) };
            let endpoints =
                EndpointCache::new(limits, Sweeper::default(), SchedulerLag::default(), SharedBreakerBoard::default());
            Self { endpoints, id: EndpointId::generate(), loads: AtomicUsize::new(0) }
        }

        /// Requests the version `wanted` while the database is at the version `database` (`None`: unavailable). Returns whether
        /// the database was read, and the result.
        async fn ask(&self, wanted: i64, database: Option<i64>) -> (bool, Result<(), DatabaseUnavailable>) {
            let before = self.loads.load(Ordering::Relaxed);
            let load = || async {
                self.loads.fetch_add(1, Ordering::Relaxed);
                let state = EndpointState::Deleted;
                database.map(|config_version| LoadedEndpoint { state, config_version }).ok_or(DatabaseUnavailable)
            };
            let state = self.endpoints.cached_or_load(&self.endpoints.get_or_create(self.id), wanted, load).await;
            (self.loads.load(Ordering::Relaxed) > before, state.map(drop))
        }
    }

    const READ: (bool, Result<(), DatabaseUnavailable>) = (true, Ok(()));
    const SERVED: (bool, Result<(), DatabaseUnavailable>) = (false, Ok(()));

    #[tokio::test]
    async fn an_entry_is_served_up_to_its_version_and_read_again_beyond_it() {
        let case = Case::new();
        assert_eq!(case.ask(5, Some(5)).await, READ);
        assert_eq!(case.ask(5, Some(5)).await, SERVED);
        assert_eq!(case.ask(4, Some(5)).await, SERVED);
        assert_eq!(case.ask(6, Some(9)).await, READ);
        assert_eq!(case.ask(9, Some(9)).await, SERVED);
    }

    #[tokio::test]
    async fn an_entry_is_served_until_the_feed_names_it() {
        let case = Case::new();
        assert_eq!(case.ask(5, Some(5)).await, READ);
        case.endpoints.apply_changes(8, Some(&[EndpointId::generate()]));
        assert_eq!(case.ask(8, Some(8)).await, SERVED);
        case.endpoints.apply_changes(9, Some(&[case.id]));
        assert_eq!(case.ask(5, Some(9)).await, READ);
        assert_eq!(case.ask(9, Some(9)).await, SERVED);
        case.endpoints.apply_changes(12, None);
        assert_eq!(case.ask(5, Some(12)).await, READ);
    }

    #[tokio::test]
    async fn a_change_during_a_read_is_not_missed() {
        let case = Case::new();
        let entry = case.endpoints.get_or_create(case.id);
        let load = || async {
            case.endpoints.apply_changes(6, Some(&[case.id]));
            Ok(LoadedEndpoint { state: EndpointState::Deleted, config_version: 5 })
        };
        assert!(case.endpoints.cached_or_load(&entry, 5, load).await.is_ok());
        assert_eq!(case.ask(5, Some(6)).await, READ);
        assert_eq!(case.ask(5, Some(6)).await, SERVED);
    }

    #[tokio::test]
    async fn without_a_database_an_old_entry_is_served_and_a_new_one_waits() {
        let case = Case::new();
        assert_eq!(case.ask(5, None).await, (true, Err(DatabaseUnavailable)));
        assert_eq!(case.ask(5, None).await, (false, Err(DatabaseUnavailable)), "read again too soon");
        *case.endpoints.unavailable_until.lock() = None;
        *case.endpoints.get_or_create(case.id).next_load.lock().await = None;
        assert_eq!(case.ask(5, Some(5)).await, READ);
        assert_eq!(case.ask(6, None).await, (true, Ok(())));
        assert_eq!(case.ask(6, None).await, SERVED);
        // For one second, no other endpoint is read.
        let other = Case { id: EndpointId::generate(), ..case };
        assert_eq!(other.ask(5, Some(5)).await, (false, Err(DatabaseUnavailable)));
    }

    #[tokio::test]
    async fn a_database_that_hangs_counts_as_unavailable() {
        let case = Case::new();
        let entry = case.endpoints.get_or_create(case.id);
        let state = case.endpoints.cached_or_load(&entry, 1, std::future::pending).await;
        assert!(matches!(state, Err(DatabaseUnavailable)));
    }

    #[tokio::test]
    async fn concurrent_callers_read_once() {
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
