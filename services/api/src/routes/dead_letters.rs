//! `/v1/dead-letters`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use postrider_operations::dead_letters::{DeadLetter, DeadLetterRequeued};
use postrider_operations::page::List;

use super::{Answer, Ops};
use crate::auth::Auth;
use crate::extract::IdempotencyKey;
use crate::query::{NoQuery, Page, PageParams};
use crate::responses::{KeyInUse, Refused};

/// List dead letters
///
/// Newest first. Takes an operator key.
#[utoipa::path(get, path = "/v1/dead-letters", operation_id = "list_dead_letters", tag = "operations",
    params(PageParams),
    responses((status = 200, body = List<DeadLetter>), Refused))]
pub(crate) async fn list(State(api): Ops, Auth(caller): Auth, Page(page): Page) -> Answer<Json<List<DeadLetter>>> {
    Ok(Json(api.operations.list_dead_letters(caller, &page).await?))
}

/// Requeue a dead letter
///
/// Publishes it again, unchanged, to the queue that it came from; once each. If it fails again, that is another dead letter. A
/// producer's message only ever returns to `postrider.intake`. Takes an operator key.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/requeue", operation_id = "requeue_dead_letter", tag = "operations",
    params(("id" = String, Path, description = "The dead letter's id.", example = "4711"), IdempotencyKey),
    responses((status = 202, body = DeadLetterRequeued), Refused, KeyInUse))]
pub(crate) async fn requeue(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    Path(id): Path<String>,
) -> Answer<(StatusCode, Json<DeadLetterRequeued>)> {
    Ok((StatusCode::ACCEPTED, Json(api.operations.requeue_dead_letter(caller, &id).await?)))
}
