//! Saved views: named filters of the dashboard's lists, shared by everybody who reads a tenant's pages.
//!
//! This module stores the filter as it is. The dashboard checks that the list understands it.

use deadpool_postgres::Transaction;
use postrider_model::ids::{SavedViewId, TenantId};
use postrider_model::limits::SAVED_VIEWS_PER_TENANT_MAX;
use postrider_model::saved_view::SavedViewList;
use postrider_model::time::UnixMillis;

use crate::audit_log::{AuditAction, Change};
use crate::error::StoreError;
use crate::portal::lock_tenant;
use crate::sql::{Coded, RowExt, Ts, clean, from_row, read_optional};
use crate::store::SessionStore;

/// A saved view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedView {
    /// Its id.
    pub id: SavedViewId,
    /// The list whose filter it is.
    pub list: SavedViewList,
    /// Its name, unique in the list.
    pub name: String,
    /// The filter, as the query of the list's address.
    pub query: String,
}

/// A view to save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSavedView {
    /// The list whose filter it is.
    pub list: SavedViewList,
    /// Its name.
    pub name: String,
    /// The filter, as the query of the list's address.
    pub query: String,
}

from_row!(SavedView { id, list, name, query });

/// Returns the form of a view in the audit log. The filter is left out, because it may have values of payloads.
fn described(view: &SavedView) -> serde_json::Value {
    serde_json::json!({ "list": view.list.as_str(), "name": view.name })
}

/// Reads a view of a tenant.
async fn require(tx: &Transaction<'_>, tenant: TenantId, id: SavedViewId) -> Result<SavedView, StoreError> {
    let sql = format!("SELECT {} FROM saved_views WHERE tenant = $1 AND id = $2", SavedView::COLUMNS);
    read_optional(tx.query_opt(&sql, &[&tenant.0, &id.0]).await?)?.ok_or(StoreError::NotFound { what: "view" })
}

/// Refuses a name that another view of the list has.
async fn check_name_is_free(tx: &Transaction<'_>, tenant: TenantId, view: &SavedView) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM saved_views WHERE tenant = $1 AND list = $2 AND name = $3 AND id <> $4";
    let taken = tx.query_opt(sql, &[&tenant.0, &view.list.code(), &clean(&view.name), &view.id.0]).await?;
    match taken {
        None => Ok(()),
        Some(_) => Err(StoreError::Conflict(format!("another view of the {} has this name", view.list))),
    }
}

impl SessionStore {
    /// Returns the views of a list of a tenant, by name.
    pub async fn list_saved_views(&self, tenant: TenantId, list: SavedViewList) -> Result<Vec<SavedView>, StoreError> {
        let sql = format!(
            "SELECT {} FROM saved_views WHERE tenant = $1 AND list = $2 ORDER BY lower(name), name",
            SavedView::COLUMNS
        );
        self.0.fetch_all(&sql, &[&tenant.0, &list.code()]).await
    }

    /// Returns a view of a tenant; `None` if it does not exist.
    pub async fn get_saved_view(&self, tenant: TenantId, id: SavedViewId) -> Result<Option<SavedView>, StoreError> {
        let sql = format!("SELECT {} FROM saved_views WHERE tenant = $1 AND id = $2", SavedView::COLUMNS);
        self.0.fetch_optional(&sql, &[&tenant.0, &id.0]).await
    }

    /// Saves a view.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the tenant; [`StoreError::Conflict`] if another view of the list has the name, or at the limit
    /// of views.
    pub async fn create_saved_view(&self, tenant: TenantId, new: &NewSavedView) -> Result<SavedView, StoreError> {
        let NewSavedView { list, name, query } = new.clone();
        let view = SavedView { id: SavedViewId::generate(), list, name, query };
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        lock_tenant(&tx, tenant).await?;
        let sql = "SELECT count(*) AS usage FROM saved_views WHERE tenant = $1";
        let usage: u32 = tx.query_one(sql, &[&tenant.0]).await?.col("usage")?;
        if usage >= SAVED_VIEWS_PER_TENANT_MAX {
            let detail =
                format!("there are {usage} of {SAVED_VIEWS_PER_TENANT_MAX} saved views; delete one that is not needed");
            return Err(StoreError::Conflict(detail));
        }
        check_name_is_free(&tx, tenant, &view).await?;
        let sql = "INSERT INTO saved_views (id, tenant, list, name, query, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
        let (name, query, now) = (clean(&view.name), clean(&view.query), Ts(UnixMillis::now()));
        tx.execute(sql, &[&view.id.0, &tenant.0, &list.code(), &name, &query, &now]).await?;
        let change = Change::of(tenant, AuditAction::SavedViewCreated, view.id).to(described(&view));
        self.0.log_change(&tx, change).await?;
        tx.commit().await?;
        Ok(view)
    }

    /// Renames a view. If it has the name already, nothing changes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] if another view of the list has the name.
    pub async fn rename_saved_view(
        &self,
        tenant: TenantId,
        id: SavedViewId,
        name: &str,
    ) -> Result<SavedView, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        lock_tenant(&tx, tenant).await?;
        let before = require(&tx, tenant, id).await?;
        let after = SavedView { name: name.to_owned(), ..before.clone() };
        if after == before {
            return Ok(after);
        }
        check_name_is_free(&tx, tenant, &after).await?;
        tx.execute("UPDATE saved_views SET name = $2 WHERE id = $1", &[&id.0, &clean(name)]).await?;
        let change =
            Change::of(tenant, AuditAction::SavedViewRenamed, id).from(described(&before)).to(described(&after));
        self.0.log_change(&tx, change).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Deletes a view.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_saved_view(&self, tenant: TenantId, id: SavedViewId) -> Result<(), StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        lock_tenant(&tx, tenant).await?;
        let before = require(&tx, tenant, id).await?;
        tx.execute("DELETE FROM saved_views WHERE id = $1", &[&id.0]).await?;
        let change = Change::of(tenant, AuditAction::SavedViewDeleted, id).from(described(&before));
        self.0.log_change(&tx, change).await?;
        tx.commit().await?;
        Ok(())
    }
}
