//! `/v1/event-types`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use postrider_model::event::EventType as Name;
use postrider_model::filters::parsed;
use postrider_operations::event_types::{CatalogFormat, EventType, PutEventType};
use postrider_operations::page::List;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::call::{Answer, Call};
use crate::extract::{IfMatch, IfMatchHeader, Versioned};
use crate::query::{PageParams, Paged, Parameters, Query, TenantParam};
use crate::request::StrictJson;
use crate::responses::{BadBody, Conflict, Refused, Stale};

/// A filter of event types.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct EventTypeParams {
    /// Only the type with this name and the types below it: `email` selects `email` and every type that matches `email.*`.
    #[serde(deserialize_with = "parsed")]
    #[param(value_type = Option<String>, example = "email")]
    group: Option<Name>,
}

impl Parameters for EventTypeParams {}

/// The format of an exported catalog.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct ExportParams {
    /// The format of the document; `openapi` by default.
    #[param(inline, required = false, example = "openapi")]
    format: CatalogFormat,
}

impl Parameters for ExportParams {}

/// The answer, with an ETag if the tenant defines the type.
fn with_etag(status: StatusCode, event_type: EventType) -> Response {
    match event_type.version {
        Some(version) => (status, Versioned(version, event_type)).into_response(),
        None => (status, Json(event_type)).into_response(),
    }
}

/// List event types
///
/// The tenant's catalog, sorted by name: the types of its profile, and the types that it defined. A page ends before its `limit`
/// when its samples and schemas reach 1 MiB.
#[utoipa::path(get, path = "/v1/event-types", operation_id = "list_event_types", tag = "event types",
    params(TenantParam, EventTypeParams, PageParams),
    responses((status = 200, body = List<EventType>), Refused))]
pub(crate) async fn list(call: Call<Paged<EventTypeParams>>) -> Answer<Json<List<EventType>>> {
    Ok(Json(call.operations.list_event_types(call.caller, call.query.params.group.as_ref(), &call.query.page).await?))
}

/// Read an event type
#[utoipa::path(get, path = "/v1/event-types/{name}", operation_id = "read_event_type", tag = "event types",
    params(("name" = String, Path, description = "The type's name.", example = "order.paid"), TenantParam),
    responses((status = 200, body = EventType), Refused))]
pub(crate) async fn read(call: Call, Path(name): Path<String>) -> Answer<Response> {
    Ok(with_etag(StatusCode::OK, call.operations.read_event_type(call.caller, &name).await?))
}

/// Define an event type
///
/// Adds a type to the tenant's catalog, or overrides a type of its profile. The definition replaces an earlier one as a whole and
/// is in effect when this is answered. 409 if the tenant would have more than 200 types, or more than 4 MiB of samples and schemas.
#[utoipa::path(put, path = "/v1/event-types/{name}", operation_id = "put_event_type", tag = "event types",
    params(("name" = String, Path, description = "The type's name.", example = "order.paid"), TenantParam, IfMatchHeader),
    request_body = PutEventType,
    responses((status = 200, description = "The replaced definition.", body = EventType, headers(("ETag" = String))),
        (status = 201, description = "The new definition.", body = EventType, headers(("ETag" = String))), Refused, BadBody, Conflict, Stale))]
pub(crate) async fn put(
    call: Call,
    Path(name): Path<String>,
    IfMatch(expected): IfMatch,
    StrictJson(request): StrictJson<PutEventType>,
) -> Answer<Response> {
    let (event_type, is_new) = call.operations.put_event_type(call.caller, &name, expected, request).await?;
    Ok(with_etag(if is_new { StatusCode::CREATED } else { StatusCode::OK }, event_type))
}

/// Delete an event type
///
/// Deletes the tenant's definition. A type that the profile has too gets the profile's definition back; another type leaves the
/// catalog, but stays in existing subscriptions. 409 for a type that only the profile defines.
#[utoipa::path(delete, path = "/v1/event-types/{name}", operation_id = "delete_event_type", tag = "event types",
    params(("name" = String, Path, description = "The type's name.", example = "order.paid"), TenantParam, IfMatchHeader),
    responses((status = 204), Refused, Conflict, Stale))]
pub(crate) async fn delete(call: Call, Path(name): Path<String>, IfMatch(expected): IfMatch) -> Answer<StatusCode> {
    call.operations.delete_event_type(call.caller, &name, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Export the catalog
///
/// The tenant's catalog as an OpenAPI 3.1 document, whose `webhooks` are the event types, or as an AsyncAPI 3.0 document, whose
/// messages they are. Bodies are described in the profile's envelope, with the types' schemas and rendered samples.
#[utoipa::path(get, path = "/v1/catalog", operation_id = "export_catalog", tag = "event types",
    params(TenantParam, ExportParams),
    responses((status = 200, description = "The document.", body = serde_json::Value), Refused))]
pub(crate) async fn export(call: Call<Query<ExportParams>>) -> Answer<Json<serde_json::Value>> {
    Ok(Json(call.operations.export_catalog(call.caller, call.query.0.format).await?))
}
