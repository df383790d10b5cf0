//! `/v1/keys`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use postrider_model::ids::KeyId;
use postrider_operations::page::List;
use postrider_operations::product_keys::{CreateProductKey, CreatedProductKey, ProductKey};

use super::{Answer, Ops};
use crate::auth::Auth;
use crate::extract::IdempotencyKey;
use crate::query::NoQuery;
use crate::request::StrictJson;
use crate::responses::{BadBody, KeyInUse, Refused};

/// Create a key for several tenants
///
/// It publishes for the tenants that it names, or for all, and allows nothing else. A publish with it names the tenant by
/// `?tenant=` or in the event. The key is shown this once. Takes an operator key.
#[utoipa::path(post, path = "/v1/keys", operation_id = "create_product_key", tag = "keys",
    params(IdempotencyKey),
    request_body = CreateProductKey,
    responses((status = 201, body = CreatedProductKey), Refused, BadBody, KeyInUse))]
pub(crate) async fn create(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    StrictJson(request): StrictJson<CreateProductKey>,
) -> Answer<(StatusCode, Json<CreatedProductKey>)> {
    Ok((StatusCode::CREATED, Json(api.operations.create_product_key(caller, request).await?)))
}

/// List keys for several tenants
///
/// All of them, on one page. Takes an operator key.
#[utoipa::path(get, path = "/v1/keys", operation_id = "list_product_keys", tag = "keys",
    responses((status = 200, body = List<ProductKey>), Refused))]
pub(crate) async fn list(State(api): Ops, Auth(caller): Auth, _: NoQuery) -> Answer<Json<List<ProductKey>>> {
    Ok(Json(api.operations.list_product_keys(caller).await?))
}

/// Delete a key for several tenants
///
/// When this is answered, every process refuses the key. Takes an operator key.
#[utoipa::path(delete, path = "/v1/keys/{key_id}", operation_id = "delete_product_key", tag = "keys",
    params(("key_id" = KeyId, Path, description = "The key's id.")),
    responses((status = 204), Refused))]
pub(crate) async fn delete(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    Path(key): Path<String>,
) -> Answer<StatusCode> {
    api.operations.delete_product_key(caller, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
