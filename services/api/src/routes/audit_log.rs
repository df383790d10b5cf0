//! `/v1/audit-log`

use axum::Json;
use postrider_http::problem::FieldError;
use postrider_operations::audit_log::{AuditEntry, AuditQuery};
use postrider_operations::page::List;

use crate::call::{Answer, Call};
use crate::query::{AnyTenantParam, PageParams, Paged, Parameters, check_range};
use crate::responses::Refused;

impl Parameters for AuditQuery {
    fn check(&self) -> Result<(), FieldError> {
        check_range(self.from, self.to)
    }
}

/// List changes
///
/// Newest first: who created, edited or deleted a tenant, key, endpoint or event type, rotated a secret, retried, cancelled,
/// expunged, replayed, requeued, or signed in; with the values before and after, without secrets. Kept as long as events.
/// (`postrider audit`, which counts events, is something else.)
#[utoipa::path(get, path = "/v1/audit-log", operation_id = "list_audit_log", tag = "audit log",
    params(AnyTenantParam, AuditQuery, PageParams),
    responses((status = 200, body = List<AuditEntry>), Refused))]
pub(crate) async fn list(call: Call<Paged<AuditQuery>>) -> Answer<Json<List<AuditEntry>>> {
    Ok(Json(call.operations.list_audit_log(call.caller, call.query.params, &call.query.page).await?))
}
