//! `/v1/tenants`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use postrider_operations::page::List;
use postrider_operations::tenants::{CreateTenant, EditTenant, Tenant, TenantInList, TenantUsage, TenantsQuery};

use crate::call::{Answer, Call};
use crate::extract::{IdempotencyKey, IfMatch, IfMatchHeader, Versioned};
use crate::query::{PageParams, Paged, Parameters};
use crate::request::StrictJson;
use crate::responses::{BadBody, Conflict, KeyInUse, Refused, Stale};

impl Parameters for TenantsQuery {}

/// Create a tenant
///
/// Requires an operator key.
#[utoipa::path(post, path = "/v1/tenants", operation_id = "create_tenant", tag = "tenants",
    params(IdempotencyKey),
    request_body = CreateTenant,
    responses((status = 201, body = Tenant, headers(("ETag" = String))), Refused, BadBody, KeyInUse))]
pub(crate) async fn create(
    call: Call,
    StrictJson(request): StrictJson<CreateTenant>,
) -> Answer<(StatusCode, Versioned<Tenant>)> {
    let tenant = call.operations.create_tenant(call.caller, request).await?;
    Ok((StatusCode::CREATED, Versioned(tenant.version, tenant)))
}

/// List tenants
///
/// Newest first, with the state of their endpoints. Requires an operator key.
#[utoipa::path(get, path = "/v1/tenants", operation_id = "list_tenants", tag = "tenants",
    params(TenantsQuery, PageParams),
    responses((status = 200, body = List<TenantInList>), Refused))]
pub(crate) async fn list(call: Call<Paged<TenantsQuery>>) -> Answer<Json<List<TenantInList>>> {
    Ok(Json(call.operations.list_tenants(call.caller, &call.query.params, &call.query.page).await?))
}

/// Read a tenant
///
/// Requires an operator key, or a key of the tenant with the scope `read`.
#[utoipa::path(get, path = "/v1/tenants/{id}", operation_id = "read_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant's id or external id.")),
    responses((status = 200, body = Tenant, headers(("ETag" = String))), Refused))]
pub(crate) async fn read(call: Call, Path(id): Path<String>) -> Answer<Versioned<Tenant>> {
    let tenant = call.operations.read_tenant(call.caller, &id).await?;
    Ok(Versioned(tenant.version, tenant))
}

/// Read what a tenant uses
///
/// Its usage against its limits, and how many of its endpoints fail. Requires an operator key, or a key of the tenant with the scope
/// `read`.
#[utoipa::path(get, path = "/v1/tenants/{id}/usage", operation_id = "read_tenant_usage", tag = "tenants",
    params(("id" = String, Path, description = "The tenant's id or external id.")),
    responses((status = 200, body = TenantUsage), Refused))]
pub(crate) async fn read_usage(call: Call, Path(id): Path<String>) -> Answer<Json<TenantUsage>> {
    Ok(Json(call.operations.read_tenant_usage(call.caller, &id).await?))
}

/// Edit a tenant
///
/// A field that is left out keeps its value; `null` removes the value. 409 for another profile while the tenant has endpoints.
/// Requires an operator key.
#[utoipa::path(patch, path = "/v1/tenants/{id}", operation_id = "edit_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant's id or external id."), IfMatchHeader),
    request_body = EditTenant,
    responses((status = 200, body = Tenant, headers(("ETag" = String))), Refused, BadBody, Conflict, Stale))]
pub(crate) async fn edit(
    call: Call,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
    StrictJson(request): StrictJson<EditTenant>,
) -> Answer<Versioned<Tenant>> {
    let tenant = call.operations.edit_tenant(call.caller, &id, expected, request).await?;
    Ok(Versioned(tenant.version, tenant))
}

/// Delete a tenant
///
/// Deletes its keys and endpoints, and discards its pending deliveries. Requires an operator key.
#[utoipa::path(delete, path = "/v1/tenants/{id}", operation_id = "delete_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant's id or external id."), IfMatchHeader),
    responses((status = 204), Refused, Conflict, Stale))]
pub(crate) async fn delete(call: Call, Path(id): Path<String>, IfMatch(expected): IfMatch) -> Answer<StatusCode> {
    call.operations.delete_tenant(call.caller, &id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}
