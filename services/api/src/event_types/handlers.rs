//! List, read, say, forget.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_http::problem::Problem;
use postrider_model::event::EventType as Name;
use postrider_model::ids::TenantId;
use postrider_profiles::Profile;
use postrider_store::StoreError;
use postrider_store::config::{EventTypePage, Scope, TenantEventType};

use super::model::{EventType, PutEventType, catalog_page};
use crate::Api;
use crate::auth::Caller;
use crate::errors::{no_such, store_problem};
use crate::page::{List, cursor_of, place_in};
use crate::request::{Params, StrictJson, etag, if_match};

impl Api {
    /// The profile of a tenant, which must be there.
    async fn profile_of(&self, tenant: TenantId) -> Result<&Arc<Profile>, Problem> {
        self.profile(&self.tenant(tenant).await?.draft.profile)
    }

    async fn event_type(&self, tenant: TenantId, name: &Name) -> Result<Option<TenantEventType>, Problem> {
        self.store.config().get_event_type(tenant, name).await.map_err(store_problem)
    }
}

/// Reads a name from the path; one that is malformed is one that nobody has.
fn event_type_name(text: &str) -> Result<Name, Problem> {
    text.parse().map_err(|_| no_such("event type"))
}

/// The last name of a page, as a cursor.
fn cursor(name: &str) -> String {
    cursor_of("event_types", &URL_SAFE_NO_PAD.encode(name))
}

fn name_of(cursor: &str) -> Result<String, Problem> {
    let decoded =
        URL_SAFE_NO_PAD.decode(place_in("event_types", cursor)?).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.filter(|name| name.parse::<Name>().is_ok()).ok_or_else(|| store_problem(StoreError::InvalidCursor))
}

fn with_etag(status: StatusCode, event_type: EventType) -> Response {
    let tag = event_type.version().map(|version| [(header::ETAG, etag(version))]);
    (status, tag, Json(event_type)).into_response()
}

/// List event types
///
/// The tenant's catalog, by name: its profile's types and its own. A page ends before its `limit` when its samples and
/// schemas have 1 MiB.
#[utoipa::path(get, operation_id = "list_event_types", path = "/v1/event-types", tag = "event types",
    params(("tenant" = Option<String>, Query, description = "with an operator key: whose"),
        ("group" = Option<String>, Query, description = "this type and those below it, as in `email.*`", example = "email"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<EventType>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<List<EventType>>, Problem> {
    let params = params.only(&["group", "limit", "cursor"], None)?;
    let tenant = caller.tenant(Scope::Read)?;
    let (limit, group) = (params.limit()?, params.parse::<Name>("group")?);
    let after = params.cursor().map(name_of).transpose()?;
    let (after, group) = (after.as_deref(), group.as_ref().map(Name::as_str));
    let profile = api.profile_of(tenant).await?;
    // One more than the page has, to know whether another follows.
    let page = EventTypePage { after, group, limit: limit + 1 };
    let said = api.store.config().list_event_types(tenant, page).await.map_err(store_problem)?;
    let last = said.items.last().filter(|_| said.is_cut).map(|last| last.name.to_string());
    let mut data: Vec<EventType> = catalog_page(profile, said.items, after, group).collect();
    // Of a page that is cut short, the profile's types end where the tenant's do.
    data.retain(|event_type| last.as_deref().is_none_or(|last| event_type.name() <= last));
    let more = last.is_some() || data.len() > limit as usize;
    data.truncate(limit as usize);
    let next_cursor = data.last().filter(|_| more).map(|last| cursor(last.name()));
    Ok(Json(List { data, next_cursor }))
}

/// Read an event type
#[utoipa::path(get, operation_id = "read_event_type", path = "/v1/event-types/{name}", tag = "event types",
    params(("name" = String, Path, example = "order.paid"), ("tenant" = Option<String>, Query, description = "with an operator key: whose")),
    responses((status = 200, body = EventType), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    params.only(&[], None)?;
    let (tenant, name) = (caller.tenant(Scope::Read)?, event_type_name(&name)?);
    let named = api.profile_of(tenant).await?.event_type(name.as_str());
    let event_type = EventType::of(named, api.event_type(tenant, &name).await?);
    Ok(with_etag(StatusCode::OK, event_type.ok_or_else(|| no_such("event type"))?))
}

/// Say what an event type is
///
/// Makes a type of the tenant's own, or says more about one of its profile's; what was said before is replaced as a whole.
/// In force when this is answered. Refused with 409 at 200 types, and at 4 MiB of samples
/// and schemas of all of them.
#[utoipa::path(put, operation_id = "put_event_type", path = "/v1/event-types/{name}", tag = "event types",
    params(("name" = String, Path, example = "order.paid"), ("tenant" = Option<String>, Query, description = "with an operator key: whose"),
        ("If-Match" = Option<String>, Header)), request_body = PutEventType,
    responses((status = 200, description = "It was said before, and is replaced.", body = EventType, headers(("ETag" = String))),
        (status = 201, description = "It is new.", body = EventType, headers(("ETag" = String))),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn put(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(name): Path<String>,
    headers: HeaderMap,
    StrictJson(request): StrictJson<PutEventType>,
) -> Result<Response, Problem> {
    params.only(&[], None)?;
    let (tenant, expected) = (caller.tenant(Scope::Manage)?, if_match(&headers)?);
    let name: Name = name.parse().map_err(|error| Problem::invalid_field("name", format!("{error}")))?;
    let named = api.profile_of(tenant).await?.event_type(name.as_str());
    let draft = api.heavy.check_schema(tenant, move || request.check()).await??;
    let saved =
        api.edits_of(caller)?.config().put_event_type(tenant, &name, &draft, expected).await.map_err(store_problem)?;
    let status = if saved.created { StatusCode::CREATED } else { StatusCode::OK };
    let event_type = EventType::of(named, Some(saved.event_type)).ok_or_else(Problem::internal)?;
    Ok(with_etag(status, event_type))
}

/// Delete an event type
///
/// Forgets what the tenant says. Its own type is in the catalog no more, though subscriptions keep it; of a type of the
/// profile's the profile's words hold again, and it cannot be deleted itself (409).
#[utoipa::path(delete, operation_id = "delete_event_type", path = "/v1/event-types/{name}", tag = "event types",
    params(("name" = String, Path, example = "order.paid"), ("tenant" = Option<String>, Query, description = "with an operator key: whose"),
        ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    params.only(&[], None)?;
    let (tenant, expected) = (caller.tenant(Scope::Manage)?, if_match(&headers)?);
    let name = event_type_name(&name)?;
    let profile = api.profile_of(tenant).await?;
    match api.edits_of(caller)?.config().delete_event_type(tenant, &name, expected).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(StoreError::NotFound { .. }) if profile.event_type(name.as_str()).is_some() => {
            Err(Problem::conflict(format!(
                "{name} is a type of the profile {} and cannot be deleted; the tenant said nothing of its own about it",
                profile.name
            )))
        }
        Err(error) => Err(store_problem(error)),
    }
}
