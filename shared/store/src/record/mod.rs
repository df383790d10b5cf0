//! Writing the log: one transaction a batch, one statement a table, rows sorted by key.

mod batch;
mod error;

pub use batch::{DeadLetter, RecordBatch, Written};
pub use error::WriteError;

use crate::pool::Store;

impl Store {
    /// Writes a batch and commits it. Repeating it, or parts of it, in any order changes nothing.
    ///
    /// # Errors
    /// Nothing was written, or (connection lost in the commit) nobody knows: repeat the batch when
    /// [`WriteError::is_retryable`], halve it when [`WriteError::is_data_error`].
    pub async fn write(&self, batch: &RecordBatch) -> Result<Written, WriteError> {
        let _ = batch;
        todo!()
    }
}
