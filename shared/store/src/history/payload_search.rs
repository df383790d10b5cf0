//! Reads the events of a search in payloads, step by step.
//!
//! The database applies the other conditions of the filter and returns the payloads of the rest; the caller examines them. Each
//! step has a limit of events and of bytes, so that a search for a rare value does not read a tenant's whole history.

use postrider_model::filters::EventFilter;
use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;

use super::events::{EventRow, EventSummary, order_by};
use super::query::Query;
use super::{Cursor, PageRequest};
use crate::error::StoreError;
use crate::sql::{FromRow, RowExt, read_all, signed};
use crate::store::History;

/// SQL for the bytes of an event's payload. PostgreSQL knows them without reading the payload.
const BYTES: &str = "coalesce(octet_length(data), 0) + coalesce(octet_length(metadata), 0)";

/// The limits of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchStepMax {
    /// Maximum number of events that the step walks over; at least 1.
    pub events: u32,
    /// Number of bytes of payloads that end the step; at least 1. The step reads the event that reaches it whole.
    pub bytes: u64,
}

/// An event whose payload is to be examined.
#[derive(Debug, Clone)]
pub struct SearchCandidate {
    /// The event with its payload.
    pub event: EventRow,
    /// The number of events of the step up to this one, which counts.
    pub place: u32,
    /// The cursor that continues after this event.
    pub cursor: String,
}

/// The events that a step of a search walked over.
#[derive(Debug, Clone)]
pub struct SearchStep {
    /// Those that meet the other conditions of the filter and have a payload, in the filter's order.
    pub candidates: Vec<SearchCandidate>,
    /// The number of all of them.
    pub walked: u32,
    /// When the last of them was accepted; `None` if there are none.
    pub until: Option<UnixMillis>,
    /// The cursor that continues after the last of them; `None` if no events follow.
    pub next_cursor: Option<String>,
}

/// A row of a step: a candidate with its payload, or the last event that the step walked over.
struct StepRow {
    event: EventRow,
    place: u32,
    /// Whether it is a candidate and its payload was read.
    is_read: bool,
    /// Whether the candidates before it have as many bytes as end the step.
    is_beyond: bool,
}

impl FromRow for StepRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            event: EventRow::read(row)?,
            place: row.col("place")?,
            is_read: row.col("is_read")?,
            is_beyond: row.col("is_beyond")?,
        })
    }
}

impl StepRow {
    fn cursor(&self) -> String {
        let EventSummary { accepted_at, id, .. } = &self.event.summary;
        Cursor::of(*accepted_at, id).encode()
    }
}

/// SQL for a step: the candidates whose payloads are read, and the last event that the step walked over.
fn sql(query: &Query, order: &str, max: SearchStepMax) -> String {
    let (range, filters) = query.conditions();
    let (columns, events, bytes) = (EventSummary::COLUMNS, max.events, signed(max.bytes));
    format!(
        "WITH walk AS (
             SELECT {columns}, metadata, data FROM events WHERE {range} ORDER BY {order} LIMIT {events}),
         checked AS (
             SELECT *, coalesce(data IS NOT NULL AND {filters}, false) AS is_candidate FROM walk),
         sized AS (
             SELECT *, CASE WHEN is_candidate THEN {BYTES} ELSE 0 END AS bytes FROM checked),
         placed AS (
             SELECT *, row_number() OVER ordered AS place, count(*) OVER () AS walked,
                    sum(bytes) OVER ordered - bytes >= {bytes} AS is_beyond
             FROM sized WINDOW ordered AS (ORDER BY {order} ROWS UNBOUNDED PRECEDING)),
         marked AS (
             SELECT *, is_candidate AND NOT is_beyond AS is_read FROM placed)
         SELECT {columns}, place, is_read, is_beyond,
                CASE WHEN is_read THEN metadata END AS metadata, CASE WHEN is_read THEN data END AS data
         FROM marked WHERE is_read OR place = walked ORDER BY {order}"
    )
}

/// Makes a step of its rows.
fn step(mut rows: Vec<StepRow>, max: SearchStepMax) -> SearchStep {
    let is_cut = rows.last().is_some_and(|last| last.is_beyond);
    if is_cut {
        // The bytes ended the step before its last event, so it ends with the last candidate that was read.
        rows.retain(|row| row.is_read);
    }
    let (walked, until) = rows.last().map(|last| (last.place, last.event.summary.accepted_at)).unzip();
    let walked = walked.unwrap_or(0);
    let next_cursor = rows.last().filter(|_| is_cut || walked >= max.events).map(StepRow::cursor);
    let candidates = rows.into_iter().filter(|row| row.is_read);
    let candidates =
        candidates.map(|row| SearchCandidate { place: row.place, cursor: row.cursor(), event: row.event }).collect();
    SearchStep { candidates, walked, until, next_cursor }
}

impl History {
    /// Reads the next events of a search in a tenant's payloads, in the filter's order. `cursor` continues a search or a list of
    /// events. This does not evaluate the filter's `payload`. Leaves out the payloads of events that do not meet the rest of the
    /// filter. Expunged events are no candidates.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or an error of the database.
    pub async fn search_step(
        &self,
        tenant: TenantId,
        filter: &EventFilter,
        cursor: Option<String>,
        max: SearchStepMax,
    ) -> Result<SearchStep, StoreError> {
        let after = PageRequest { cursor, ..PageRequest::default() }.cursor()?;
        let query = Query::of_events(Some(tenant), filter, after);
        let sql = sql(&query, order_by(filter.order.unwrap_or_default()), max);
        let rows = self.0.client().await?.query(&sql, &query.params()).await?;
        Ok(step(read_all(rows)?, max))
    }
}
