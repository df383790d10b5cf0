//! The pool of connections to PostgreSQL, and single connections outside of it. Connects when needed, with TLS if the settings
//! require it.
//!
//! A connection from the pool is tested with an empty query, so a restart of the database delays callers but causes no errors.

use std::path::PathBuf;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, RecyclingMethod, Runtime};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Connection, NoTls};

use crate::error::{StoreError, cannot_connect};
use crate::tls::{self, Tls};

/// Timeout of opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of waiting for a pooled connection while all connections are in use.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `postgres://user:password@host:port/name?sslmode=…`. `sslmode` `require`, `verify-ca` and `verify-full` all mean TLS with
    /// a verified certificate and name. `disable`, `prefer` and no `sslmode` mean plain TCP, unless `ca_file` is set.
    pub database_url: SecretString,
    /// A PEM file of the certificate authorities to trust; `None`: the system's certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// Maximum number of pooled connections, 1 or more. Connections outside the pool, such as a feed's, do not count.
    pub pool_max: usize,
}

impl StoreConfig {
    /// Settings for this database, with at most 8 connections and the system's certificate authorities.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self { database_url: SecretString::from(database_url.into()), ca_file: None, pool_max: 8 }
    }
}

/// How much of the pool is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// Maximum number of connections.
    pub max: usize,
    /// Connections in use.
    pub in_use: usize,
    /// Open connections that are idle.
    pub idle: usize,
    /// Tasks waiting for a connection.
    pub waiting: usize,
}

/// The pool, and the settings of connections outside of it.
pub(crate) struct Pool {
    pool: deadpool_postgres::Pool,
    connect: tokio_postgres::Config,
    tls: Tls,
}

impl Pool {
    /// Prepares the pool without connecting.
    ///
    /// # Errors
    /// [`StoreError::Settings`]: the URL does not parse, or the CA file cannot be read.
    pub(crate) fn new(config: &StoreConfig) -> Result<Self, StoreError> {
        let (mut connect, tls) = tls::settings(config.database_url.expose_secret(), config.ca_file.as_deref())?;
        connect.connect_timeout(CONNECT_TIMEOUT);
        connect.keepalives_idle(Duration::from_secs(30));
        connect.tcp_user_timeout(Duration::from_secs(30));
        if connect.get_application_name().is_none() {
            connect.application_name("postrider");
        }
        let recycle = ManagerConfig { recycling_method: RecyclingMethod::Verified };
        let manager = match &tls {
            Tls::Off => Manager::from_config(connect.clone(), NoTls, recycle),
            Tls::On(connector) => Manager::from_config(connect.clone(), connector.clone(), recycle),
        };
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(config.pool_max.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .map_err(|error| StoreError::Settings(error.to_string()))?;
        Ok(Self { pool, connect, tls })
    }

    /// Takes a connection from the pool, which checks first that the connection works.
    pub(crate) async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(error) => cannot_connect(error),
            other => StoreError::Unavailable(other.to_string()),
        })
    }

    pub(crate) fn usage(&self) -> PoolUsage {
        let status = self.pool.status();
        let in_use = status.size.saturating_sub(status.available);
        PoolUsage { max: status.max_size, in_use, idle: status.available, waiting: status.waiting }
    }

    /// Opens a connection outside the pool. Dropping its driver closes it. Calls `notified` with the payload of each
    /// notification.
    pub(crate) async fn dedicated(
        &self,
        notified: impl FnMut(&str) + Send + 'static,
    ) -> Result<(tokio_postgres::Client, Driver), StoreError> {
        match &self.tls {
            Tls::Off => {
                let (client, connection) = self.connect.connect(NoTls).await.map_err(cannot_connect)?;
                Ok((client, Driver::spawn(connection, notified)))
            }
            Tls::On(connector) => {
                let (client, connection) = self.connect.connect(connector.clone()).await.map_err(cannot_connect)?;
                Ok((client, Driver::spawn(connection, notified)))
            }
        }
    }
}

/// The task that drives a connection outside the pool. Dropping it closes the connection.
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
                    // The connection broke: its pending queries fail with the error that the connection is closed.
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
