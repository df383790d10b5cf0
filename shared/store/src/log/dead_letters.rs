//! Dead letters.

use bytes::Bytes;
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;

use super::{Cursor, Page, PageRequest};
use crate::error::StoreError;
use crate::pool::Store;
use crate::sql::{RowExt, Ts};

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

impl DeadLetterRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let headers: String = row.col("headers")?;
        let headers = serde_json::from_str(&headers)
            .map_err(|error| StoreError::Unreadable { what: "dead_letters.headers", detail: error.to_string() })?;
        Ok(Self {
            id: row.col("id")?,
            received_at: row.at("received_at")?,
            source: row.col("source")?,
            reason: row.col("reason")?,
            body: row.col::<Vec<u8>>("body")?.into(),
            headers,
        })
    }
}

impl Store {
    /// Dead letters, newest first.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or the database's.
    pub async fn list_dead_letters(&self, page: &PageRequest) -> Result<Page<DeadLetterRow>, StoreError> {
        let after = page.after()?;
        let id = match &after {
            Some(cursor) => Some(cursor.id.parse::<i64>().map_err(|_| StoreError::InvalidCursor)?),
            None => None,
        };
        let sql = "SELECT id, received_at, source, reason, body, headers FROM dead_letters
                   WHERE $1::timestamptz IS NULL OR (received_at, id) < ($1, $2)
                   ORDER BY received_at DESC, id DESC LIMIT $3";
        let at = after.map(|cursor| Ts(cursor.at));
        let rows = self.client().await?.query(sql, &[&at, &id, &page.fetch()]).await?;
        let letters = rows.iter().map(DeadLetterRow::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(letters, page, |letter| Cursor::of(letter.received_at, letter.id)))
    }
}
