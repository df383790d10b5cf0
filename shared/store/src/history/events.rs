//! Reads events and their decisions.

use bytes::Bytes;
use deadpool_postgres::GenericClient;
use postrider_model::delivery::Lane;
use postrider_model::event::{Attributes, EventType, Origin};
use postrider_model::filters::{DeliveryFilter, EventFilter, ListOrder};
use postrider_model::ids::{EndpointId, EventId, TenantId};
use postrider_model::time::{Day, UnixMillis};
use postrider_wire::messages::EventRef;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::deliveries::{EventKey, of_event};
use super::query::Query;
use super::{Cursor, DeliveryRow, Page, PageRequest};
use crate::error::StoreError;
use crate::sql::{Date, FromRow, RowExt, Ts, clean, from_row, read_optional};
use crate::store::History;

/// The order of a list, in SQL. One index serves both orders.
pub(super) fn order_by(order: ListOrder) -> &'static str {
    match order {
        ListOrder::Newest => "accepted_at DESC, id DESC",
        ListOrder::Oldest => "accepted_at, id",
    }
}

/// An event in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSummary {
    /// Its id.
    pub id: EventId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its type.
    pub event_type: EventType,
    /// When it happened.
    pub occurred_at: UnixMillis,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// The day of its acceptance, by which it is partitioned.
    pub event_day: Day,
    /// Whether an API call or the dashboard caused it.
    pub origin: Origin,
    /// The attributes by which it can be filtered.
    pub attributes: Attributes,
    /// The lane of its deliveries.
    pub lane: Lane,
    /// When the first attempts of its deliveries are due; `None`: at once.
    pub deliver_at: Option<UnixMillis>,
    /// No attempt of its deliveries starts at this time or later, unless a person requests it.
    pub expires_at: Option<UnixMillis>,
}

impl EventSummary {
    /// The reference to the event that messages contain.
    pub fn event_ref(&self) -> EventRef {
        EventRef {
            id: self.id.clone(),
            day: self.event_day,
            event_type: self.event_type.clone(),
            tenant: self.tenant,
            accepted_at: self.accepted_at,
        }
    }
}

/// An event with its payload.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// Everything but the payload.
    pub summary: EventSummary,
    /// The metadata that the producer sent.
    pub metadata: Option<Box<RawValue>>,
    /// The bytes of `data` as the producer sent them; `None` if they were expunged.
    pub data: Option<Bytes>,
}

/// Fan-out's decision about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionRow {
    /// The event.
    pub event: EventId,
    /// The event's day.
    pub event_day: Day,
    /// The configuration version by which fan-out decided; for a merge of two decisions, the lower version.
    pub config_version: i64,
    /// When fan-out decided.
    pub decided_at: UnixMillis,
    /// The endpoints that matched.
    pub matched: Vec<EndpointId>,
}

from_row!(EventSummary {
    id,
    tenant,
    event_type: "type",
    occurred_at,
    accepted_at,
    event_day,
    origin,
    attributes,
    lane,
    deliver_at,
    expires_at,
});

impl FromRow for EventRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { summary: EventSummary::read(row)?, metadata: row.col("metadata")?, data: row.col("data")? })
    }
}

/// See [`History::get_event`]. A `day` limits the search to that day's partition.
pub(crate) async fn event(
    client: &impl GenericClient,
    tenant: TenantId,
    id: &EventId,
    day: Option<Day>,
) -> Result<Option<EventRow>, StoreError> {
    let on = if day.is_some() { " AND event_day = $3" } else { "" };
    let sql = format!(
        "SELECT {}, metadata, data FROM events WHERE tenant = $1 AND id = $2{on} ORDER BY event_day DESC LIMIT 1",
        EventSummary::COLUMNS
    );
    let (text, day) = (id.as_str(), day.map(Date));
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&tenant.0, &text];
    if let Some(day) = &day {
        params.push(day);
    }
    read_optional(client.query_opt(&sql, &params).await?)
}

/// See [`History::get_decision`].
pub(crate) async fn decision(
    client: &impl GenericClient,
    tenant: TenantId,
    id: &EventId,
    day: Day,
) -> Result<Option<DecisionRow>, StoreError> {
    let sql = "SELECT config_version, decided_at, matched FROM decisions
               WHERE tenant = $1 AND event_id = $2 AND event_day = $3";
    let Some(row) = client.query_opt(sql, &[&tenant.0, &id.as_str(), &Date(day)]).await? else { return Ok(None) };
    Ok(Some(DecisionRow {
        event: id.clone(),
        event_day: day,
        config_version: row.col("config_version")?,
        decided_at: row.col("decided_at")?,
        matched: row.col("matched")?,
    }))
}

impl Query {
    /// The events that meet a filter and follow `after`, without the filter's `payload`.
    pub(super) fn of_events(tenant: Option<TenantId>, filter: &EventFilter, after: Option<Cursor>) -> Self {
        let mut query = Self::new();
        if let Some(tenant) = tenant {
            query.and("tenant = ?", [Box::new(tenant.0) as _]);
        }
        if let Some(event_type) = &filter.event_type {
            query.filter_type(event_type);
        }
        query.filter_event_times(filter, after);
        for (name, value) in &filter.attributes {
            let (name, value) = (clean(name).into_owned(), clean(value).into_owned());
            query.filter("attributes ->> ? = ?", [Box::new(name) as _, Box::new(value) as _]);
        }
        query
    }

    /// Adds the range of time, reduced to the rows that follow `after`. An event's day is the day of its acceptance, so the
    /// range limits the partitions.
    fn filter_event_times(&mut self, filter: &EventFilter, after: Option<Cursor>) {
        let newest_first = filter.order.unwrap_or_default() == ListOrder::Newest;
        let place = after.as_ref().map(|cursor| cursor.at);
        let (earliest, latest) = if newest_first { (None, place) } else { (place, None) };
        if let Some(from) = filter.from {
            self.and("accepted_at >= ?", [Box::new(Ts(from)) as _]);
        }
        if let Some(to) = filter.to {
            self.and("accepted_at < ?", [Box::new(Ts(to)) as _]);
        }
        if let Some(earliest) = earliest.into_iter().chain(filter.from).max() {
            self.and("event_day >= ?", [Box::new(Date(earliest.day())) as _]);
        }
        if let Some(latest) = latest.into_iter().chain(filter.to).min() {
            self.and("event_day <= ?", [Box::new(Date(latest.day())) as _]);
        }
        if let Some(cursor) = after {
            let follows = if newest_first { "(accepted_at, id) < (?, ?)" } else { "(accepted_at, id) > (?, ?)" };
            self.and(follows, [Box::new(Ts(cursor.at)) as _, Box::new(cursor.id) as _]);
        }
    }
}

impl History {
    /// Returns events in the filter's order. `tenant` `None` lists the events of every tenant; no index serves that list, so
    /// the filter should have a range of time.
    ///
    /// If `filter` has conditions besides a range of time, a page searches at most 20,000 events. Such a page may be short or
    /// empty although more events follow; its cursor continues the search. This does not evaluate the filter's `payload`; see
    /// [`History::search_step`].
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or an error of the database.
    pub async fn list_events(
        &self,
        tenant: Option<TenantId>,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Page<EventSummary>, StoreError> {
        let query = Query::of_events(tenant, filter, page.cursor()?);
        let select = format!("SELECT {} FROM events", EventSummary::COLUMNS);
        let cursor = |event: &EventSummary| Cursor::of(event.accepted_at, &event.id);
        let order = order_by(filter.order.unwrap_or_default());
        query.page(&self.0.client().await?, &select, order, page, cursor).await
    }

    /// Returns one event of a tenant. If two events with this id are on record, returns the later one.
    pub async fn get_event(&self, tenant: TenantId, id: &EventId) -> Result<Option<EventRow>, StoreError> {
        event(&self.0.client().await?, tenant, id, None).await
    }

    /// One event of a tenant that was accepted on `day`.
    pub async fn event_of_day(&self, tenant: TenantId, id: &EventId, day: Day) -> Result<Option<EventRow>, StoreError> {
        event(&self.0.client().await?, tenant, id, Some(day)).await
    }

    /// The decision about an event of a tenant that was accepted on `day`.
    pub async fn get_decision(
        &self,
        tenant: TenantId,
        id: &EventId,
        day: Day,
    ) -> Result<Option<DecisionRow>, StoreError> {
        decision(&self.0.client().await?, tenant, id, day).await
    }

    /// The deliveries of an event, newest first, at most 1,000.
    pub async fn deliveries_of_event(
        &self,
        tenant: TenantId,
        id: &EventId,
        day: Day,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let filter = DeliveryFilter { event: Some(id.clone()), ..DeliveryFilter::default() };
        let client = self.0.client().await?;
        let key = EventKey { tenant, event: id, day: Some(day) };
        of_event(&client, key, &filter, None, 1_000).await
    }
}
