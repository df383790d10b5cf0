//! Errors of the database, classified by what a caller can do about them.

use tokio_postgres::error::SqlState;

use crate::crypto::CryptoError;

/// Why a call of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or failed during the call. It is unknown whether the call took effect.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The server refuses the login, or does not have the database, so waiting does not help.
    #[error("the database refuses the connection: {0}")]
    Refused(String),
    /// The database URL, the CA file or the TLS set-up is wrong.
    #[error("database settings: {0}")]
    Settings(String),
    /// The object does not exist, belongs to another tenant, or was deleted.
    #[error("no such {what}")]
    NotFound {
        /// The kind of object, as a term of the glossary.
        what: &'static str,
    },
    /// The version in `If-Match` differs from the current version.
    #[error("the current version is {current}")]
    VersionMismatch {
        /// The current version.
        current: i64,
    },
    /// The edit conflicts with the current state, or the tenant has reached a limit.
    #[error("{0}")]
    Conflict(String),
    /// This list did not return the cursor.
    #[error("the cursor is not valid")]
    InvalidCursor,
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// This build cannot decode a row.
    #[error("unreadable {what}: {detail}")]
    Unreadable {
        /// The row or column.
        what: &'static str,
        /// Why it cannot be decoded.
        detail: String,
    },
    /// Migrating failed.
    #[error("migration: {0}")]
    Migration(String),
    /// Another error that the database returned.
    #[error("database: {}", describe(.0))]
    Database(#[source] tokio_postgres::Error),
}

impl StoreError {
    /// Whether the database cannot be used at present: the caller may use its cache, or respond with 503.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Refused(_))
    }

    /// Whether the server refuses the login or does not have the database, so that waiting does not help.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// Whether the database refuses a value, so that waiting does not help. A caller that writes several rows writes them one by
    /// one to find the refused one.
    pub fn is_data_error(&self) -> bool {
        match self {
            // Class 22: data exception. Class 23: violated constraint. Class 54: a value beyond a limit of the database.
            Self::Database(error) => {
                match error.code() {
                    Some(code) => matches!(&code.code()[..2], "22" | "23" | "54"),
                    // An error without a code comes from the client. If the error has a cause, the client could not convert a
                    // value; errors of the connection are `Unavailable`.
                    None => std::error::Error::source(error).is_some(),
                }
            }
            Self::Unreadable { .. } => true,
            _ => false,
        }
    }

    /// Whether a statement waited longer than its lock timeout for another transaction.
    pub fn is_lock_timeout(&self) -> bool {
        matches!(self, Self::Database(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }
}

/// The server's message and code; `tokio_postgres` itself prints only "db error".
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        }
    }
}

/// Classifies an error of connecting. Class 28 is an invalid authorization; 3D000 means that the database does not exist.
pub(crate) fn cannot_connect(error: tokio_postgres::Error) -> StoreError {
    match error.code() {
        Some(code) if code.code().starts_with("28") || *code == SqlState::INVALID_CATALOG_NAME => {
            StoreError::Refused(describe(&error))
        }
        _ => StoreError::Unavailable(describe(&error)),
    }
}

/// Whether the error means that the connection broke or the server stopped, rather than that the statement is wrong.
pub(crate) fn is_connection_error(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => {
            let class = &code.code()[..2];
            class == "08"
                || matches!(
                    *code,
                    SqlState::ADMIN_SHUTDOWN
                        | SqlState::CRASH_SHUTDOWN
                        | SqlState::CANNOT_CONNECT_NOW
                        | SqlState::TOO_MANY_CONNECTIONS
                )
        }
        // An error without a code comes from the client: a failed conversion is a bug, all other errors concern the connection.
        None => error.is_closed() || std::error::Error::source(error).is_some_and(|s| s.is::<std::io::Error>()),
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        if is_connection_error(&error) { Self::Unavailable(describe(&error)) } else { Self::Database(error) }
    }
}

/// Why an edit was not made: the store failed, or the caller's closure refused it.
#[derive(Debug, thiserror::Error)]
pub enum EditError<E> {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The caller's closure refused the edit, and nothing was changed.
    #[error("refused")]
    Refused(E),
}

impl<E> From<tokio_postgres::Error> for EditError<E> {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}
