//! `/v1/deliveries`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use postrider_http::problem::FieldError;
use postrider_model::ids::DeliveryId;
use postrider_operations::deliveries::{Delivery, DeliveryAccepted, DeliveryCancelled, DeliveryDetail, DeliveryFilter};
use postrider_operations::page::List;

use crate::call::{Answer, Call};
use crate::extract::IdempotencyKey;
use crate::query::{AnyTenantParam, PageParams, Paged, Parameters, check_range};
use crate::responses::{KeyInUse, Refused};

impl Parameters for DeliveryFilter {
    fn check(&self) -> Result<(), FieldError> {
        check_range(self.from, self.to)
    }
}

/// List deliveries
///
/// Newest first; `order=oldest` reverses the list. With a filter other than endpoint, event, replay and time, a page reads at most
/// 20,000 rows: it may be short or empty and still have a `next_cursor`.
#[utoipa::path(get, path = "/v1/deliveries", operation_id = "list_deliveries", tag = "deliveries",
    params(AnyTenantParam, DeliveryFilter, PageParams),
    responses((status = 200, body = List<Delivery>), Refused))]
pub(crate) async fn list(call: Call<Paged<DeliveryFilter>>) -> Answer<Json<List<Delivery>>> {
    Ok(Json(call.operations.list_deliveries(call.caller, &call.query.params, &call.query.page).await?))
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
/// A delivery that has ended is repeated as a new delivery. A pending delivery is attempted now, in addition to its schedule. While
/// that attempt waits or is in progress, another request adds none. 409 if there is nothing to send, or the endpoint is inactive or
/// disabled.
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
