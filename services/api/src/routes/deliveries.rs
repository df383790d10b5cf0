//! `/v1/deliveries`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use postrider_http::problem::FieldError;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::DeliveryId;
use postrider_model::ids::{EndpointId, EventId, ReplayId};
use postrider_model::subscription::TypePattern;
use postrider_model::time::UnixMillis;
use postrider_operations::deliveries::{Delivery, DeliveryAccepted, DeliveryCancelled, DeliveryDetail, DeliveryFilter};
use postrider_operations::page::List;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::call::{Answer, Call};
use crate::extract::IdempotencyKey;
use crate::query::{AnyTenantParam, PageParams, Paged, Parameters, check_range, parsed, status_code, time};
use crate::responses::{KeyInUse, Refused};

/// Which deliveries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct DeliveryParams {
    /// For this endpoint.
    #[serde(deserialize_with = "parsed")]
    #[param(example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    endpoint_id: Option<EndpointId>,
    /// Of this event.
    #[serde(deserialize_with = "parsed")]
    #[param(example = "evt_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    event_id: Option<EventId>,
    /// With this status.
    #[serde(deserialize_with = "parsed")]
    status: Option<DeliveryStatus>,
    /// With this status code in the last attempt.
    #[serde(deserialize_with = "status_code")]
    #[param(minimum = 100, maximum = 599, example = 503)]
    status_code: Option<u16>,
    /// Of events of this type, or of a pattern such as `email.*`.
    #[serde(rename = "type", deserialize_with = "parsed")]
    #[param(value_type = Option<String>, example = "email.bounced")]
    event_type: Option<TypePattern>,
    /// Created by this replay.
    #[serde(deserialize_with = "parsed")]
    replay_id: Option<ReplayId>,
    /// `true`: with at least one failed attempt; `false`: without.
    #[serde(deserialize_with = "parsed")]
    failed_attempts: Option<bool>,
    /// Created at or after this.
    #[serde(deserialize_with = "time")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-02T00:00:00Z")]
    from: Option<UnixMillis>,
    /// Created before this.
    #[serde(deserialize_with = "time")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-03T00:00:00Z")]
    to: Option<UnixMillis>,
    /// `true`: of test calls; `false`: without them.
    #[serde(deserialize_with = "parsed")]
    #[param(example = false)]
    test: Option<bool>,
}

impl Parameters for DeliveryParams {
    fn check(&self) -> Result<(), FieldError> {
        check_range(self.from, self.to)
    }
}

impl From<DeliveryParams> for DeliveryFilter {
    fn from(params: DeliveryParams) -> Self {
        Self {
            endpoint: params.endpoint_id,
            event: params.event_id,
            status: params.status,
            status_code: params.status_code,
            event_type: params.event_type,
            replay: params.replay_id,
            failed_attempts: params.failed_attempts,
            from: params.from,
            to: params.to,
            test: params.test,
        }
    }
}

/// List deliveries
///
/// Newest first.
#[utoipa::path(get, path = "/v1/deliveries", operation_id = "list_deliveries", tag = "deliveries",
    params(AnyTenantParam, DeliveryParams, PageParams),
    responses((status = 200, body = List<Delivery>), Refused))]
pub(crate) async fn list(call: Call<Paged<DeliveryParams>>) -> Answer<Json<List<Delivery>>> {
    Ok(Json(call.operations.list_deliveries(call.caller, &call.query.params.into(), &call.query.page).await?))
}

/// Read a delivery with its attempts
#[utoipa::path(get, path = "/v1/deliveries/{id}", operation_id = "read_delivery", tag = "deliveries",
    params(("id" = DeliveryId, Path, description = "The delivery's id.")),
    responses((status = 200, body = DeliveryDetail), Refused))]
pub(crate) async fn read(call: Call, Path(id): Path<String>) -> Answer<Json<DeliveryDetail>> {
    Ok(Json(call.operations.read_delivery(call.caller, &id).await?))
}

/// Retry a delivery
///
/// An ended delivery is repeated as a new one; a pending one is attempted now, in addition to its schedule. While such an attempt
/// waits or is in progress, another request adds none. 409 if there is nothing to send, or the endpoint is inactive or disabled.
#[utoipa::path(post, path = "/v1/deliveries/{id}/retry", operation_id = "retry_delivery", tag = "deliveries",
    params(("id" = DeliveryId, Path, description = "The delivery's id."), IdempotencyKey),
    responses((status = 202, body = DeliveryAccepted), Refused, KeyInUse))]
pub(crate) async fn retry(call: Call, Path(id): Path<String>) -> Answer<(StatusCode, Json<DeliveryAccepted>)> {
    Ok((StatusCode::ACCEPTED, Json(call.operations.retry_delivery(call.caller, &id).await?)))
}

/// Cancel a delivery
///
/// No further attempt starts; one in progress may still succeed, and then the delivery counts as delivered. 409 for a delivery that
/// has ended.
#[utoipa::path(post, path = "/v1/deliveries/{id}/cancel", operation_id = "cancel_delivery", tag = "deliveries",
    params(("id" = DeliveryId, Path, description = "The delivery's id."), IdempotencyKey),
    responses((status = 202, body = DeliveryCancelled), Refused, KeyInUse))]
pub(crate) async fn cancel(call: Call, Path(id): Path<String>) -> Answer<(StatusCode, Json<DeliveryCancelled>)> {
    Ok((StatusCode::ACCEPTED, Json(call.operations.cancel_delivery(call.caller, &id).await?)))
}
