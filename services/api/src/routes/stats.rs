//! `/v1/stats` and `/v1/endpoints/{id}/stats`, and `/failures` below both

use axum::Json;
use axum::extract::Path;
use postrider_http::problem::FieldError;
use postrider_model::ids::EndpointId;
use postrider_operations::failures::Failures;
use postrider_operations::stats::{Stats, StatsQuery};

use crate::call::{Answer, Call};
use crate::query::{Parameters, Query, TenantParam, check_range};
use crate::responses::Refused;

impl Parameters for StatsQuery {
    fn check(&self) -> Result<(), FieldError> {
        check_range(self.from, self.to)
    }
}

/// Read a tenant's stats
///
/// The attempts of all the tenant's endpoints, including deleted ones.
#[utoipa::path(get, path = "/v1/stats", operation_id = "read_stats", tag = "stats",
    params(TenantParam, StatsQuery),
    responses((status = 200, body = Stats), Refused))]
pub(crate) async fn of_tenant(call: Call<Query<StatsQuery>>) -> Answer<Json<Stats>> {
    Ok(Json(call.operations.tenant_stats(call.caller, &call.query.0).await?))
}

/// Read an endpoint's stats
#[utoipa::path(get, path = "/v1/endpoints/{id}/stats", operation_id = "read_endpoint_stats", tag = "stats",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), StatsQuery),
    responses((status = 200, body = Stats), Refused))]
pub(crate) async fn of_endpoint(call: Call<Query<StatsQuery>>, Path(id): Path<String>) -> Answer<Json<Stats>> {
    Ok(Json(call.operations.endpoint_stats(call.caller, &id, &call.query.0).await?))
}

/// Read a tenant's failures by cause
///
/// The failed attempts of all the tenant's endpoints, including deleted ones. `by` is `hour` or `day`.
#[utoipa::path(get, path = "/v1/stats/failures", operation_id = "read_failures", tag = "stats",
    params(TenantParam, StatsQuery),
    responses((status = 200, body = Failures), Refused))]
pub(crate) async fn failures_of_tenant(call: Call<Query<StatsQuery>>) -> Answer<Json<Failures>> {
    Ok(Json(call.operations.tenant_failures(call.caller, &call.query.0).await?))
}

/// Read an endpoint's failures by cause
///
/// `by` is `hour` or `day`.
#[utoipa::path(get, path = "/v1/endpoints/{id}/stats/failures", operation_id = "read_endpoint_failures", tag = "stats",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), StatsQuery),
    responses((status = 200, body = Failures), Refused))]
pub(crate) async fn failures_of_endpoint(
    call: Call<Query<StatsQuery>>,
    Path(id): Path<String>,
) -> Answer<Json<Failures>> {
    Ok(Json(call.operations.endpoint_failures(call.caller, &id, &call.query.0).await?))
}
