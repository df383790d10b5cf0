//! The pool of connections: made lazily, TLS as the URL says, one retry when a pooled connection turns out dead.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use postrider_backoff::Backoff;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Connection, NoTls};
use tokio_util::sync::CancellationToken;

use crate::audit_log::Acting;
use crate::crypto::MasterKeys;
use crate::error::{StoreError, cannot_connect};
use crate::partitions::KnownPartitions;
use crate::record::Caution;
use crate::tls::{self, Tls};

/// The pause after the database refused the login.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// Longest wait for a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a pooled connection when all are in use.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the database is.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `postgres://user:password@host:port/name?sslmode=…`. `sslmode` `require`, `verify-ca` and `verify-full` all mean
    /// TLS with a verified certificate and name; `disable`, `prefer` and none at all mean plain TCP unless `ca_file` is set.
    pub database_url: SecretString,
    /// PEM file of the authorities that the server's certificate may come from; the system's when `None`.
    pub ca_file: Option<PathBuf>,
    /// Most connections at once (1 or more), not counting the one that a feed listens on.
    pub pool_max: usize,
}

impl StoreConfig {
    /// This database, with at most 8 connections and the system's authorities.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self { database_url: SecretString::from(database_url.into()), ca_file: None, pool_max: 8 }
    }
}

/// How much of the pool is used at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Most connections at once.
    pub max: usize,
    /// Connections that somebody works with.
    pub in_use: usize,
    /// Open connections that wait to be used.
    pub idle: usize,
    /// Tasks that wait for a connection.
    pub waiting: usize,
}

/// The database, as far as Postrider knows it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// On whose behalf it changes things.
    pub(crate) acting: Acting,
}

struct Inner {
    pool: Pool,
    connect: tokio_postgres::Config,
    tls: Tls,
    keys: MasterKeys,
    partitions: KnownPartitions,
    caution: Caution,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("keys", &self.inner.keys).finish_non_exhaustive()
    }
}

impl Store {
    /// Prepares the pool. Connects to nothing: the database may be away.
    ///
    /// # Errors
    /// [`StoreError::Settings`]: the URL does not parse, or the CA file cannot be read.
    pub fn connect(config: StoreConfig, keys: MasterKeys) -> Result<Self, StoreError> {
        let (mut connect, tls) = tls::settings(config.database_url.expose_secret(), config.ca_file.as_deref())?;
        connect.connect_timeout(CONNECT_TIMEOUT);
        connect.keepalives_idle(Duration::from_secs(30));
        connect.tcp_user_timeout(Duration::from_secs(30));
        if connect.get_application_name().is_none() {
            connect.application_name("postrider");
        }
        let recycle = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match &tls {
            Tls::Off => Manager::from_config(connect.clone(), NoTls, recycle),
            Tls::On(connector) => Manager::from_config(connect.clone(), connector.clone(), recycle),
        };
        let pool = Pool::builder(manager)
            .max_size(config.pool_max.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .map_err(|error| StoreError::Settings(error.to_string()))?;
        let (partitions, caution) = (KnownPartitions::default(), Caution::default());
        let inner = Inner { pool, connect, tls, keys, partitions, caution };
        Ok(Self { inner: Arc::new(inner), acting: Acting::default() })
    }

    /// Waits, with a capped back-off and a log line, until the database answers. Returns `false` when `stop` came first.
    pub async fn wait_ready(&self, stop: &CancellationToken) -> bool {
        loop {
            match self.wait_answer(stop).await {
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

    /// As [`Store::wait_ready`], but does not wait for what waiting does not help.
    ///
    /// # Errors
    /// [`StoreError::Refused`]: the server refuses the login or does not have the database.
    pub async fn wait_answer(&self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
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

    /// Asks the database for an answer.
    ///
    /// # Errors
    /// It gave none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.client().await.map(drop)
    }

    /// How much of the pool is used now. Asks nobody.
    pub fn pool_use(&self) -> PoolUse {
        let status = self.inner.pool.status();
        let in_use = status.size.saturating_sub(status.available);
        PoolUse { max: status.max_size, in_use, idle: status.available, waiting: status.waiting }
    }

    /// A connection that answered just now. `Fast` recycling may hand out one that died unnoticed: those are dropped
    /// and another is taken, so that a restart of the database costs a caller nothing but the time.
    pub(crate) async fn client(&self) -> Result<Object, StoreError> {
        let tries = self.inner.pool.status().size + 1;
        let mut last = None;
        for _ in 0..=tries {
            let client = self.inner.pool.get().await.map_err(pool_error)?;
            match client.simple_query("").await {
                Ok(_) => return Ok(client),
                Err(error) => {
                    last = Some(StoreError::from(error));
                    drop(Object::take(client));
                }
            }
        }
        Err(last.unwrap_or_else(|| StoreError::Unavailable("no connection".into())))
    }

    /// A connection of its own, outside the pool, closed when the driver is dropped.
    pub(crate) async fn dedicated(&self) -> Result<(tokio_postgres::Client, Driver), StoreError> {
        let (client, driver) = self.listen(|_| {}).await?;
        Ok((client, driver))
    }

    /// A connection of its own whose notifications go to `notified`, with their payload.
    pub(crate) async fn listen(
        &self,
        notified: impl FnMut(&str) + Send + 'static,
    ) -> Result<(tokio_postgres::Client, Driver), StoreError> {
        let (config, tls) = (&self.inner.connect, &self.inner.tls);
        match tls {
            Tls::Off => {
                let (client, connection) = config.connect(NoTls).await.map_err(cannot_connect)?;
                Ok((client, Driver::spawn(connection, notified)))
            }
            Tls::On(connector) => {
                let (client, connection) = config.connect(connector.clone()).await.map_err(cannot_connect)?;
                Ok((client, Driver::spawn(connection, notified)))
            }
        }
    }

    pub(crate) fn keys(&self) -> &MasterKeys {
        &self.inner.keys
    }

    pub(crate) fn caution(&self) -> &Caution {
        &self.inner.caution
    }

    pub(crate) fn known_partitions(&self) -> &KnownPartitions {
        &self.inner.partitions
    }
}

/// Drives a connection of its own until it is dropped.
pub(crate) struct Driver(JoinHandle<()>);

impl Driver {
    fn spawn<S, T>(mut connection: Connection<S, T>, mut notified: impl FnMut(&str) + Send + 'static) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self(tokio::spawn(async move {
            loop {
                match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                    Some(Ok(AsyncMessage::Notification(note))) => notified(note.payload()),
                    Some(Ok(_)) => {}
                    // Whoever waits for an answer on this connection sees it closed.
                    Some(Err(_)) | None => return,
                }
            }
        }))
    }

    /// Whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn pool_error(error: deadpool_postgres::PoolError) -> StoreError {
    match error {
        deadpool_postgres::PoolError::Backend(error) => cannot_connect(error),
        other => StoreError::Unavailable(other.to_string()),
    }
}
