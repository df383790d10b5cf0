//! `/v1/events`: what was accepted.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use postrider_http::problem::Problem;
use postrider_model::event::is_attribute_name;
use postrider_model::ids::EventId;
use postrider_model::subscription::TypePattern;
use postrider_store::config::Scope;
use postrider_store::history::{EventFilter, EventSummary};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::deliveries::Delivery;
use crate::errors::{no_such, store_problem};
use crate::page::{List, page_request};
use crate::request::{Params, gather, query_error};
use crate::time::shown;

const ATTRIBUTES: &str = "attributes.";

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Event {
    #[schema(example = "evt_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub(crate) id: String,
    pub(crate) tenant_id: String,
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    /// When it happened, as the producer says.
    #[schema(format = DateTime)]
    pub(crate) timestamp: String,
    /// When it was accepted.
    #[schema(format = DateTime)]
    pub(crate) accepted_at: String,
    /// `api` or `dashboard`.
    pub(crate) origin: String,
    /// What it can be filtered by.
    pub(crate) attributes: BTreeMap<String, String>,
    /// The lane its deliveries took: `live` or `bulk`.
    pub(crate) lane: String,
}

/// An event, whole, with its deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventDetail {
    #[serde(flatten)]
    pub(crate) event: Event,
    /// The producer's JSON as it was sent; `null` after an expunge.
    #[schema(value_type = serde_json::Value, required = true, example = json!({"email": "recipient@example.com"}))]
    pub(crate) data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) metadata: Option<Box<RawValue>>,
    /// Newest first, at most 1,000.
    pub(crate) deliveries: Vec<Delivery>,
}

impl From<EventSummary> for Event {
    fn from(event: EventSummary) -> Self {
        Self {
            id: event.id.to_string(),
            tenant_id: event.tenant.to_string(),
            event_type: event.event_type.to_string(),
            timestamp: shown(event.occurred_at),
            accepted_at: shown(event.accepted_at),
            origin: event.origin.as_str().to_owned(),
            attributes: event.attributes.0.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            lane: event.lane.to_string(),
        }
    }
}

fn filter_of(params: &Params) -> Result<EventFilter, Problem> {
    let mut wrong = Vec::new();
    let (from, to) = gather(params.range(), &mut wrong).unwrap_or_default();
    let event_type = gather(params.parse::<TypePattern>("type"), &mut wrong).flatten();
    let mut attributes = BTreeMap::new();
    for (name, value) in params.prefixed(ATTRIBUTES) {
        if !is_attribute_name(name) || value.contains('\0') {
            wrong.push(query_error(&format!("{ATTRIBUTES}{name}"), "not an attribute's name and value"));
        }
        attributes.insert(name.to_owned(), value.to_owned());
    }
    if wrong.is_empty() {
        Ok(EventFilter { event_type, from, to, attributes })
    } else {
        Err(Problem::unprocessable(wrong))
    }
}

/// List events
///
/// Newest first. `attributes.<name>=<value>` asks for events with that attribute.
#[utoipa::path(get, operation_id = "list_events", path = "/v1/events", tag = "events",
    params(("tenant" = Option<String>, Query, description = "with an operator key: whose; absent: everybody's"),
        ("type" = Option<String>, Query, description = "a type, or a pattern such as `email.*`"), ("from" = Option<String>, Query, description = "accepted at or after this"),
        ("to" = Option<String>, Query, description = "accepted before this"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<Event>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<List<Event>>, Problem> {
    let params = params.only(&["type", "from", "to", "limit", "cursor"], Some(ATTRIBUTES))?;
    let visible = caller.visible(Scope::Read)?;
    let (filter, page) = (filter_of(&params)?, page_request("events", &params)?);
    let page = api.store.history().list_events(visible, &filter, &page).await.map_err(store_problem)?;
    Ok(Json(List::of("events", page, Event::from)))
}

/// Read an event with its deliveries
#[utoipa::path(get, operation_id = "read_event", path = "/v1/events/{id}", tag = "events",
    params(("id" = String, Path), ("tenant" = Option<String>, Query, description = "with an operator key: whose")),
    responses((status = 200, body = EventDetail), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<Json<EventDetail>, Problem> {
    params.only(&[], None)?;
    // An event's id is unique in its tenant only.
    let tenant = caller.tenant(Scope::Read)?;
    let id: EventId = id.parse().map_err(|_| no_such("event"))?;
    let event =
        api.store.history().get_event(tenant, &id).await.map_err(store_problem)?.ok_or_else(|| no_such("event"))?;
    let day = event.summary.event_day;
    let deliveries = api.store.history().deliveries_of_event(tenant, &id, day).await.map_err(store_problem)?;
    let raw = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok().and_then(|text| RawValue::from_string(text).ok());
    Ok(Json(EventDetail {
        data: event.data.as_deref().and_then(raw),
        metadata: event.metadata,
        event: event.summary.into(),
        deliveries: deliveries.into_iter().map(Delivery::from).collect(),
    }))
}
