//! `/v1/system`

use axum::Json;
use postrider_operations::system::System;
use postrider_operations::trouble::Trouble;

use crate::call::{Answer, Call};
use crate::responses::Refused;

/// Read the deployment's state
///
/// Requires an operator key.
#[utoipa::path(get, path = "/v1/system", operation_id = "read_system", tag = "operations",
    responses((status = 200, body = System), Refused))]
pub(crate) async fn read(call: Call) -> Answer<Json<System>> {
    Ok(Json(call.operations.read_system(call.caller).await?))
}

/// Read what fails and what waits
///
/// Throughput, the oldest waiting delivery, open breakers, and the endpoints and tenants with the most failed attempts, over all
/// tenants and by their names. Requires an operator key.
#[utoipa::path(get, path = "/v1/system/trouble", operation_id = "read_trouble", tag = "operations",
    responses((status = 200, body = Trouble), Refused))]
pub(crate) async fn read_trouble(call: Call) -> Answer<Json<Trouble>> {
    Ok(Json(call.operations.read_trouble(call.caller).await?))
}
