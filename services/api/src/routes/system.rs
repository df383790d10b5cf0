//! `/v1/system`

use axum::Json;
use axum::extract::State;
use postrider_operations::system::System;

use super::{Answer, Ops};
use crate::auth::Auth;
use crate::query::NoQuery;
use crate::responses::Refused;

/// Read the deployment's state
///
/// Takes an operator key.
#[utoipa::path(get, path = "/v1/system", operation_id = "read_system", tag = "operations",
    responses((status = 200, body = System), Refused))]
pub(crate) async fn read(State(api): Ops, Auth(caller): Auth, _: NoQuery) -> Answer<Json<System>> {
    Ok(Json(api.operations.read_system(caller).await?))
}
