//! The routes. They only write down what is asked for; the recorder's replayer does it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_http::problem::Problem;
use postrider_model::ids::{ReplayId, TenantId};
use postrider_model::limits::{REPLAY_DRY_RUN_BYTES_MAX, REPLAY_DRY_RUN_EVENTS_MAX, REPLAY_DRY_RUN_STEPS_MAX};
use postrider_model::replay::ReplaySelection;
use postrider_model::time::UnixMillis;
use postrider_store::config::Scope;
use postrider_store::replay::{DryRunLimits, ReplayAction, ReplayRequest};

use super::model::{CreateReplay, Replay, ReplayAccepted, ReplayPreview};
use crate::auth::Caller;
use crate::errors::{no_such, store_problem};
use crate::page::{List, page_request};
use crate::request::{Params, StrictJson};
use crate::{Api, once};

fn replay_id(text: &str) -> Result<ReplayId, Problem> {
    text.parse().map_err(|_| no_such("replay"))
}

/// Replay past events
///
/// Delivers events of the log again, each as a new delivery marked `replay` and linked to the one that it repeats; bodies are
/// rendered anew. An event that is still on its way to an endpoint is left alone there. With `dry_run` it only counts. Repeated
/// under the same `Idempotency-Key` it answers with the same replay.
#[utoipa::path(post, operation_id = "create_replay", path = "/v1/replays", tag = "replays", request_body = CreateReplay,
    params(("tenant" = Option<String>, Query, description = "with an operator key: whose"), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = ReplayPreview, description = "a dry run's counts"), (status = 202, body = ReplayAccepted),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(body): StrictJson<CreateReplay>,
) -> Result<Response, Problem> {
    params.only(&[], None)?;
    let idempotency_key = once::key_of(&headers)?;
    if body.is_dry_run() {
        return Ok(Json(api.preview_replay(caller, &body).await?).into_response());
    }
    Ok((StatusCode::ACCEPTED, Json(api.start_replay(caller, &body, idempotency_key).await?)).into_response())
}

impl Api {
    /// Counts what a replay would do.
    pub(crate) async fn preview_replay(&self, caller: Caller, body: &CreateReplay) -> Result<ReplayPreview, Problem> {
        let tenant = caller.tenant(Scope::Manage)?;
        let selection = body.selection(UnixMillis::now())?;
        self.check_targets(tenant, &selection).await?;
        let _slot = self.heavy.dry_run(tenant).await?;
        let counted = self.store.count_replay(&self.profiles, tenant, &selection, DryRunLimits::default()).await;
        let counted = counted.map_err(store_problem)?.ok_or_else(|| {
            let detail = format!(
                "a dry run looks at {REPLAY_DRY_RUN_EVENTS_MAX} events at most and, where payload filters decide, at \
                 {REPLAY_DRY_RUN_BYTES_MAX} bytes of payloads in {REPLAY_DRY_RUN_STEPS_MAX} steps: narrow it down"
            );
            Problem::invalid_field("/dry_run", detail)
        })?;
        Ok(ReplayPreview::from(counted))
    }

    /// Writes down a replay; the same one again under the same key.
    pub(crate) async fn start_replay(
        &self,
        caller: Caller,
        body: &CreateReplay,
        idempotency_key: Option<String>,
    ) -> Result<ReplayAccepted, Problem> {
        let tenant = caller.tenant(Scope::Manage)?;
        let selection = body.selection(UnixMillis::now())?;
        // Fields in their declared order: the same request is the same text.
        let text = serde_json::to_string(body).map_err(|_| Problem::internal())?;
        let asked = ReplayRequest { selection, text, idempotency_key };
        let id = match self.store.replay_by_key(tenant, &asked).await.map_err(store_problem)? {
            Some(known) => known,
            None => {
                self.check_targets(tenant, &asked.selection).await?;
                self.edits_of(caller)?.create_replay(tenant, &asked).await.map_err(store_problem)?
            }
        };
        Ok(ReplayAccepted { id: id.to_string() })
    }

    /// What is named must be there.
    async fn check_targets(&self, tenant: TenantId, selection: &ReplaySelection) -> Result<(), Problem> {
        if let Some(endpoint) = selection.endpoint
            && self.store.config().get_endpoint(Some(tenant), endpoint).await.map_err(store_problem)?.is_none()
        {
            return Err(Problem::invalid_field("/endpoint_id", "no such endpoint"));
        }
        if let Some(event) = &selection.event
            && self.store.history().get_event(tenant, event).await.map_err(store_problem)?.is_none()
        {
            return Err(Problem::invalid_field("/event_id", "no such event on record"));
        }
        Ok(())
    }

    pub(crate) async fn steer(
        &self,
        caller: Caller,
        params: Params,
        id: &str,
        to: ReplayAction,
    ) -> Result<Accepted, Problem> {
        params.only(&[], None)?;
        let visible = caller.visible(Scope::Manage)?;
        let id = replay_id(id)?;
        self.edits_of(caller)?.steer_replay(visible, id, to).await.map_err(store_problem)?;
        Ok((StatusCode::ACCEPTED, Json(ReplayAccepted { id: id.to_string() })))
    }
}

pub(crate) type Accepted = (StatusCode, Json<ReplayAccepted>);

/// List replays
///
/// Newest first.
#[utoipa::path(get, operation_id = "list_replays", path = "/v1/replays", tag = "replays",
    params(("tenant" = Option<String>, Query, description = "with an operator key: whose; absent: everybody's"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<Replay>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<List<Replay>>, Problem> {
    let params = params.only(&["limit", "cursor"], None)?;
    let visible = caller.visible(Scope::Read)?;
    let page = api.store.list_replays(visible, &page_request("replays", &params)?).await.map_err(store_problem)?;
    Ok(Json(List::of("replays", page, Replay::from)))
}

/// Read a replay
#[utoipa::path(get, operation_id = "read_replay", path = "/v1/replays/{id}", tag = "replays", params(("id" = String, Path)),
    responses((status = 200, body = Replay), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<Json<Replay>, Problem> {
    params.only(&[], None)?;
    let visible = caller.visible(Scope::Read)?;
    let replay = api.store.get_replay(visible, replay_id(&id)?).await.map_err(store_problem)?;
    Ok(Json(replay.ok_or_else(|| no_such("replay"))?.into()))
}

/// Pause a replay
///
/// No further deliveries are made until it is resumed; those that were made go on. 409 for one that has ended.
#[utoipa::path(post, operation_id = "pause_replay", path = "/v1/replays/{id}/pause", tag = "replays", params(("id" = String, Path)),
    responses((status = 202, body = ReplayAccepted), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn pause(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<Accepted, Problem> {
    api.steer(caller, params, &id, ReplayAction::Pause).await
}

/// Resume a replay
///
/// It goes on where it was paused. 409 for one that has ended.
#[utoipa::path(post, operation_id = "resume_replay", path = "/v1/replays/{id}/resume", tag = "replays", params(("id" = String, Path)),
    responses((status = 202, body = ReplayAccepted), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn resume(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<Accepted, Problem> {
    api.steer(caller, params, &id, ReplayAction::Resume).await
}

/// Cancel a replay
///
/// No further deliveries are made, and those of it that are pending are cancelled; also of a finished one.
#[utoipa::path(post, operation_id = "cancel_replay", path = "/v1/replays/{id}/cancel", tag = "replays", params(("id" = String, Path)),
    responses((status = 202, body = ReplayAccepted), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn cancel(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<Accepted, Problem> {
    api.steer(caller, params, &id, ReplayAction::Cancel).await
}
