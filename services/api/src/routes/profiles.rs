//! `/v1/profiles`

use axum::Json;
use axum::extract::State;
use postrider_operations::page::List;
use postrider_operations::profiles::Profile;

use super::{Answer, Ops};
use crate::auth::Auth;
use crate::query::NoQuery;
use crate::responses::Refused;

/// List profiles
///
/// All of them, on one page; a tenant sees its own.
#[utoipa::path(get, path = "/v1/profiles", operation_id = "list_profiles", tag = "profiles",
    responses((status = 200, body = List<Profile>), Refused))]
pub(crate) async fn list(State(api): Ops, Auth(caller): Auth, _: NoQuery) -> Answer<Json<List<Profile>>> {
    Ok(Json(api.operations.list_profiles(caller).await?))
}
