//! Why a batch was not written, and what to do about it.

use tokio_postgres::error::SqlState;

use crate::error::StoreError;

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
#[error("recording a batch: {0}")]
pub struct WriteError(#[from] pub StoreError);

impl WriteError {
    /// Whether the same batch may do later: the database is away, or two writers met.
    pub fn is_retryable(&self) -> bool {
        match &self.0 {
            StoreError::Unavailable(_) => true,
            StoreError::Database(error) => {
                let met = [
                    SqlState::T_R_DEADLOCK_DETECTED,
                    SqlState::T_R_SERIALIZATION_FAILURE,
                    SqlState::LOCK_NOT_AVAILABLE,
                    SqlState::QUERY_CANCELED,
                ];
                error.code().is_some_and(|code| {
                    // Class 53: out of disk, memory or connections. Class 57: operator intervention. Class 58: IO.
                    met.contains(code) || matches!(&code.code()[..2], "53" | "57" | "58")
                })
            }
            _ => false,
        }
    }

    /// Whether a row of the batch is what the database refuses: halve the batch until the culprit is alone.
    pub fn is_data_error(&self) -> bool {
        match &self.0 {
            // Class 22: data exception. Class 23: constraint. Class 54: a value beyond a limit of the database.
            StoreError::Database(error) => {
                match error.code() {
                    Some(code) => matches!(&code.code()[..2], "22" | "23" | "54"),
                    // A value that could not even be sent.
                    None => error.to_string().starts_with("error serializing parameter"),
                }
            }
            StoreError::Unreadable { .. } => true,
            _ => false,
        }
    }

    /// Whether a row was there already, written plainly.
    pub(super) fn is_repeat(&self) -> bool {
        matches!(&self.0, StoreError::Database(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION))
    }

    /// Whether a row found no partition (nothing else in the log has a check).
    pub(super) fn is_missing_partition(&self) -> bool {
        matches!(&self.0, StoreError::Database(error) if error.code() == Some(&SqlState::CHECK_VIOLATION))
    }
}

impl From<tokio_postgres::Error> for WriteError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error.into())
    }
}
