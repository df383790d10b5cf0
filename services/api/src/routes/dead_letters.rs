//! `/v1/dead-letters`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use postrider_operations::dead_letters::{DeadLetter, DeadLetterRequeued};
use postrider_operations::page::List;

use crate::call::{Answer, Call};
use crate::extract::IdempotencyKey;
use crate::query::{PageParams, Paged};
use crate::responses::{KeyInUse, Refused};

/// List dead letters
///
/// Newest first. Requires an operator key.
#[utoipa::path(get, path = "/v1/dead-letters", operation_id = "list_dead_letters", tag = "operations",
    params(PageParams),
    responses((status = 200, body = List<DeadLetter>), Refused))]
pub(crate) async fn list(call: Call<Paged>) -> Answer<Json<List<DeadLetter>>> {
    Ok(Json(call.operations.list_dead_letters(call.caller, &call.query.page).await?))
}

/// Requeue a dead letter
///
/// Publishes the message again, unchanged, to the queue that it came from. Each dead letter can be requeued once; if the message
/// fails again, it becomes another dead letter. A producer's message only ever returns to `postrider.intake`. Requires an operator
/// key.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/requeue", operation_id = "requeue_dead_letter", tag = "operations",
    params(("id" = String, Path, description = "The dead letter's id.", example = "4711"), IdempotencyKey),
    responses((status = 202, body = DeadLetterRequeued), Refused, KeyInUse))]
pub(crate) async fn requeue(call: Call, Path(id): Path<String>) -> Answer<(StatusCode, Json<DeadLetterRequeued>)> {
    Ok((StatusCode::ACCEPTED, Json(call.operations.requeue_dead_letter(call.caller, &id).await?)))
}
