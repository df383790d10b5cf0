//! Reading the audit log.

use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use serde_json::Value;
use tokio_postgres::Row;

use super::AuditAction;
use crate::error::StoreError;
use crate::history::{Cursor, Page, PageRequest};
use crate::sql::{RowExt, Ts};
use crate::store::History;

/// An entry.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its number.
    pub id: i64,
    /// When the change was made.
    pub at: UnixMillis,
    /// The tenant; `None`: the deployment.
    pub tenant: Option<TenantId>,
    /// `key`, `operator` or `postrider`.
    pub actor: String,
    /// The key's id, or the operator key's fingerprint.
    pub actor_id: Option<String>,
    /// The key's name at that time.
    pub actor_name: Option<String>,
    /// `api` or `dashboard`; `None`: Postrider itself.
    pub via: Option<String>,
    /// What was done, an [`AuditAction`]'s name.
    pub action: String,
    /// The id of what was changed.
    pub target: String,
    /// The changed members before the change.
    pub before: Option<Value>,
    /// The same members after the change.
    pub after: Option<Value>,
}

/// A filter of entries. `None` does not filter.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// This action.
    pub action: Option<AuditAction>,
    /// By this actor: a key's id or an operator key's fingerprint.
    pub actor: Option<String>,
    /// About the object with this id.
    pub target: Option<String>,
    /// At or after this.
    pub from: Option<UnixMillis>,
    /// Before this.
    pub to: Option<UnixMillis>,
}

impl AuditEntry {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let value = |column: &'static str| {
            let text: Option<String> = row.col(column)?;
            let unreadable =
                |error: serde_json::Error| StoreError::Unreadable { what: column, detail: error.to_string() };
            text.map(|text| serde_json::from_str(&text).map_err(unreadable)).transpose()
        };
        Ok(Self {
            id: row.col("id")?,
            at: row.at("at")?,
            tenant: row.col::<Option<uuid::Uuid>>("tenant")?.map(TenantId),
            actor: row.col("actor")?,
            actor_id: row.col("actor_id")?,
            actor_name: row.col("actor_name")?,
            via: row.col("via")?,
            action: row.col("action")?,
            target: row.col("target")?,
            before: value("before")?,
            after: value("after")?,
        })
    }
}

impl History {
    /// Entries of the audit log, newest first.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or the database's.
    pub async fn list_audit_log(
        &self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, StoreError> {
        let after = page.after()?;
        let id =
            after.as_ref().map(|cursor| cursor.id.parse::<i64>()).transpose().map_err(|_| StoreError::InvalidCursor)?;
        let (at, from, to) = (after.map(|cursor| Ts(cursor.at)), filter.from.map(Ts), filter.to.map(Ts));
        let (tenant, action) = (filter.tenant.map(|tenant| tenant.0), filter.action.map(AuditAction::as_str));
        let sql =
            "SELECT id, at, tenant, actor, actor_id, actor_name, via, action, target, before, after FROM audit_log
                   WHERE ($1::uuid IS NULL OR tenant = $1) AND ($2::timestamptz IS NULL OR (at, id) < ($2, $3))
                     AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5)
                     AND ($6::text IS NULL OR action = $6) AND ($7::text IS NULL OR actor_id = $7)
                     AND ($8::text IS NULL OR target = $8)
                   ORDER BY at DESC, id DESC LIMIT $9";
        let client = self.0.client().await?;
        let rows = client
            .query(sql, &[&tenant, &at, &id, &from, &to, &action, &filter.actor, &filter.target, &page.fetch()])
            .await?;
        let entries = rows.iter().map(AuditEntry::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(entries, page, |entry| Cursor::of(entry.at, entry.id)))
    }
}
