//! Dead letters: lists them and reads one.
//!
//! The row of a letter that an operator requeued or discarded remains, with the time of that action, see [`crate::dead_letters`].

use bytes::Bytes;
use deadpool_postgres::GenericClient;
use postrider_model::dead_letter::{DeadLetterFilter, DeadLetterState};
use postrider_model::time::{Day, UnixMillis};

use super::query::Query;
use super::{Cursor, Page, PageRequest};
use crate::error::StoreError;
use crate::outbox::{OutboxId, PendingLetter};
use crate::sql::{Date, RowExt, Ts, clean, from_row, read_all, read_optional};
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
    /// When an operator discarded it.
    pub discarded_at: Option<UnixMillis>,
    /// The fingerprint of the key of the operator who discarded it.
    pub discarded_by: Option<String>,
}

/// The place of a letter in the list.
struct Place {
    id: i64,
    received_at: UnixMillis,
}

/// Maximum number of bytes of a message's body that lists show.
pub const EXCERPT_BYTES: usize = 4 * 1024;

/// SQL that reads letters without their whole bodies, because the bodies of one page may have hundreds of megabytes.
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
    discarded_at,
    discarded_by,
});

from_row!(Place { id, received_at });

from_row!(DeadLettersNotKept { producer, day, kept, not_kept });

impl History {
    /// Lists dead letters that match the filter, newest first. If the filter has a condition that no index serves, a page
    /// searches at most 20,000 letters. Such a page may be short or empty although more letters follow; its cursor continues the
    /// search.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or an error of the database.
    pub async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: &PageRequest,
    ) -> Result<Page<DeadLetterRow>, StoreError> {
        let client = self.0.client().await?;
        let query = matching(filter, page.cursor()?.as_ref())?;
        let cursor = |place: &Place| Cursor::of(place.received_at, place.id);
        // Bodies are read for the letters of the page only.
        let places = query.page(&client, PLACES, "received_at DESC, id DESC", page, cursor).await?;
        let ids: Vec<i64> = places.items.iter().map(|place| place.id).collect();
        Ok(Page { items: numbered(&client, &ids).await?, next_cursor: places.next_cursor })
    }

    /// Returns the dead letters with these numbers, newest first. Leaves out numbers of letters that do not exist.
    pub async fn dead_letters(&self, ids: &[i64]) -> Result<Vec<DeadLetterRow>, StoreError> {
        numbered(&self.0.client().await?, ids).await
    }

    /// Returns one dead letter.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or an error of the database.
    pub async fn get_dead_letter(&self, id: i64) -> Result<DeadLetterRow, StoreError> {
        let client = self.0.client().await?;
        dead_letter(&client, id).await?.ok_or(StoreError::NotFound { what: "dead letter" })
    }

    /// Returns the tenants and days with dead letters that exceeded the daily limit and were not kept. Covers today and the six
    /// days before, newest first, at most 50 rows.
    pub async fn dead_letters_not_kept(&self) -> Result<Vec<DeadLettersNotKept>, StoreError> {
        let since = Date(UnixMillis::now().day().plus_days(-6));
        let sql = "SELECT producer, day, kept, not_kept FROM dead_letter_days WHERE not_kept > 0 AND day >= $1
                   ORDER BY day DESC, not_kept DESC, producer LIMIT 50";
        self.0.fetch_all(sql, &[&since]).await
    }
}

/// SQL that reads the columns with which letters are searched.
const PLACES: &str = "SELECT id, received_at, source, reason, requeued_at, discarded_at FROM dead_letters";

/// Returns the conditions of `filter`, and the condition that letters come after the cursor `after`.
fn matching(filter: &DeadLetterFilter, after: Option<&Cursor>) -> Result<Query, StoreError> {
    let mut query = Query::new();
    if let Some(from) = filter.from {
        query.and("received_at >= ?", [Box::new(Ts(from)) as _]);
    }
    if let Some(to) = filter.to {
        query.and("received_at < ?", [Box::new(Ts(to)) as _]);
    }
    if let Some(after) = after {
        let id: i64 = after.id()?;
        query.and("(received_at, id) < (?, ?)", [Box::new(Ts(after.at)) as _, Box::new(id) as _]);
    }
    match filter.state {
        // This must be the condition of the partial index, so that the query uses the index.
        Some(DeadLetterState::Open) => query.and("requeued_at IS NULL AND discarded_at IS NULL", []),
        Some(DeadLetterState::Requeued) => query.filter("requeued_at IS NOT NULL", []),
        Some(DeadLetterState::Discarded) => query.filter("discarded_at IS NOT NULL", []),
        None => {}
    }
    if let Some(source) = &filter.source {
        query.filter("source = ?", [Box::new(clean(source).into_owned()) as _]);
    }
    if let Some(reason) = &filter.reason {
        query.filter("strpos(lower(reason), lower(?::text)) > 0", [Box::new(clean(reason).into_owned()) as _]);
    }
    Ok(query)
}

async fn numbered(client: &impl GenericClient, ids: &[i64]) -> Result<Vec<DeadLetterRow>, StoreError> {
    let sql = format!("{} WHERE id = ANY($1) ORDER BY received_at DESC, id DESC", select());
    read_all(client.query(&sql, &[&ids]).await?)
}

/// Numbers of dead letters of a tenant's producers on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLettersNotKept {
    /// The tenant in the messages' routing keys; empty if the keys name no tenant.
    pub producer: String,
    /// The day (UTC) on which the dead letters were received.
    pub day: Day,
    /// The number of dead letters that were kept.
    pub kept: u64,
    /// The number of dead letters that were counted but not kept.
    pub not_kept: u64,
}

/// Reads the whole body of a dead letter.
async fn body(client: &impl GenericClient, id: i64) -> Result<Bytes, StoreError> {
    client.query_one("SELECT body FROM dead_letters WHERE id = $1", &[&id]).await?.col("body")
}

/// Returns a requeued dead letter as an entry of the outbox; `None` if the letter no longer exists.
pub(crate) async fn pending_letter(
    client: &impl GenericClient,
    outbox: OutboxId,
    id: i64,
) -> Result<Option<PendingLetter>, StoreError> {
    let Some(letter) = dead_letter(client, id).await? else { return Ok(None) };
    Ok(Some(PendingLetter { outbox, letter, body: body(client, id).await? }))
}

/// Reads a dead letter; `None` if it does not exist.
async fn dead_letter(client: &impl GenericClient, id: i64) -> Result<Option<DeadLetterRow>, StoreError> {
    read_optional(client.query_opt(&format!("{} WHERE id = $1", select()), &[&id]).await?)
}
