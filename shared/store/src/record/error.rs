//! Errors of writing a batch, by what the caller should do.

use tokio_postgres::error::SqlState;

use crate::error::StoreError;

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
#[error("recording a batch: {0}")]
pub struct WriteError(#[from] pub StoreError);

impl WriteError {
    /// Whether the same batch may succeed later: the database is away, or two writers conflicted.
    pub fn is_retryable(&self) -> bool {
        match &self.0 {
            StoreError::Unavailable(_) => true,
            StoreError::Database(error) => {
                let collision = [
                    SqlState::T_R_DEADLOCK_DETECTED,
                    SqlState::T_R_SERIALIZATION_FAILURE,
                    SqlState::LOCK_NOT_AVAILABLE,
                    SqlState::QUERY_CANCELED,
                ];
                error.code().is_some_and(|code| {
                    // Class 53: out of disk, memory or connections. Class 57: operator intervention. Class 58: IO.
                    collision.contains(code) || matches!(&code.code()[..2], "53" | "57" | "58")
                })
            }
            _ => false,
        }
    }

    /// Whether the database refuses a row of the batch. The caller halves the batch to isolate that row.
    pub fn is_data_error(&self) -> bool {
        self.0.is_data_error()
    }

    /// Whether a plain insert failed because a row already exists.
    pub(super) fn is_repeat(&self) -> bool {
        matches!(&self.0, StoreError::Database(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION))
    }

    /// Whether a row has no partition. PostgreSQL reports this as a check violation, and no table of the history has a check.
    pub(super) fn is_missing_partition(&self) -> bool {
        matches!(&self.0, StoreError::Database(error) if error.code() == Some(&SqlState::CHECK_VIOLATION))
    }
}

impl From<tokio_postgres::Error> for WriteError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error.into())
    }
}
