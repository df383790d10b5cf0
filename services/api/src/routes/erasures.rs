//! `/v1/erasures`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use postrider_model::ids::ErasureId;
use postrider_operations::erasures::{CreateErasure, Erasure, ErasureAccepted};
use postrider_operations::page::List;

use crate::call::{Answer, Call};
use crate::extract::IdempotencyKey;
use crate::query::{AnyTenantParam, PageParams, Paged, TenantParam};
use crate::request::StrictJson;
use crate::responses::{BadBody, KeyInUse, Refused};

type Accepted = (StatusCode, Json<ErasureAccepted>);

/// Erase a value
///
/// Searches the history for a value, such as a person's e-mail address, in the background, and erases what holds it: the payloads
/// and attributes of events, the edited data of test calls, answers to attempts, and dead letters. Pending deliveries of such
/// events are discarded. With `dry_run`, it only counts. 409 if the tenant has 10 erasures that have not ended.
#[utoipa::path(post, path = "/v1/erasures", operation_id = "create_erasure", tag = "erasures",
    params(TenantParam, IdempotencyKey),
    request_body = CreateErasure,
    responses((status = 202, body = ErasureAccepted), Refused, BadBody, KeyInUse))]
pub(crate) async fn create(call: Call, StrictJson(request): StrictJson<CreateErasure>) -> Answer<Accepted> {
    Ok((StatusCode::ACCEPTED, Json(call.operations.start_erasure(call.caller, &request).await?)))
}

/// List erasures
///
/// Newest first.
#[utoipa::path(get, path = "/v1/erasures", operation_id = "list_erasures", tag = "erasures",
    params(AnyTenantParam, PageParams),
    responses((status = 200, body = List<Erasure>), Refused))]
pub(crate) async fn list(call: Call<Paged>) -> Answer<Json<List<Erasure>>> {
    Ok(Json(call.operations.list_erasures(call.caller, &call.query.page).await?))
}

/// Read an erasure
///
/// Its progress, and what it found.
#[utoipa::path(get, path = "/v1/erasures/{id}", operation_id = "read_erasure", tag = "erasures",
    params(("id" = ErasureId, Path, description = "The erasure's id.")),
    responses((status = 200, body = Erasure), Refused))]
pub(crate) async fn read(call: Call, Path(id): Path<String>) -> Answer<Json<Erasure>> {
    Ok(Json(call.operations.read_erasure(call.caller, &id).await?))
}

/// Cancel an erasure
///
/// Nothing more is erased; what was erased stays erased. 409 for an erasure that has finished or failed.
#[utoipa::path(post, path = "/v1/erasures/{id}/cancel", operation_id = "cancel_erasure", tag = "erasures",
    params(("id" = ErasureId, Path, description = "The erasure's id."), IdempotencyKey),
    responses((status = 202, body = ErasureAccepted), Refused, KeyInUse))]
pub(crate) async fn cancel(call: Call, Path(id): Path<String>) -> Answer<Accepted> {
    Ok((StatusCode::ACCEPTED, Json(call.operations.cancel_erasure(call.caller, &id).await?)))
}
