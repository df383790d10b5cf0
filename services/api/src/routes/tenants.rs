//! `/v1/tenants`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use postrider_operations::page::List;
use postrider_operations::tenants::{CreateTenant, EditTenant, Tenant};

use super::{Answer, Ops};
use crate::auth::Auth;
use crate::extract::{IdempotencyKey, IfMatch, IfMatchHeader, Versioned};
use crate::query::{NoQuery, Page, PageParams};
use crate::request::StrictJson;
use crate::responses::{BadBody, Conflict, KeyInUse, Refused, Stale};

/// Create a tenant
///
/// Takes an operator key.
#[utoipa::path(post, path = "/v1/tenants", operation_id = "create_tenant", tag = "tenants",
    params(IdempotencyKey),
    request_body = CreateTenant,
    responses((status = 201, body = Tenant, headers(("ETag" = String))), Refused, BadBody, KeyInUse))]
pub(crate) async fn create(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    StrictJson(request): StrictJson<CreateTenant>,
) -> Answer<(StatusCode, Versioned<Tenant>)> {
    let tenant = api.operations.create_tenant(caller, request).await?;
    Ok((StatusCode::CREATED, Versioned(tenant.version, tenant)))
}

/// List tenants
///
/// Newest first. Takes an operator key.
#[utoipa::path(get, path = "/v1/tenants", operation_id = "list_tenants", tag = "tenants",
    params(PageParams),
    responses((status = 200, body = List<Tenant>), Refused))]
pub(crate) async fn list(State(api): Ops, Auth(caller): Auth, Page(page): Page) -> Answer<Json<List<Tenant>>> {
    Ok(Json(api.operations.list_tenants(caller, &page).await?))
}

/// Read a tenant
///
/// Takes an operator key, or a key of the tenant with the scope `read`.
#[utoipa::path(get, path = "/v1/tenants/{id}", operation_id = "read_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant's id or external id.")),
    responses((status = 200, body = Tenant, headers(("ETag" = String))), Refused))]
pub(crate) async fn read(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    Path(id): Path<String>,
) -> Answer<Versioned<Tenant>> {
    let tenant = api.operations.read_tenant(caller, &id).await?;
    Ok(Versioned(tenant.version, tenant))
}

/// Edit a tenant
///
/// An absent member stays, `null` clears one. 409 for another profile while the tenant has endpoints. Takes an operator key.
#[utoipa::path(patch, path = "/v1/tenants/{id}", operation_id = "edit_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant's id or external id."), IfMatchHeader),
    request_body = EditTenant,
    responses((status = 200, body = Tenant, headers(("ETag" = String))), Refused, BadBody, Conflict, Stale))]
pub(crate) async fn edit(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
    StrictJson(request): StrictJson<EditTenant>,
) -> Answer<Versioned<Tenant>> {
    let tenant = api.operations.edit_tenant(caller, &id, expected, request).await?;
    Ok(Versioned(tenant.version, tenant))
}

/// Delete a tenant
///
/// Deletes its keys and endpoints, and discards its pending deliveries. Takes an operator key.
#[utoipa::path(delete, path = "/v1/tenants/{id}", operation_id = "delete_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant's id or external id."), IfMatchHeader),
    responses((status = 204), Refused, Conflict, Stale))]
pub(crate) async fn delete(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    api.operations.delete_tenant(caller, &id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}
