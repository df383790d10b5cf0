//! Events and their decisions.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_model::delivery::Lane;
use postrider_model::event::{Attributes, EventType, Origin};
use postrider_model::ids::{EndpointId, EventId, TenantId};
use postrider_model::time::{Day, UnixMillis};
use serde_json::value::RawValue;

use super::{DeliveryRow, Page, PageRequest};
use crate::error::StoreError;
use crate::pool::Store;

/// Which events a caller wants; what is `None` or empty does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Of this type.
    pub event_type: Option<EventType>,
    /// Accepted at or after this.
    pub from: Option<UnixMillis>,
    /// Accepted before this.
    pub to: Option<UnixMillis>,
    /// With these attribute values.
    pub attributes: BTreeMap<String, String>,
}

/// An event in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSummary {
    /// Its id.
    pub id: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// Its type.
    pub event_type: EventType,
    /// When it happened.
    pub occurred_at: UnixMillis,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// Its partition.
    pub event_day: Day,
    /// Where it was caused.
    pub origin: Origin,
    /// What it can be filtered by.
    pub attributes: Attributes,
    /// The lane its deliveries took.
    pub lane: Lane,
}

/// An event, whole.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// All but its bytes.
    pub summary: EventSummary,
    /// What the product put beside `data`.
    pub metadata: Option<Box<RawValue>>,
    /// The producer's bytes; `None` after an expunge.
    pub data: Option<Bytes>,
}

/// What was decided about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionRow {
    /// The event.
    pub event: EventId,
    /// Its partition.
    pub event_day: Day,
    /// The configuration that it was decided by (the first time, if it was twice).
    pub config_version: i64,
    /// When.
    pub decided_at: UnixMillis,
    /// The endpoints that matched.
    pub matched: Vec<EndpointId>,
}

impl Store {
    /// Events, newest first. `tenant` `None`: every tenant's.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or the database's.
    pub async fn list_events(
        &self,
        tenant: Option<TenantId>,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Page<EventSummary>, StoreError> {
        let _ = (tenant, filter, page);
        todo!()
    }

    /// One event of a tenant; should an id have been accepted on two days, the later.
    ///
    /// # Errors
    /// The database's.
    pub async fn get_event(&self, tenant: TenantId, id: &EventId) -> Result<Option<EventRow>, StoreError> {
        let _ = (tenant, id);
        todo!()
    }

    /// What was decided about an event of a tenant.
    ///
    /// # Errors
    /// The database's.
    pub async fn get_decision(
        &self,
        tenant: TenantId,
        id: &EventId,
        day: Day,
    ) -> Result<Option<DecisionRow>, StoreError> {
        let _ = (tenant, id, day);
        todo!()
    }

    /// Every delivery of an event, newest first (at most 1,000).
    ///
    /// # Errors
    /// The database's.
    pub async fn deliveries_of_event(
        &self,
        tenant: TenantId,
        id: &EventId,
        day: Day,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let _ = (tenant, id, day);
        todo!()
    }
}
