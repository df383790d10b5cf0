//! Reads deliveries and their attempts.

use bytes::Bytes;
use deadpool_postgres::GenericClient;
use postrider_model::attempt::Outcome;
use postrider_model::batch::BatchPlace;
use postrider_model::delivery::{DeliveryStatus, DiscardReason};
use postrider_model::filters::{DeliveryFilter, ListOrder};
use postrider_model::ids::{BatchId, DeliveryId, EndpointId, EventId, Generation, TenantId};
use postrider_model::limits::DELIVERY_LIFETIME;
use postrider_model::time::{Day, UnixMillis};
use postrider_wire::messages::{AttemptRecord, DeliveryRef};
use tokio_postgres::{IsolationLevel, Row};
use uuid::Uuid;

use super::query::Query;
use super::{Cursor, Page, PageRequest};
use crate::error::StoreError;
use crate::sql::{Coded, Date, FromRow, RowExt, Ts, read_all, read_optional};
use crate::store::History;

/// If fan-out is delayed, a delivery may be created after its day, but not later than its lifetime allows. A list for a range
/// of time therefore skips partitions that are older than the start of the range by more than this duration.
const LATEST_AFTER_DAY_MS: i64 = DELIVERY_LIFETIME.as_millis() as i64;

/// The order of a list, in SQL. One index serves both orders.
pub(super) fn order_by(order: ListOrder) -> &'static str {
    match order {
        ListOrder::Newest => "created_at DESC, id DESC",
        ListOrder::Oldest => "created_at, id",
    }
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The fields that identify the delivery.
    pub delivery: DeliveryRef,
    /// Its status.
    pub status: DeliveryStatus,
    /// Why it was discarded.
    pub discard_reason: Option<DiscardReason>,
    /// Its epoch.
    pub epoch: u32,
    /// Number of its last attempt; 0 before the first.
    pub number: u16,
    /// Status code of its last attempt.
    pub status_code: Option<u16>,
    /// How its last attempt ended; `None` before the first attempt, and for rows of a release that did not store the outcome.
    pub outcome: Option<Outcome>,
    /// When the next attempt is due, while the delivery is pending.
    pub next_attempt_at: Option<UnixMillis>,
    /// When the first attempt ended.
    pub first_attempt_at: Option<UnixMillis>,
    /// When it became terminal.
    pub finished_at: Option<UnixMillis>,
    /// When it is discarded if it is still pending then.
    pub expires_at: UnixMillis,
    /// Bytes of its payload, if it is set aside for a paused endpoint.
    pub set_aside_bytes: Option<u32>,
}

impl DeliveryRow {
    /// Whether the delivery belongs to a test call.
    pub fn is_test(&self) -> bool {
        matches!(self.delivery.generation, Generation::Test(_))
    }
}

/// An attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRow {
    /// The attempt, as its dispatcher reported it.
    pub attempt: AttemptRecord,
    /// The first bytes of the response's body.
    pub response_excerpt: Bytes,
    /// When the next attempt is due, as planned after this attempt.
    pub next_attempt_at: Option<UnixMillis>,
}

/// The columns of [`DeliveryRow`].
pub(crate) const COLUMNS: &str = "id, delivery_day, event_id, event_day, type, tenant, endpoint, status, discard_reason, \
    generation, origin, epoch, number, status_code, outcome, created_at, accepted_at, next_attempt_at, \
    first_attempt_at, reported_at, expires_at, set_aside_bytes";

impl FromRow for DeliveryRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let status: DeliveryStatus = row.col("status")?;
        let next_attempt_at: Option<UnixMillis> = row.col("next_attempt_at")?;
        Ok(Self {
            delivery: DeliveryRef {
                id: row.col("id")?,
                event: row.col("event_id")?,
                event_day: row.col("event_day")?,
                event_type: row.col("type")?,
                tenant: row.col("tenant")?,
                endpoint: row.col("endpoint")?,
                delivery_day: row.col("delivery_day")?,
                created_at: row.col("created_at")?,
                accepted_at: row.col("accepted_at")?,
                generation: row.col("generation")?,
                repeats: row.col("origin")?,
            },
            status,
            discard_reason: row.col("discard_reason")?,
            epoch: row.col("epoch")?,
            number: row.col("number")?,
            status_code: row.col("status_code")?,
            outcome: row.col("outcome")?,
            next_attempt_at: next_attempt_at.filter(|_| !status.is_terminal()),
            first_attempt_at: row.col("first_attempt_at")?,
            finished_at: if status.is_terminal() { Some(row.col("reported_at")?) } else { None },
            expires_at: row.col("expires_at")?,
            set_aside_bytes: row.col("set_aside_bytes")?,
        })
    }
}

/// The columns of [`AttemptRow`].
const ATTEMPT_COLUMNS: &str = "number, send_id, trigger, started_at, duration_us, first_byte_us, held_ms, held_reason, late_ms, url, \
    status_code, outcome, error, request_headers, response_headers, response_excerpt, next_attempt_at, \
    batch_id, batch_position, batch_size";

impl FromRow for AttemptRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let attempt = AttemptRecord {
            number: row.col("number")?,
            send_id: row.col("send_id")?,
            trigger: row.col("trigger")?,
            started_at: row.col("started_at")?,
            duration_us: row.col("duration_us")?,
            first_byte_us: row.col("first_byte_us")?,
            held_ms: row.col("held_ms")?,
            held_reason: row.col("held_reason")?,
            late_ms: row.col("late_ms")?,
            url: row.col("url")?,
            status_code: row.col("status_code")?,
            outcome: row.col("outcome")?,
            error: row.col("error")?,
            request_headers: row.col("request_headers")?,
            response_headers: row.col("response_headers")?,
            batch: batch_place(row)?,
        };
        let (response_excerpt, next_attempt_at) = (row.col("response_excerpt")?, row.col("next_attempt_at")?);
        Ok(Self { attempt, response_excerpt, next_attempt_at })
    }
}

/// The batch of an attempt. `None` if it was sent alone.
fn batch_place(row: &Row) -> Result<Option<BatchPlace>, StoreError> {
    let id: Option<BatchId> = row.col("batch_id")?;
    let (position, size): (Option<u16>, Option<u16>) = (row.col("batch_position")?, row.col("batch_size")?);
    Ok(id.zip(position.zip(size)).map(|(id, (position, size))| BatchPlace { id, position, size }))
}

impl Query {
    /// Adds the conditions of `filter`, and the condition that rows follow `after`.
    pub(super) fn filter_deliveries(
        &mut self,
        filter: &DeliveryFilter,
        after: Option<&Cursor>,
    ) -> Result<(), StoreError> {
        self.filter_delivery_times(filter, after)?;
        if let Some(endpoint) = filter.endpoint {
            self.and("endpoint = ?", [Box::new(endpoint.0) as _]);
        }
        if let Some(status) = filter.status {
            self.filter("status = ?", [Box::new(status.code()) as _]);
        }
        if let Some(phase) = filter.phase {
            self.filter_phase(phase, &filter.holding);
        }
        if let Some(codes) = filter.status_code {
            let (first, last) = codes.range();
            let code = |code: u16| Box::new(i16::try_from(code).unwrap_or(-1));
            self.filter("status_code BETWEEN ? AND ?", [code(first) as _, code(last) as _]);
        }
        if let Some(outcome) = filter.outcome {
            self.filter("outcome = ?", [Box::new(outcome.code()) as _]);
        }
        if let Some(event_type) = &filter.event_type {
            self.filter_type(event_type);
        }
        if let Some(replay) = filter.replay {
            let generation = Generation::Replay(replay).to_string();
            // The second condition repeats the condition of the partial index, so that PostgreSQL uses the index.
            self.and("generation = ? AND generation LIKE 'replay:%'", [Box::new(generation) as _]);
        }
        // Every attempt of a delivery has failed, except the last attempt of a delivered one.
        let delivered = DeliveryStatus::Delivered.code();
        match filter.failed_attempts {
            Some(true) => self.filter("number > CASE WHEN status = ? THEN 1 ELSE 0 END", [Box::new(delivered) as _]),
            Some(false) => self.filter("number <= CASE WHEN status = ? THEN 1 ELSE 0 END", [Box::new(delivered) as _]),
            None => {}
        }
        match filter.test {
            Some(true) => self.filter("generation LIKE 'test:%'", []),
            Some(false) => self.filter("(generation IS NULL OR generation NOT LIKE 'test:%')", []),
            None => {}
        }
        Ok(())
    }

    /// Adds the range of time, reduced to the rows that follow `after`.
    fn filter_delivery_times(&mut self, filter: &DeliveryFilter, after: Option<&Cursor>) -> Result<(), StoreError> {
        let newest_first = filter.order.unwrap_or_default() == ListOrder::Newest;
        let place = after.map(|cursor| cursor.at);
        let (earliest, latest) = if newest_first { (None, place) } else { (place, None) };
        if let Some(from) = filter.from {
            self.and("created_at >= ?", [Box::new(Ts(from)) as _]);
        }
        if let Some(to) = filter.to {
            self.and("created_at < ?", [Box::new(Ts(to)) as _]);
        }
        // Limits the partitions. A delivery may be created after its day (if fan-out was delayed), but never before its day.
        if let Some(earliest) = earliest.into_iter().chain(filter.from).max() {
            let oldest = UnixMillis(earliest.0.saturating_sub(LATEST_AFTER_DAY_MS)).day();
            self.and("delivery_day >= ?", [Box::new(Date(oldest)) as _]);
        }
        if let Some(latest) = latest.into_iter().chain(filter.to).min() {
            self.and("delivery_day <= ?", [Box::new(Date(latest.day())) as _]);
        }
        if let Some(cursor) = after {
            let id: Uuid = cursor.id()?;
            let follows = if newest_first { "(created_at, id) < (?, ?)" } else { "(created_at, id) > (?, ?)" };
            self.and(follows, [Box::new(Ts(cursor.at)) as _, Box::new(id) as _]);
        }
        Ok(())
    }
}

/// The event whose deliveries are read.
pub(crate) struct EventKey<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) event: &'a EventId,
    /// The event's day; `None`: every day on which the tenant had an event with this id.
    pub(crate) day: Option<Day>,
}

/// Returns deliveries of one event, in the filter's order. Finds the event's own deliveries by ids that are derived from its
/// decision, which saves an index, and the other deliveries by a partial index.
pub(crate) async fn of_event(
    client: &impl GenericClient,
    EventKey { tenant, event, day }: EventKey<'_>,
    filter: &DeliveryFilter,
    after: Option<&Cursor>,
    limit: i64,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let decided = "SELECT event_day, matched FROM decisions
                   WHERE tenant = $1 AND event_id = $2 AND ($3::date IS NULL OR event_day = $3)";
    let mut firsts = Vec::new();
    let mut days = Vec::new();
    for row in client.query(decided, &[&tenant.0, &event.as_str(), &day.map(Date)]).await? {
        days.push(Date(row.col("event_day")?));
        let matched: Vec<EndpointId> = row.col("matched")?;
        let id = |endpoint| DeliveryId::derive(tenant, event, endpoint, &Generation::First).0;
        firsts.extend(matched.into_iter().map(id));
    }
    let order = filter.order.unwrap_or_default();
    let mut query = Query::new();
    query.and("id = ANY(?) AND delivery_day = ANY(?)", [Box::new(firsts) as _, Box::new(days) as _]);
    query.filter_deliveries(filter, after)?;
    let first = query.sql(&format!("SELECT {COLUMNS} FROM deliveries"), order_by(order), limit);
    let mut rows = client.query(&first, &query.params()).await?;

    let mut query = Query::new();
    let text = event.as_str().to_owned();
    query.and("tenant = ? AND event_id = ? AND generation IS NOT NULL", [Box::new(tenant.0) as _, Box::new(text) as _]);
    query.filter_deliveries(filter, after)?;
    let again = query.sql(&format!("SELECT {COLUMNS} FROM deliveries"), order_by(order), limit);
    rows.extend(client.query(&again, &query.params()).await?);

    let mut deliveries: Vec<DeliveryRow> = read_all(rows)?;
    deliveries.sort_unstable_by_key(|row| (row.delivery.created_at, row.delivery.id));
    if order == ListOrder::Newest {
        deliveries.reverse();
    }
    deliveries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(deliveries)
}

/// See [`History::get_delivery`].
pub(crate) async fn delivery(
    client: &impl GenericClient,
    tenant: Option<TenantId>,
    id: DeliveryId,
) -> Result<Option<DeliveryRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE id = $1 AND ($2::uuid IS NULL OR tenant = $2)
         ORDER BY delivery_day DESC LIMIT 1"
    );
    read_optional(client.query_opt(&sql, &[&id.0, &tenant.map(|t| t.0)]).await?)
}

/// Returns the attempts of a delivery, sorted by number.
async fn attempts(client: &impl GenericClient, id: DeliveryId, day: Day) -> Result<Vec<AttemptRow>, StoreError> {
    let sql = format!(
        "SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE delivery_id = $1 AND delivery_day = $2
         ORDER BY number, started_at, send_id"
    );
    read_all(client.query(&sql, &[&id.0, &Date(day)]).await?)
}

impl History {
    /// Returns deliveries in the filter's order. `tenant` `None` lists the deliveries of every tenant. No index
    /// serves a list of every tenant without an endpoint, so the filter of such a list should have a range of time.
    ///
    /// If `filter` has conditions besides endpoint, event and time, a page searches at most 20,000 deliveries. Such a
    /// page may be short or empty although more deliveries follow; its cursor continues the search.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or an error of the database.
    pub async fn list_deliveries(
        &self,
        tenant: Option<TenantId>,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>, StoreError> {
        let after = page.cursor()?;
        let client = self.0.client().await?;
        let cursor = |row: &DeliveryRow| Cursor::of(row.delivery.created_at, row.delivery.id.0);
        if let (Some(tenant), Some(event)) = (tenant, &filter.event) {
            let key = EventKey { tenant, event, day: None };
            let found = of_event(&client, key, filter, after.as_ref(), page.fetch()).await?;
            return Ok(Page::of(found, page, cursor));
        }
        let mut query = Query::new();
        if let Some(tenant) = tenant {
            query.and("tenant = ?", [Box::new(tenant.0) as _]);
        }
        if let Some(event) = &filter.event {
            query.filter("event_id = ?", [Box::new(event.as_str().to_owned()) as _]);
        }
        query.filter_deliveries(filter, after.as_ref())?;
        let order = order_by(filter.order.unwrap_or_default());
        query.page(&client, &format!("SELECT {COLUMNS} FROM deliveries"), order, page, cursor).await
    }

    /// Returns one delivery; `None` if it does not exist or belongs to another tenant. `tenant` `None` accepts every tenant.
    pub async fn get_delivery(
        &self,
        tenant: Option<TenantId>,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRow>, StoreError> {
        delivery(&self.0.client().await?, tenant, id).await
    }

    /// Returns one delivery with its attempts, sorted by number. Returns `None` in the same cases as [`History::get_delivery`].
    pub async fn delivery_with_attempts(
        &self,
        tenant: Option<TenantId>,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryRow, Vec<AttemptRow>)>, StoreError> {
        let mut client = self.0.client().await?;
        // Reads the delivery and its attempts from one snapshot, because the recorder writes an attempt and the delivery's new
        // state in one transaction.
        let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let tx = snapshot.start().await?;
        let Some(row) = delivery(&tx, tenant, id).await? else { return Ok(None) };
        let attempts = attempts(&tx, id, row.delivery.delivery_day).await?;
        Ok(Some((row, attempts)))
    }
}
