//! `/v1/dead-letters`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use postrider_http::problem::FieldError;
use postrider_operations::dead_letters::{
    ChangeDeadLetters, DeadLetter, DeadLetterAction, DeadLetterFilter, DeadLetterRequeued, DeadLettersChanged,
};
use postrider_operations::page::List;

use crate::call::{Answer, Call};
use crate::extract::IdempotencyKey;
use crate::query::{PageParams, Paged, Parameters, check_range};
use crate::request::StrictJson;
use crate::responses::{BadBody, KeyInUse, Refused};

impl Parameters for DeadLetterFilter {
    fn check(&self) -> Result<(), FieldError> {
        check_range(self.from, self.to)
    }
}

/// List dead letters
///
/// Newest first. With a filter other than the state `open` and time, a page reads at most 20,000 rows: it may be short or empty and
/// still have a `next_cursor`. Requires an operator key.
#[utoipa::path(get, path = "/v1/dead-letters", operation_id = "list_dead_letters", tag = "operations",
    params(DeadLetterFilter, PageParams),
    responses((status = 200, body = List<DeadLetter>), Refused))]
pub(crate) async fn list(call: Call<Paged<DeadLetterFilter>>) -> Answer<Json<List<DeadLetter>>> {
    Ok(Json(call.operations.list_dead_letters(call.caller, &call.query.params, &call.query.page).await?))
}

/// Read a dead letter
///
/// Requires an operator key.
#[utoipa::path(get, path = "/v1/dead-letters/{id}", operation_id = "read_dead_letter", tag = "operations",
    params(("id" = String, Path, description = "The dead letter's id.", example = "4711")),
    responses((status = 200, body = DeadLetter), Refused))]
pub(crate) async fn read(call: Call, Path(id): Path<String>) -> Answer<Json<DeadLetter>> {
    Ok(Json(call.operations.read_dead_letter(call.caller, &id).await?))
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

/// Requeue several dead letters
///
/// Requeues the dead letters with these ids, or up to 200 open ones that match a filter, newest first. Call it again with
/// `next_cursor` until that is `null`. What cannot be requeued is listed with the reason and stays open. Messages that fail again become new dead letters, which
/// the following calls do not include. Requires an operator key.
#[utoipa::path(post, path = "/v1/dead-letters/requeue", operation_id = "requeue_dead_letters", tag = "operations",
    params(IdempotencyKey),
    request_body = ChangeDeadLetters,
    responses((status = 200, body = DeadLettersChanged), Refused, BadBody, KeyInUse))]
pub(crate) async fn requeue_several(
    call: Call,
    StrictJson(request): StrictJson<ChangeDeadLetters>,
) -> Answer<Json<DeadLettersChanged>> {
    Ok(Json(call.operations.change_dead_letters(call.caller, DeadLetterAction::Requeue, &request).await?))
}

/// Discard several dead letters
///
/// Discards the dead letters with these ids, or up to 200 open ones that match a filter, newest first. Call it again with
/// `next_cursor` until that is `null`. A discarded dead letter stays in the list, with the time and the operator, and cannot be requeued. Requires an operator
/// key.
#[utoipa::path(post, path = "/v1/dead-letters/discard", operation_id = "discard_dead_letters", tag = "operations",
    params(IdempotencyKey),
    request_body = ChangeDeadLetters,
    responses((status = 200, body = DeadLettersChanged), Refused, BadBody, KeyInUse))]
pub(crate) async fn discard_several(
    call: Call,
    StrictJson(request): StrictJson<ChangeDeadLetters>,
) -> Answer<Json<DeadLettersChanged>> {
    Ok(Json(call.operations.change_dead_letters(call.caller, DeadLetterAction::Discard, &request).await?))
}
