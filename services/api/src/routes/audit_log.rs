//! `/v1/audit-log`

use axum::Json;
use postrider_http::problem::FieldError;
use postrider_model::time::UnixMillis;
use postrider_operations::audit_log::{AuditAction, AuditEntry, AuditQuery};
use postrider_operations::page::List;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::call::{Answer, Call};
use crate::query::{AnyTenantParam, PageParams, Paged, Parameters, check_range, parsed, time};
use crate::responses::Refused;

/// Which changes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct AuditParams {
    /// With this action.
    #[serde(deserialize_with = "parsed")]
    #[param(value_type = Option<String>, example = "endpoint.edited")]
    action: Option<AuditAction>,
    /// By this key: its id; with an operator key also the first 8 hexadecimal digits of an operator key's SHA-256.
    #[serde(deserialize_with = "parsed")]
    actor: Option<String>,
    /// Of the thing with this id.
    #[serde(deserialize_with = "parsed")]
    #[param(example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    target: Option<String>,
    /// Made at or after this.
    #[serde(deserialize_with = "time")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-02T00:00:00Z")]
    from: Option<UnixMillis>,
    /// Made before this.
    #[serde(deserialize_with = "time")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-03T00:00:00Z")]
    to: Option<UnixMillis>,
}

impl Parameters for AuditParams {
    fn check(&self) -> Result<(), FieldError> {
        check_range(self.from, self.to)
    }
}

/// List changes
///
/// Newest first: who created, edited or deleted a tenant, key, endpoint or event type, rotated a secret, retried, cancelled,
/// expunged, replayed, requeued, or signed in; with the values before and after, without secrets. Kept as long as the log of events.
/// (`postrider audit`, which counts events, is something else.)
#[utoipa::path(get, path = "/v1/audit-log", operation_id = "list_audit_log", tag = "audit log",
    params(AnyTenantParam, AuditParams, PageParams),
    responses((status = 200, body = List<AuditEntry>), Refused))]
pub(crate) async fn list(call: Call<Paged<AuditParams>>) -> Answer<Json<List<AuditEntry>>> {
    let AuditParams { action, actor, target, from, to } = call.query.params;
    let query = AuditQuery { action, actor, target, from, to };
    Ok(Json(call.operations.list_audit_log(call.caller, query, &call.query.page).await?))
}
