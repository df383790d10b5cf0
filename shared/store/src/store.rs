//! The store: one connection pool, shared by handles for one concern each.
//!
//! A service takes only the handles that it needs, such as [`ConfigFeed`], so that its types show what it can read and change.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Object;
use postrider_backoff::Backoff;
use tokio_util::sync::CancellationToken;

use crate::audit_log::Acting;
use crate::crypto::MasterKeys;
use crate::error::StoreError;
use crate::partitions::KnownPartitions;
use crate::pool::{Driver, Pool, PoolUsage, StoreConfig};
use crate::record::ConflictCooldown;
use crate::sql::{FromRow, Params, read_all, read_optional};

/// The pause after the database refused the login.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// First and longest pause between connection attempts while the database is away.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The handle for all concerns. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Handles>);

/// The part of a handle that uses the pool; all handles share the pool.
#[derive(Clone)]
pub(crate) struct Core {
    shared: Arc<Shared>,
    /// The actor as which changes are made.
    pub(crate) acting: Acting,
}

struct Shared {
    pool: Pool,
    keys: MasterKeys,
    partitions: KnownPartitions,
    conflict_cooldown: ConflictCooldown,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("keys", &self.shared.keys).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.0.core).finish()
    }
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident = $accessor:ident;)+) => {
        $(
            $(#[$doc])*
            ///
            /// A handle that uses the store's pool; cheap to clone.
            #[derive(Debug, Clone)]
            pub struct $name(pub(crate) Core);
        )+

        struct Handles {
            core: Core,
            $($accessor: $name,)+
        }

        impl Handles {
            fn new(core: Core) -> Self {
                Self { $($accessor: $name(core.clone()),)+ core }
            }
        }

        impl Store {
            $(
                $(#[$doc])*
                pub fn $accessor(&self) -> &$name {
                    &self.0.$accessor
                }
            )+
        }
    };
}

handles! {
    /// Reads and edits configuration: tenants, keys, endpoints, event types.
    ConfigStore = config;
    /// Follows the configuration; changes nothing.
    ConfigFeed = feed;
    /// Reads the history: events, decisions, deliveries, attempts, dead letters and statistics. Also reads the audit log.
    History = history;
    /// Writes the history and maintains its partitions.
    RecordStore = record;
    /// Claims event ids.
    ClaimStore = claims;
    /// Dashboard sessions, the results of forms that were submitted in them, and saved views of the dashboard's lists.
    SessionStore = sessions;
    /// Claims and responses of requests with an `Idempotency-Key`.
    IdempotencyStore = idempotency;
    /// Reports of running processes.
    ServiceRegistry = services;
    /// The lines of ordered endpoints.
    LineStore = lines;
}

impl Store {
    /// Prepares the pool without connecting, because the database may be away.
    ///
    /// # Errors
    /// [`StoreError::Settings`]: the URL does not parse, or the CA file cannot be read.
    pub fn connect(config: StoreConfig, keys: MasterKeys) -> Result<Self, StoreError> {
        let shared = Shared {
            pool: Pool::new(&config)?,
            keys,
            partitions: KnownPartitions::default(),
            conflict_cooldown: ConflictCooldown::default(),
        };
        Ok(Self(Arc::new(Handles::new(Core { shared: Arc::new(shared), acting: Acting::default() }))))
    }

    /// Returns a handle to the same store that records changes as made by `acting`. The default actor is Postrider itself.
    #[must_use]
    pub fn acting_as(&self, acting: Acting) -> Self {
        Self(Arc::new(Handles::new(Core { shared: Arc::clone(&self.core().shared), acting })))
    }

    /// Waits until the database answers, even if it refuses the login at first. Returns `false` if `stop` is cancelled first.
    pub async fn wait_ready(&self, stop: &CancellationToken) -> bool {
        loop {
            match self.wait_unless_refused(stop).await {
                Ok(ready) => return ready,
                Err(error) => tracing::error!(
                    %error,
                    retry_in_ms = REFUSED_PAUSE.as_millis(),
                    "the database refuses POSTRIDER_DATABASE_URL: correct the login, or create the database"
                ),
            }
            if stop.run_until_cancelled(tokio::time::sleep(REFUSED_PAUSE)).await.is_none() {
                return false;
            }
        }
    }

    /// Like [`Store::wait_ready`], but returns an error if the database refuses the login.
    ///
    /// # Errors
    /// [`StoreError::Refused`]: the server refuses the login or does not have the database.
    pub async fn wait_unless_refused(&self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let pause = backoff.next_delay();
            match self.ping().await {
                Ok(()) => return Ok(true),
                Err(error) if error.is_refused() => return Err(error),
                Err(error) => tracing::warn!(%error, retry_in_ms = pause.as_millis(), "waiting for the database"),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(false),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.core().client().await.map(drop)
    }

    /// How much of the pool is in use. Sends no query.
    pub fn pool_usage(&self) -> PoolUsage {
        self.core().shared.pool.usage()
    }

    pub(crate) fn core(&self) -> &Core {
        &self.0.core
    }
}

impl Core {
    /// Runs a query over a pooled connection and reads all of its rows.
    pub(crate) async fn fetch_all<T: FromRow>(&self, sql: &str, params: &Params<'_>) -> Result<Vec<T>, StoreError> {
        read_all(self.client().await?.query(sql, params).await?)
    }

    /// Runs a query that returns at most one row, and reads that row.
    pub(crate) async fn fetch_optional<T: FromRow>(
        &self,
        sql: &str,
        params: &Params<'_>,
    ) -> Result<Option<T>, StoreError> {
        read_optional(self.client().await?.query_opt(sql, params).await?)
    }

    /// Runs a statement. Returns the number of rows that it changed.
    pub(crate) async fn execute(&self, sql: &str, params: &Params<'_>) -> Result<u64, StoreError> {
        Ok(self.client().await?.execute(sql, params).await?)
    }

    /// Takes a connection from the pool, which checks first that the connection works.
    pub(crate) async fn client(&self) -> Result<Object, StoreError> {
        self.shared.pool.client().await
    }

    /// Opens a connection outside the pool. Dropping its driver closes it.
    pub(crate) async fn dedicated(&self) -> Result<(tokio_postgres::Client, Driver), StoreError> {
        self.shared.pool.dedicated(|_| {}).await
    }

    /// Opens a connection outside the pool. Calls `notified` with the payload of each notification.
    pub(crate) async fn listen(
        &self,
        notified: impl FnMut(&str) + Send + 'static,
    ) -> Result<(tokio_postgres::Client, Driver), StoreError> {
        self.shared.pool.dedicated(notified).await
    }

    pub(crate) fn keys(&self) -> &MasterKeys {
        &self.shared.keys
    }

    pub(crate) fn conflict_cooldown(&self) -> &ConflictCooldown {
        &self.shared.conflict_cooldown
    }

    pub(crate) fn known_partitions(&self) -> &KnownPartitions {
        &self.shared.partitions
    }
}
