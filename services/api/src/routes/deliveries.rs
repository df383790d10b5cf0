//! `/v1/deliveries`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use postrider_http::problem::FieldError;
use postrider_model::ids::DeliveryId;
use postrider_operations::deliveries::{
    ChangeDeliveries, DeliveriesChanged, Delivery, DeliveryAccepted, DeliveryCancelled, DeliveryDetail, DeliveryFilter,
    SeveralAction,
};
use postrider_operations::page::List;

use crate::call::{Answer, Call};
use crate::extract::IdempotencyKey;
use crate::query::{AnyTenantParam, PageParams, Paged, Parameters, TenantParam, check_range};
use crate::request::StrictJson;
use crate::responses::{BadBody, KeyInUse, Refused};

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

/// Retry all deliveries that match a filter
///
/// Retries up to 50 deliveries that match, newest first: pending ones are attempted now, ended ones are sent again as new deliveries.
/// Call it again with `next_cursor` until that is `null`. Delivered ones are left out unless the filter's status is `delivered`. An
/// ended delivery is refused if its event was sent to the endpoint again later, so repeating the calls does not send it twice. The
/// deliveries that a call creates match the filter too once they have ended: with the status `delivered`, or to leave them out, set
/// `to`. `dry_run` counts. One call is one change. For everything that an endpoint missed in an outage, recover the endpoint instead.
#[utoipa::path(post, path = "/v1/deliveries/retry", operation_id = "retry_deliveries", tag = "deliveries",
    params(TenantParam, IdempotencyKey),
    request_body = ChangeDeliveries,
    responses((status = 200, body = DeliveriesChanged), Refused, BadBody, KeyInUse))]
pub(crate) async fn retry_matching(
    call: Call,
    StrictJson(request): StrictJson<ChangeDeliveries>,
) -> Answer<Json<DeliveriesChanged>> {
    Ok(Json(change(call, SeveralAction::Retry, &request).await?))
}

/// Cancel all deliveries that match a filter
///
/// Cancels up to 50 pending deliveries that match, newest first. Call it again with `next_cursor` until that is `null`. `dry_run`
/// counts. One call is one change.
#[utoipa::path(post, path = "/v1/deliveries/cancel", operation_id = "cancel_deliveries", tag = "deliveries",
    params(TenantParam, IdempotencyKey),
    request_body = ChangeDeliveries,
    responses((status = 200, body = DeliveriesChanged), Refused, BadBody, KeyInUse))]
pub(crate) async fn cancel_matching(
    call: Call,
    StrictJson(request): StrictJson<ChangeDeliveries>,
) -> Answer<Json<DeliveriesChanged>> {
    Ok(Json(change(call, SeveralAction::Cancel, &request).await?))
}

async fn change(call: Call, action: SeveralAction, request: &ChangeDeliveries) -> Answer<DeliveriesChanged> {
    let (operations, caller, filter) = (&call.operations, call.caller, request.filter.filter()?);
    if request.dry_run.unwrap_or_default() {
        let matching = operations.count_matching(caller, action, &filter).await?;
        return Ok(DeliveriesChanged { matching: Some(matching), ..DeliveriesChanged::default() });
    }
    Ok(operations.change_matching(caller, action, &filter, request.cursor.as_deref()).await?)
}
