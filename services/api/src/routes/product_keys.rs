//! `/v1/keys`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use postrider_model::ids::KeyId;
use postrider_operations::page::List;
use postrider_operations::product_keys::{CreateProductKey, CreatedProductKey, ProductKey};

use crate::call::{Answer, Call};
use crate::extract::IdempotencyKey;
use crate::request::StrictJson;
use crate::responses::{BadBody, KeyInUse, Refused};

/// Create a key for several tenants
///
/// The key may publish for the tenants named here, or for all tenants, and do nothing else. A request with it names the tenant by
/// `?tenant=` or in the event. The key is only shown in this answer. Requires an operator key.
#[utoipa::path(post, path = "/v1/keys", operation_id = "create_product_key", tag = "keys",
    params(IdempotencyKey),
    request_body = CreateProductKey,
    responses((status = 201, body = CreatedProductKey), Refused, BadBody, KeyInUse))]
pub(crate) async fn create(
    call: Call,
    StrictJson(request): StrictJson<CreateProductKey>,
) -> Answer<(StatusCode, Json<CreatedProductKey>)> {
    Ok((StatusCode::CREATED, Json(call.operations.create_product_key(call.caller, request).await?)))
}

/// List keys for several tenants
///
/// All keys, on one page. Requires an operator key.
#[utoipa::path(get, path = "/v1/keys", operation_id = "list_product_keys", tag = "keys",
    responses((status = 200, body = List<ProductKey>), Refused))]
pub(crate) async fn list(call: Call) -> Answer<Json<List<ProductKey>>> {
    Ok(Json(call.operations.list_product_keys(call.caller).await?))
}

/// Delete a key for several tenants
///
/// When this is answered, every process refuses the key. Requires an operator key.
#[utoipa::path(delete, path = "/v1/keys/{key_id}", operation_id = "delete_product_key", tag = "keys",
    params(("key_id" = KeyId, Path, description = "The key's id.")),
    responses((status = 204), Refused))]
pub(crate) async fn delete(call: Call, Path(key): Path<String>) -> Answer<StatusCode> {
    call.operations.delete_product_key(call.caller, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
