//! Events that were accepted.

mod payload_search;

use std::collections::BTreeMap;

use postrider_model::delivery::Lane;
use postrider_model::event::{Origin, is_attribute_name};
use postrider_model::ids::{EventId, TenantId};
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_store::attributes::AttributeValue as StoredValue;
use postrider_store::history::{EventRow, EventSummary};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::deliveries::Delivery;
use crate::error::parse_id;
use crate::page::{List, PageQuery};
use crate::{Caller, Error, Operations};

use self::payload_search::Search;

pub use postrider_model::filters::EventFilter;

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(example = "email.bounced")]
    pub event_type: String,
    /// When it happened, as stated by the producer.
    pub timestamp: Timestamp,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// What caused the event.
    pub origin: Origin,
    /// The attributes by which it can be filtered.
    #[schema(example = json!({"bridge": "b1"}))]
    pub attributes: BTreeMap<String, String>,
    /// The lane in which its deliveries start.
    pub lane: Lane,
    /// When the first attempts of its deliveries are due; absent: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<Timestamp>,
    /// When it expires: no attempt starts at this time or later, unless a person requests it with a retry or a replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventPage {
    /// The events of this page in the order of `order`; newest first by default.
    pub data: Vec<Event>,
    /// The `cursor` of the next page; `null` on the last page. A page of a filtered list reads at most 20,000 events, and with
    /// `payload` at most 10,000, so it may have fewer items than `limit`, or none, although further pages follow.
    #[schema(required = true, example = json!(null))]
    pub next_cursor: Option<String>,
    /// What a search with `payload` examined for this page; absent for other lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searched: Option<Searched>,
}

/// What a search in payloads examined for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Searched {
    /// The number of events, including those that the other filters exclude and those whose payload was expunged.
    #[schema(example = 10_000)]
    pub events: u32,
    /// When the last of them was accepted; `null` if there were none.
    #[schema(required = true, example = "2026-01-02T03:04:05.006Z")]
    pub until: Option<Timestamp>,
}

/// An event with its payload and its deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventDetail {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// The payload: the producer's JSON, unchanged; `null` after it was expunged.
    #[schema(value_type = serde_json::Value, required = true, example = json!({"email": "recipient@example.com"}))]
    pub data: Option<Box<RawValue>>,
    /// The object that the product sent in addition to `data`; absent if the product sent none, or if the payload was expunged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Box<RawValue>>,
    /// Its deliveries, newest first, at most 1,000.
    pub deliveries: Vec<Delivery>,
}

/// A value of an attribute.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttributeValue {
    /// The value.
    #[schema(example = "bridge-7")]
    pub value: String,
    /// The approximate number of events with this value in the last 7 days.
    pub events: u64,
    /// When the last event with this value was accepted.
    pub last_seen_at: Timestamp,
}

impl From<StoredValue> for AttributeValue {
    fn from(stored: StoredValue) -> Self {
        Self { value: stored.value, events: stored.events, last_seen_at: stored.seen_at.into() }
    }
}

impl From<EventSummary> for Event {
    fn from(event: EventSummary) -> Self {
        Self {
            id: event.id,
            tenant_id: event.tenant,
            event_type: event.event_type.to_string(),
            timestamp: event.occurred_at.into(),
            accepted_at: event.accepted_at.into(),
            origin: event.origin,
            attributes: event.attributes.0.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            lane: event.lane,
            deliver_at: event.deliver_at.map(Timestamp),
            expires_at: event.expires_at.map(Timestamp),
        }
    }
}

impl Operations {
    /// Reads an event of the caller's tenant. The id of an event is unique only within its tenant.
    pub(crate) async fn stored_event(&self, caller: Caller, id: &str) -> Result<(TenantId, EventId, EventRow), Error> {
        let (tenant, id) = (caller.tenant(Scope::Read)?, parse_id("event", id)?);
        let event = self.store.history().get_event(tenant, &id).await?.ok_or(Error::NotFound("event"))?;
        Ok((tenant, id, event))
    }

    /// Lists the events that the caller may see. Requires the scope `read`. A search in payloads reads the events of one tenant.
    ///
    /// # Errors
    /// [`Error::TooMany`] while the tenant's other searches run. [`Error::Invalid`] for an operator that searches payloads and
    /// names no tenant.
    pub async fn list_events(
        &self,
        caller: Caller,
        filter: &EventFilter,
        page: &PageQuery,
    ) -> Result<EventPage, Error> {
        if let Some(payload) = &filter.payload {
            let tenant = caller.tenant(Scope::Read)?;
            let slot = self.heavy.search(Some(tenant)).await?;
            let (history, filter, payload, page) =
                (self.store.history().clone(), filter.clone(), payload.clone(), page.clone());
            // If the client disconnects, the search holds its slot until its query has ended.
            let search = tokio::spawn(async move {
                let _slot = slot;
                Search { history: &history, tenant, filter: &filter, payload: &payload }.page(&page).await
            });
            return search.await.map_err(|error| {
                tracing::error!(%error, "a search in payloads ended early");
                Error::Internal
            })?;
        }
        let visible = caller.visible(Scope::Read)?;
        let _slot = if filter.is_search() { Some(self.heavy.search(visible).await?) } else { None };
        let page = self.store.history().list_events(visible, filter, &page.request("events")?).await?;
        let List { data, next_cursor } = List::of("events", page, Event::from);
        Ok(EventPage { data, next_cursor, searched: None })
    }

    /// Reads an event with its deliveries. Requires the scope `read`.
    pub async fn read_event(&self, caller: Caller, id: &str) -> Result<EventDetail, Error> {
        let (tenant, id, event) = self.stored_event(caller, id).await?;
        let deliveries = self.store.history().deliveries_of_event(tenant, &id, event.summary.event_day).await?;
        let raw =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok().and_then(|text| RawValue::from_string(text).ok());
        Ok(EventDetail {
            data: event.data.as_deref().and_then(raw),
            metadata: event.metadata,
            event: event.summary.into(),
            deliveries: self.show_deliveries(deliveries).await?,
        })
    }

    /// Erases an event's payload from the history and discards its pending deliveries. Requires the scope `manage`.
    pub async fn expunge_payload(&self, caller: Caller, id: &str) -> Result<(), Error> {
        let (tenant, id) = (caller.tenant(Scope::Manage)?, parse_id("event", id)?);
        self.edits_of(caller)?.expunge_event(tenant, &id).await?;
        Ok(())
    }

    /// Lists the values of an attribute in the tenant's events of the last 7 days, most frequent first. Requires the scope
    /// `read`.
    pub async fn attribute_values(
        &self,
        caller: Caller,
        name: &str,
        limit: u32,
    ) -> Result<List<AttributeValue>, Error> {
        let tenant = caller.tenant(Scope::Read)?;
        if !is_attribute_name(name) {
            return Err(Error::invalid("name", "1 to 64 of a-z 0-9 _ -, beginning with a letter"));
        }
        let values = self.store.history().attribute_values(tenant, name, UnixMillis::now().day(), limit).await?;
        Ok(List::whole(values.into_iter().map(AttributeValue::from)))
    }
}
