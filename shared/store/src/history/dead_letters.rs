//! Dead letters: lists them and reads one.
//!
//! A requeued letter keeps its row and gets the time of the requeue. Its identity changes in the same transaction: if the message
//! fails again for the same reason, it becomes another letter.

use bytes::Bytes;
use deadpool_postgres::GenericClient;
use postrider_model::time::{Day, UnixMillis};

use super::{Cursor, Page, PageRequest};
use crate::error::StoreError;
use crate::outbox::{OutboxId, PendingLetter};
use crate::sql::{Date, RowExt, from_row, read_optional};
use crate::store::History;

/// A message that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterRow {
    /// Its number.
    pub id: i64,
    /// When it was received.
    pub received_at: UnixMillis,
    /// The queue or service from which it came.
    pub source: String,
    /// Why it could not be processed.
    pub reason: String,
    /// The first [`EXCERPT_BYTES`] bytes of its body.
    pub excerpt: Bytes,
    /// The full length of its body in bytes.
    pub bytes: u64,
    /// Whether its body was cut. A cut message cannot be requeued.
    pub is_cut: bool,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its original routing key.
    pub routing_key: String,
    /// Its property `content_type`.
    pub content_type: Option<String>,
    /// Its property `message_id`.
    pub message_id: Option<String>,
    /// When an operator requeued it.
    pub requeued_at: Option<UnixMillis>,
}

/// Maximum bytes of a message's body that lists show.
pub const EXCERPT_BYTES: usize = 4 * 1024;

/// SQL that reads letters without their whole bodies: those of a page may have hundreds of megabytes.
fn select() -> String {
    format!(
        "SELECT {} FROM (SELECT *, substring(body for {EXCERPT_BYTES}) AS excerpt,
             coalesce(whole_bytes, length(body)) AS bytes, whole_bytes IS NOT NULL AS is_cut FROM dead_letters) letters",
        DeadLetterRow::COLUMNS
    )
}

from_row!(DeadLetterRow {
    id,
    received_at,
    source,
    reason,
    excerpt,
    bytes,
    is_cut,
    headers,
    routing_key,
    content_type,
    message_id,
    requeued_at,
});

from_row!(DeadLettersNotKept { producer, day, kept, not_kept });

impl History {
    /// Dead letters, newest first.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or an error of the database.
    pub async fn list_dead_letters(&self, page: &PageRequest) -> Result<Page<DeadLetterRow>, StoreError> {
        let (at, id) = page.after::<i64>()?;
        let sql = format!(
            "{} WHERE $1::timestamptz IS NULL OR (received_at, id) < ($1, $2)
             ORDER BY received_at DESC, id DESC LIMIT $3",
            select()
        );
        let letters = self.0.fetch_all(&sql, &[&at, &id, &page.fetch()]).await?;
        Ok(Page::of(letters, page, |letter: &DeadLetterRow| Cursor::of(letter.received_at, letter.id)))
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or an error of the database.
    pub async fn get_dead_letter(&self, id: i64) -> Result<DeadLetterRow, StoreError> {
        let client = self.0.client().await?;
        dead_letter(&client, id).await?.ok_or(StoreError::NotFound { what: "dead letter" })
    }

    /// The tenants and days with dead letters that exceeded the daily limit and were not kept. Covers the last seven days with
    /// today, newest first, at most 50 rows.
    pub async fn dead_letters_not_kept(&self) -> Result<Vec<DeadLettersNotKept>, StoreError> {
        let since = Date(UnixMillis::now().day().plus_days(-6));
        let sql = "SELECT producer, day, kept, not_kept FROM dead_letter_days WHERE not_kept > 0 AND day >= $1
                   ORDER BY day DESC, not_kept DESC, producer LIMIT 50";
        self.0.fetch_all(sql, &[&since]).await
    }
}

/// Numbers of dead letters of a tenant's producers on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLettersNotKept {
    /// The tenant in the messages' routing keys; empty if the keys name none.
    pub producer: String,
    /// The day (UTC) on which they were received.
    pub day: Day,
    /// How many were kept.
    pub kept: u64,
    /// How many were counted but not kept.
    pub not_kept: u64,
}

/// Reads the whole body of a dead letter.
pub(crate) async fn body(client: &impl GenericClient, id: i64) -> Result<Bytes, StoreError> {
    client.query_one("SELECT body FROM dead_letters WHERE id = $1", &[&id]).await?.col("body")
}

/// A requeued dead letter as an entry of the outbox; `None` if the letter no longer exists.
pub(crate) async fn pending_letter(
    client: &impl GenericClient,
    outbox: OutboxId,
    id: i64,
) -> Result<Option<PendingLetter>, StoreError> {
    let Some(letter) = dead_letter(client, id).await? else { return Ok(None) };
    Ok(Some(PendingLetter { outbox, letter, body: body(client, id).await? }))
}

/// Reads a dead letter; `None` if it does not exist.
pub(crate) async fn dead_letter(client: &impl GenericClient, id: i64) -> Result<Option<DeadLetterRow>, StoreError> {
    read_optional(client.query_opt(&format!("{} WHERE id = $1", select()), &[&id]).await?)
}
