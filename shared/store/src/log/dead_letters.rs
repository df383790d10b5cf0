//! Dead letters.

use bytes::Bytes;
use postrider_model::time::UnixMillis;

use super::{Page, PageRequest};
use crate::error::StoreError;
use crate::pool::Store;

/// A message that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterRow {
    /// Its number.
    pub id: i64,
    /// When it was received.
    pub received_at: UnixMillis,
    /// Which queue or service it came from.
    pub source: String,
    /// Why it could not be processed.
    pub reason: String,
    /// Its bytes.
    pub body: Bytes,
    /// Its headers.
    pub headers: Vec<(String, String)>,
}

impl Store {
    /// Dead letters, newest first.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or the database's.
    pub async fn list_dead_letters(&self, page: &PageRequest) -> Result<Page<DeadLetterRow>, StoreError> {
        let _ = page;
        todo!()
    }
}
