//! `POST /v1/deliveries/{id}/cancel` and `DELETE /v1/events/{id}/payload`: ending what is pending.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use postrider_http::problem::Problem;
use postrider_model::ids::EventId;
use postrider_store::config::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::{no_such, store_problem};
use crate::request::Params;

/// A delivery that was cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryCancelled {
    #[schema(example = "dlv_0197e7a1b2c35d4e8f90a1b2c3d4e5f6")]
    id: String,
}

/// Cancel a delivery
///
/// No further attempt begins; one that is under way may still arrive, and then counts as delivered. 409 for a delivery that
/// has come to its end.
#[utoipa::path(post, operation_id = "cancel_delivery", path = "/v1/deliveries/{id}/cancel", tag = "deliveries", params(("id" = String, Path)),
    responses((status = 202, body = DeliveryCancelled), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn cancel(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<DeliveryCancelled>), Problem> {
    params.only(&[], None)?;
    let visible = caller.visible(Scope::Manage)?;
    let id = id.parse().map_err(|_| no_such("delivery"))?;
    api.edits_of(caller)?.cancel_delivery(visible, id).await.map_err(store_problem)?;
    Ok((StatusCode::ACCEPTED, Json(DeliveryCancelled { id: id.to_string() })))
}

/// Expunge an event's payload
///
/// `data` and `metadata` are gone from the log for good. Pending deliveries of the event are discarded with the reason
/// `expunged`; it can be neither retried nor replayed. What the event was, and what became of it, stays.
#[utoipa::path(delete, operation_id = "expunge_payload", path = "/v1/events/{id}/payload", tag = "events",
    params(("id" = String, Path), ("tenant" = Option<String>, Query, description = "with an operator key: whose")),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn expunge(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    params.only(&[], None)?;
    // An event's id is unique in its tenant only.
    let tenant = caller.tenant(Scope::Manage)?;
    let id: EventId = id.parse().map_err(|_| no_such("event"))?;
    api.edits_of(caller)?.expunge_event(tenant, &id).await.map_err(store_problem)?;
    Ok(StatusCode::NO_CONTENT)
}
