//! `/v1/keys`: keys that publish for several tenants or for all.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use postrider_http::problem::Problem;
use postrider_operations::page::List;
use postrider_operations::product_keys::{CreateProductKey, CreatedProductKey, ProductKey};

use crate::Api;
use crate::auth::Caller;
use crate::failure::Failure;
use crate::request::{Params, StrictJson};

/// Make a key for several tenants
///
/// It publishes for the tenants that it names, or for all, and does nothing else. A publish with it names the tenant by `?tenant=`
/// or in the event. The key is shown this once. Takes an operator key.
#[utoipa::path(post, operation_id = "create_product_key", path = "/v1/keys", tag = "keys", request_body = CreateProductKey,
    responses((status = 201, body = CreatedProductKey), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    StrictJson(request): StrictJson<CreateProductKey>,
) -> Result<(StatusCode, Json<CreatedProductKey>), Failure> {
    params.only(&[], None)?;
    Ok((StatusCode::CREATED, Json(api.operations.create_product_key(caller.into(), request).await?)))
}

/// List keys for several tenants
///
/// Takes an operator key.
#[utoipa::path(get, operation_id = "list_product_keys", path = "/v1/keys", tag = "keys",
    responses((status = 200, body = List<ProductKey>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<List<ProductKey>>, Failure> {
    params.only(&[], None)?;
    Ok(Json(api.operations.list_product_keys(caller.into()).await?))
}

/// Delete a key for several tenants
///
/// When this is answered, the key is refused everywhere. Takes an operator key.
#[utoipa::path(delete, operation_id = "delete_product_key", path = "/v1/keys/{key_id}", tag = "keys",
    params(("key_id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(key_id): Path<String>,
) -> Result<StatusCode, Failure> {
    params.only(&[], None)?;
    api.operations.delete_product_key(caller.into(), &key_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
