//! `POST /v1/deliveries/{id}/retry`.
//!
//! The retry is committed first, with an entry in the outbox, and published then. Should the broker not confirm in time, or
//! this process die in between, the recorder's outbox relay publishes it: the answer is 202 either way.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use postrider_broker::MessageRoute;
use postrider_http::problem::Problem;
use postrider_model::delivery::Lane;
use postrider_store::config::Scope;
use postrider_store::outbox::{PendingDelivery, RetryError};
use postrider_wire::bundle::Member;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::{no_such, store_problem};
use crate::request::Params;

/// A delivery that will be attempted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryAccepted {
    /// The delivery: a new one when the old had come to its end, else the same.
    #[schema(example = "dlv_0197e7a1b2c3548e8f90a1b2c3d4e5f6")]
    pub(crate) id: String,
}

/// Try a delivery again
///
/// One that came to its end is repeated as a new delivery; one that is pending is attempted now instead of later, in addition
/// to the attempts of its schedule. While such an attempt waits or is being made, another request makes no second one. 409 when
/// there is nothing to send, and while the endpoint is inactive or disabled.
#[utoipa::path(post, operation_id = "retry_delivery", path = "/v1/deliveries/{id}/retry", tag = "deliveries", params(("id" = String, Path)),
    responses((status = 202, body = DeliveryAccepted), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn retry(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<DeliveryAccepted>), Problem> {
    params.only(&[], None)?;
    let visible = caller.visible(Scope::Manage)?;
    let id = id.parse().map_err(|_| no_such("delivery"))?;
    let retried = api.edits_of(caller)?.retry_delivery(visible, id, Lane::Live).await.map_err(retry_problem)?;
    let accepted = DeliveryAccepted { id: retried.delivery().to_string() };
    let Some(pending) = retried.committed() else { return Ok((StatusCode::ACCEPTED, Json(accepted))) };
    // In a task: a client that hangs up must not leave the publish half done.
    let confirm_timeout = api.config.confirm_timeout;
    let publishing = tokio::spawn(async move { publish(&api, pending).await });
    if tokio::time::timeout(confirm_timeout, publishing).await.is_err() {
        tracing::warn!(delivery.id = accepted.id, "a retry was committed, its confirm is late");
    }
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

fn retry_problem(error: RetryError) -> Problem {
    match error {
        RetryError::Store(error) => store_problem(error),
        gone => Problem::conflict(gone.to_string()),
    }
}

/// Publishes what was committed, and strikes it off. Whatever fails here is left to the outbox relay.
async fn publish(api: &Api, pending: PendingDelivery) {
    let PendingDelivery { outbox, task, event, document, profile } = pending;
    let Ok(profile) = api.profile(&profile) else { return };
    let Some(view) = event.view() else { return };
    let body = Bytes::from(profile.render(&view, document.body_kind()));
    let Ok(member) = Member::new(&task, body) else { return };
    if let Err(error) = api.lanes.publish(MessageRoute::Lane(task.lane), &[member]).await {
        tracing::warn!(delivery.id = %task.delivery.id, %error, "a retry is left to the outbox relay");
        return;
    }
    if let Err(error) = api.store.outbox_done(&[outbox]).await {
        tracing::warn!(delivery.id = %task.delivery.id, %error, "a retry was published and not struck off");
    }
}
