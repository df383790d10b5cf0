//! `/v1/events` and `/v1/attributes`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use postrider_http::problem::FieldError;
use postrider_model::event::is_attribute_name;
use postrider_model::ids::EventId;
use postrider_operations::events::{AttributeValue, EventDetail, EventFilter, EventPage};
use postrider_operations::explain::Explanations;
use postrider_operations::page::List;

use crate::call::{Answer, Call};
use crate::query::{AnyTenantParam, Limit, PageParams, Paged, Parameters, Query, TenantParam, check_range};
use crate::responses::Refused;

impl Parameters for EventFilter {
    const PREFIX: Option<&str> = Some("attributes.");

    fn take(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        if !is_attribute_name(name) || value.contains('\0') {
            return Err("not an attribute's name and value");
        }
        self.attributes.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    fn check(&self) -> Result<(), FieldError> {
        check_range(self.from, self.to)
    }
}

/// List events
///
/// Newest first; `order=oldest` reverses the list. `attributes.<name>=<value>` selects events with that attribute, and
/// `payload=<field>=<value>` events with that value in their payload. A search in payloads says in `searched` what it examined; its
/// cursor continues it.
#[utoipa::path(get, path = "/v1/events", operation_id = "list_events", tag = "events",
    params(AnyTenantParam, EventFilter, PageParams),
    responses((status = 200, body = EventPage), Refused))]
pub(crate) async fn list(call: Call<Paged<EventFilter>>) -> Answer<Json<EventPage>> {
    Ok(Json(call.operations.list_events(call.caller, &call.query.params, &call.query.page).await?))
}

/// Read an event with its deliveries
#[utoipa::path(get, path = "/v1/events/{id}", operation_id = "read_event", tag = "events",
    params(("id" = EventId, Path, description = "The event's id."), TenantParam),
    responses((status = 200, body = EventDetail), Refused))]
pub(crate) async fn read(call: Call, Path(id): Path<String>) -> Answer<Json<EventDetail>> {
    Ok(Json(call.operations.read_event(call.caller, &id).await?))
}

/// Explain an event
///
/// Says for each endpoint whether it got the event and why, and whether it would get the event now. Both use the profile as it is
/// now. 429 while another event of the tenant is being explained.
#[utoipa::path(get, path = "/v1/events/{id}/explain", operation_id = "explain_event", tag = "events",
    params(("id" = EventId, Path, description = "The event's id."), TenantParam),
    responses((status = 200, body = Explanations), Refused))]
pub(crate) async fn explain(call: Call, Path(id): Path<String>) -> Answer<Json<Explanations>> {
    Ok(Json(call.operations.explain_event(call.caller, &id).await?))
}

/// Expunge an event's payload
///
/// Erases `data` and `metadata` from the history. Pending deliveries of the event are discarded with the reason `expunged`. The
/// event cannot be retried or replayed. Its other fields, its deliveries and their attempts stay in the history.
#[utoipa::path(delete, path = "/v1/events/{id}/payload", operation_id = "expunge_payload", tag = "events",
    params(("id" = EventId, Path, description = "The event's id."), TenantParam),
    responses((status = 204), Refused))]
pub(crate) async fn expunge(call: Call, Path(id): Path<String>) -> Answer<StatusCode> {
    call.operations.expunge_payload(call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the values of an attribute
///
/// The values of the attribute in the tenant's events of the last 7 days, most frequent first, for choosing filters. The counts are
/// approximate.
#[utoipa::path(get, path = "/v1/attributes/{name}", operation_id = "list_attribute_values", tag = "events",
    params(("name" = String, Path, description = "The attribute's name.", example = "sending_domain"), TenantParam, Limit),
    responses((status = 200, body = List<AttributeValue>), Refused))]
pub(crate) async fn attribute_values(
    call: Call<Query<Limit>>,
    Path(name): Path<String>,
) -> Answer<Json<List<AttributeValue>>> {
    Ok(Json(call.operations.attribute_values(call.caller, &name, call.query.0.limit()).await?))
}
