//! `/v1/stats` and `/v1/endpoints/{id}/stats`

use axum::Json;
use axum::extract::Path;
use postrider_http::problem::FieldError;
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_operations::stats::{IntervalLength, Stats, StatsQuery};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::call::{Answer, Call};
use crate::query::{Parameters, Query, TenantParam, check_range, named, time};
use crate::responses::Refused;

/// Which intervals of which time.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct StatsParams {
    /// The length of an interval; `hour` by default.
    #[serde(deserialize_with = "named")]
    by: Option<IntervalLength>,
    /// The start; absent: an hour (by minute), a day (by hour) or 30 days (by day) before `to`.
    #[serde(deserialize_with = "time")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-02T00:00:00Z")]
    from: Option<UnixMillis>,
    /// The end, exclusive; absent: now.
    #[serde(deserialize_with = "time")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-03T00:00:00Z")]
    to: Option<UnixMillis>,
}

impl Parameters for StatsParams {
    fn check(&self) -> Result<(), FieldError> {
        check_range(self.from, self.to)
    }
}

impl From<StatsParams> for StatsQuery {
    fn from(params: StatsParams) -> Self {
        Self { by: params.by.unwrap_or_default(), from: params.from, to: params.to }
    }
}

/// Read a tenant's stats
///
/// Of all its endpoints, including deleted ones.
#[utoipa::path(get, path = "/v1/stats", operation_id = "read_stats", tag = "stats",
    params(TenantParam, StatsParams),
    responses((status = 200, body = Stats), Refused))]
pub(crate) async fn of_tenant(call: Call<Query<StatsParams>>) -> Answer<Json<Stats>> {
    Ok(Json(call.operations.tenant_stats(call.caller, &call.query.0.into()).await?))
}

/// Read an endpoint's stats
#[utoipa::path(get, path = "/v1/endpoints/{id}/stats", operation_id = "read_endpoint_stats", tag = "stats",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), StatsParams),
    responses((status = 200, body = Stats), Refused))]
pub(crate) async fn of_endpoint(call: Call<Query<StatsParams>>, Path(id): Path<String>) -> Answer<Json<Stats>> {
    Ok(Json(call.operations.endpoint_stats(call.caller, &id, &call.query.0.into()).await?))
}
