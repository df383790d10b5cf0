//! `/v1/replays`

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_model::ids::ReplayId;
use postrider_operations::page::List;
use postrider_operations::replays::{CreateReplay, Replay, ReplayAccepted, ReplayAction, ReplayPreview};

use crate::once;

use crate::call::{Answer, Call};
use crate::extract::IdempotencyKey;
use crate::query::{AnyTenantParam, PageParams, Paged, TenantParam};
use crate::request::StrictJson;
use crate::responses::{BadBody, KeyInUse, Refused};

type Accepted = (StatusCode, Json<ReplayAccepted>);

/// Replay past events
///
/// Delivers events of the history again. Each delivery is a new one, marked `replay` and linked to the delivery that it repeats,
/// with its body rendered again. An endpoint with a pending delivery of an event does not get that event again. With `dry_run`, the
/// deliveries are only counted. The same request under the same `Idempotency-Key` returns the same replay.
#[utoipa::path(post, path = "/v1/replays", operation_id = "create_replay", tag = "replays",
    params(TenantParam, IdempotencyKey),
    request_body = CreateReplay,
    responses((status = 200, body = ReplayPreview, description = "The counts of a dry run."), (status = 202, body = ReplayAccepted), Refused, BadBody, KeyInUse))]
pub(crate) async fn create(
    call: Call,
    headers: HeaderMap,
    StrictJson(request): StrictJson<CreateReplay>,
) -> Answer<Response> {
    let key = once::key_of(&headers)?;
    if request.is_dry_run() {
        return Ok(Json(call.operations.preview_replay(call.caller, &request).await?).into_response());
    }
    Ok((StatusCode::ACCEPTED, Json(call.operations.start_replay(call.caller, &request, key).await?)).into_response())
}

/// List replays
///
/// Newest first.
#[utoipa::path(get, path = "/v1/replays", operation_id = "list_replays", tag = "replays",
    params(AnyTenantParam, PageParams),
    responses((status = 200, body = List<Replay>), Refused))]
pub(crate) async fn list(call: Call<Paged>) -> Answer<Json<List<Replay>>> {
    Ok(Json(call.operations.list_replays(call.caller, &call.query.page).await?))
}

/// Read a replay
#[utoipa::path(get, path = "/v1/replays/{id}", operation_id = "read_replay", tag = "replays",
    params(("id" = ReplayId, Path, description = "The replay's id.")),
    responses((status = 200, body = Replay), Refused))]
pub(crate) async fn read(call: Call, Path(id): Path<String>) -> Answer<Json<Replay>> {
    Ok(Json(call.operations.read_replay(call.caller, &id).await?))
}

/// Pause a replay
///
/// No further deliveries are created until the replay is resumed; existing ones continue. 409 for a replay that has ended.
#[utoipa::path(post, path = "/v1/replays/{id}/pause", operation_id = "pause_replay", tag = "replays",
    params(("id" = ReplayId, Path, description = "The replay's id."), IdempotencyKey),
    responses((status = 202, body = ReplayAccepted), Refused, KeyInUse))]
pub(crate) async fn pause(call: Call, Path(id): Path<String>) -> Answer<Accepted> {
    Ok((StatusCode::ACCEPTED, Json(call.operations.steer_replay(call.caller, &id, ReplayAction::Pause).await?)))
}

/// Resume a replay
///
/// The replay continues where it was paused. 409 for a replay that has ended.
#[utoipa::path(post, path = "/v1/replays/{id}/resume", operation_id = "resume_replay", tag = "replays",
    params(("id" = ReplayId, Path, description = "The replay's id."), IdempotencyKey),
    responses((status = 202, body = ReplayAccepted), Refused, KeyInUse))]
pub(crate) async fn resume(call: Call, Path(id): Path<String>) -> Answer<Accepted> {
    Ok((StatusCode::ACCEPTED, Json(call.operations.steer_replay(call.caller, &id, ReplayAction::Resume).await?)))
}

/// Cancel a replay
///
/// No further deliveries are created, and the replay's pending deliveries are cancelled. Also possible for a finished replay.
#[utoipa::path(post, path = "/v1/replays/{id}/cancel", operation_id = "cancel_replay", tag = "replays",
    params(("id" = ReplayId, Path, description = "The replay's id."), IdempotencyKey),
    responses((status = 202, body = ReplayAccepted), Refused, KeyInUse))]
pub(crate) async fn cancel(call: Call, Path(id): Path<String>) -> Answer<Accepted> {
    Ok((StatusCode::ACCEPTED, Json(call.operations.steer_replay(call.caller, &id, ReplayAction::Cancel).await?)))
}
