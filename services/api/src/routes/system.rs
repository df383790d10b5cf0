//! `/v1/system`

use axum::Json;
use postrider_operations::system::System;

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
