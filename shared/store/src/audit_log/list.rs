//! Lists entries of the audit log.

use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use serde_json::Value;

use super::AuditAction;
use crate::error::StoreError;
use crate::history::{Cursor, Page, PageRequest};
use crate::sql::{Params, Ts, from_row};
use crate::store::History;

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// The number of the entry.
    pub id: i64,
    /// When the change was made.
    pub at: UnixMillis,
    /// The tenant whose object was changed; `None` for a change of the deployment.
    pub tenant: Option<TenantId>,
    /// The kind of actor: `key`, `portal`, `operator` or `postrider`.
    pub actor: String,
    /// The id of the key, the portal link or the person, or the fingerprint of the operator key.
    pub actor_id: Option<String>,
    /// The name of the key, of the portal link's user or of the person at that time.
    pub actor_name: Option<String>,
    /// Where the change was requested: `api` or `dashboard`; `None` if Postrider itself made it.
    pub via: Option<String>,
    /// The name of an [`AuditAction`].
    pub action: String,
    /// The id of the changed object.
    pub target: String,
    /// The changed members before the change.
    pub before: Option<Value>,
    /// The same members after the change.
    pub after: Option<Value>,
}

/// A filter of entries. `None` does not filter.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Entries of this tenant.
    pub tenant: Option<TenantId>,
    /// Entries with this action.
    pub action: Option<AuditAction>,
    /// Entries by this actor: the id of a key, a portal link or a person, or an operator key's fingerprint.
    pub actor: Option<String>,
    /// Entries about the object with this id.
    pub target: Option<String>,
    /// Entries at or after this time.
    pub from: Option<UnixMillis>,
    /// Entries before this time.
    pub to: Option<UnixMillis>,
}

from_row!(AuditEntry { id, at, tenant, actor, actor_id, actor_name, via, action, target, before, after });

impl History {
    /// Entries of the audit log, newest first.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or an error of the database.
    pub async fn list_audit_log(
        &self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, StoreError> {
        let (at, id) = page.after::<i64>()?;
        let (from, to) = (filter.from.map(Ts), filter.to.map(Ts));
        let (tenant, action) = (filter.tenant.map(|tenant| tenant.0), filter.action.map(AuditAction::as_str));
        let sql = format!(
            "SELECT {} FROM audit_log
                   WHERE ($1::uuid IS NULL OR tenant = $1) AND ($2::timestamptz IS NULL OR (at, id) < ($2, $3))
                     AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5)
                     AND ($6::text IS NULL OR action = $6) AND ($7::text IS NULL OR actor_id = $7)
                     AND ($8::text IS NULL OR target = $8)
                   ORDER BY at DESC, id DESC LIMIT $9",
            AuditEntry::COLUMNS
        );
        let limit = page.fetch();
        let params: &Params<'_> = &[&tenant, &at, &id, &from, &to, &action, &filter.actor, &filter.target, &limit];
        let entries = self.0.fetch_all(&sql, params).await?;
        Ok(Page::of(entries, page, |entry: &AuditEntry| Cursor::of(entry.at, entry.id)))
    }
}
