//! Migrations: embedded, run in order, under an advisory lock.

use crate::error::StoreError;
use crate::pool::Store;

impl Store {
    /// Brings the schema up to this build, makes the operator's own tenant and today's partitions. Harmless to repeat,
    /// and to run twice at once.
    ///
    /// # Errors
    /// [`StoreError::Migration`] with the migration's name; the database's.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        todo!()
    }
}
