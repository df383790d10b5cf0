//! `/v1/tenants/{id}/keys`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use postrider_model::ids::KeyId;
use postrider_operations::keys::{CreateKey, CreatedKey, Key};
use postrider_operations::page::List;

use crate::call::{Answer, Call};
use crate::extract::IdempotencyKey;
use crate::request::StrictJson;
use crate::responses::{BadBody, KeyInUse, Refused};

/// Create a key
///
/// The key is only shown in this answer. Requires an operator key, or a key of the tenant with the scope `manage`, which can give
/// only scopes that it has.
#[utoipa::path(post, path = "/v1/tenants/{id}/keys", operation_id = "create_key", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id or external id."), IdempotencyKey),
    request_body = CreateKey,
    responses((status = 201, body = CreatedKey), Refused, BadBody, KeyInUse))]
pub(crate) async fn create(
    call: Call,
    Path(id): Path<String>,
    StrictJson(request): StrictJson<CreateKey>,
) -> Answer<(StatusCode, Json<CreatedKey>)> {
    Ok((StatusCode::CREATED, Json(call.operations.create_key(call.caller, &id, request).await?)))
}

/// List keys
///
/// All keys of the tenant, on one page.
#[utoipa::path(get, path = "/v1/tenants/{id}/keys", operation_id = "list_keys", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id or external id.")),
    responses((status = 200, body = List<Key>), Refused))]
pub(crate) async fn list(call: Call, Path(id): Path<String>) -> Answer<Json<List<Key>>> {
    Ok(Json(call.operations.list_keys(call.caller, &id).await?))
}

/// Delete a key
///
/// When this is answered, every process refuses the key.
#[utoipa::path(delete, path = "/v1/tenants/{id}/keys/{key_id}", operation_id = "delete_key", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id or external id."), ("key_id" = KeyId, Path, description = "The key's id.")),
    responses((status = 204), Refused))]
pub(crate) async fn delete(call: Call, Path((id, key)): Path<(String, String)>) -> Answer<StatusCode> {
    call.operations.delete_key(call.caller, &id, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
