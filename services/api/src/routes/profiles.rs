//! `/v1/profiles`

use axum::Json;
use postrider_operations::page::List;
use postrider_operations::profiles::Profile;

use crate::call::{Answer, Call};
use crate::responses::Refused;

/// List profiles
///
/// All profiles, on one page. A tenant sees only its own profile.
#[utoipa::path(get, path = "/v1/profiles", operation_id = "list_profiles", tag = "profiles",
    responses((status = 200, body = List<Profile>), Refused))]
pub(crate) async fn list(call: Call) -> Answer<Json<List<Profile>>> {
    Ok(Json(call.operations.list_profiles(call.caller).await?))
}
