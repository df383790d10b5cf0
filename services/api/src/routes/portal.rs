//! `/v1/tenants/{id}/portal-links` and `/v1/tenants/{id}/portal-sessions`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use postrider_operations::portal::{CreatePortalLink, PortalLink};

use crate::call::{Answer, Call};
use crate::extract::IdempotencyKey;
use crate::request::OptionalJson;
use crate::responses::{BadBody, KeyInUse, Refused};

/// Create a portal link
///
/// A one-time link to the tenant's dashboard, for a person whom your product has signed in: opening it needs no API key. Its URL
/// is shown this once. With `embed` it can be the address of a frame in your own page. Takes an operator key, or a key of the
/// tenant with the scopes `manage` and `read`. Deleting that key ends the sessions of its links.
#[utoipa::path(post, path = "/v1/tenants/{id}/portal-links", operation_id = "create_portal_link", tag = "portal",
    params(("id" = String, Path, description = "The tenant's id or external id."), IdempotencyKey),
    request_body = CreatePortalLink,
    responses((status = 201, body = PortalLink), Refused, BadBody, KeyInUse))]
pub(crate) async fn create_link(
    call: Call,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<CreatePortalLink>,
) -> Answer<(StatusCode, Json<PortalLink>)> {
    Ok((StatusCode::CREATED, Json(call.operations.create_portal_link(call.caller, &id, request).await?)))
}

/// End portal sessions
///
/// Ends every session of the dashboard that portal links of the tenant opened, and makes links that were not opened invalid.
/// Sessions of API keys stay. Takes an operator key, or a key of the tenant with the scope `manage`.
#[utoipa::path(delete, path = "/v1/tenants/{id}/portal-sessions", operation_id = "end_portal_sessions", tag = "portal",
    params(("id" = String, Path, description = "The tenant's id or external id.")),
    responses((status = 204), Refused))]
pub(crate) async fn end_sessions(call: Call, Path(id): Path<String>) -> Answer<StatusCode> {
    call.operations.end_portal_sessions(call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
