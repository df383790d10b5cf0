//! Tenants.

use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::brand::Brand;
use postrider_model::delivery::FailingEndpoints;
use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::config_version::{bump, check_match};
use crate::audit_log::{AuditAction, Change, json};
use crate::error::{EditError, StoreError};
use crate::history::{Cursor, Page, PageRequest};
use crate::sql::{Coded, FromRow, RowExt, Ts, clean, from_row, read_optional};
use crate::store::ConfigStore;
use postrider_model::tenant_limits::TenantLimits;

/// The settings that the operator gives a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantDraft {
    /// A name for people.
    pub name: String,
    /// The name of the profile of its deliveries.
    pub profile: String,
    /// The operator's own id for the tenant; unique among tenants that are not deleted.
    pub external_id: Option<String>,
    /// Its limits.
    pub limits: TenantLimits,
    /// Whether ingest refuses events of a type outside the catalog.
    pub enforce_catalog: bool,
    /// Whether ingest checks events against their type's JSON Schema.
    pub enforce_schemas: bool,
    /// Number of days of failures after which an endpoint is disabled. If `None`, the profile's value applies; 0 means never.
    pub disable_after_days: Option<u32>,
    /// What happens to an endpoint that fails for too long.
    pub failing_endpoints: FailingEndpoints,
    /// What the dashboard shows of the product, where it differs from the profile's brand.
    pub brand: Brand,
}

impl TenantDraft {
    /// Settings with this name and profile, and defaults for the rest.
    pub fn new(name: impl Into<String>, profile: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            profile: profile.into(),
            external_id: None,
            limits: TenantLimits::default(),
            enforce_catalog: false,
            enforce_schemas: false,
            disable_after_days: None,
            failing_endpoints: FailingEndpoints::default(),
            brand: Brand::default(),
        }
    }
}

/// A tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// The operator's settings.
    pub draft: TenantDraft,
    /// Configuration version of its last edit: its ETag.
    pub version: i64,
    /// When it was created.
    pub created_at: UnixMillis,
    /// When it was last edited.
    pub updated_at: UnixMillis,
}

from_row!(TenantDraft {
    name,
    profile,
    external_id,
    limits,
    enforce_catalog,
    enforce_schemas,
    disable_after_days,
    failing_endpoints,
    brand
});

impl Tenant {
    pub(crate) const COLUMNS: &str = "id, name, profile, external_id, limits, enforce_catalog, enforce_schemas, \
        disable_after_days, failing_endpoints, brand, version, created_at, updated_at";
}

impl FromRow for Tenant {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.col("id")?,
            draft: TenantDraft::read(row)?,
            version: row.col("version")?,
            created_at: row.col("created_at")?,
            updated_at: row.col("updated_at")?,
        })
    }
}

async fn find(client: &impl GenericClient, id: TenantId) -> Result<Option<Tenant>, StoreError> {
    let sql = format!("SELECT {} FROM tenants WHERE id = $1 AND deleted_at IS NULL", Tenant::COLUMNS);
    read_optional(client.query_opt(&sql, &[&id.0]).await?)
}

/// Returns the tenant's row, or [`StoreError::NotFound`].
pub(super) async fn require(tx: &Transaction<'_>, id: TenantId) -> Result<Tenant, StoreError> {
    find(tx, id).await?.ok_or(StoreError::NotFound { what: "tenant" })
}

/// Notes whether a tenant has an ordered endpoint. If that has changed, the tenant gets `version`, so that ingest receives it.
/// The document is searched as text, because PostgreSQL's operators refuse JSON with U+0000 anywhere in it. Metadata of the same
/// form count too, which only means that the tenant's events take the ordered queue.
pub(super) async fn note_ordered(tx: &Transaction<'_>, id: TenantId, version: i64) -> Result<(), StoreError> {
    let sql = "UPDATE tenants SET ordered = now.ordered, version = $2
               FROM (SELECT EXISTS (SELECT FROM endpoints WHERE tenant = $1 AND deleted_at IS NULL
                         AND strpos(document::text, $3) > 0) AS ordered) now
               WHERE id = $1 AND tenants.ordered <> now.ordered";
    tx.execute(sql, &[&id.0, &version, &r#""ordering":{"key":"#]).await?;
    Ok(())
}

fn taken(error: tokio_postgres::Error) -> StoreError {
    if error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
        StoreError::Conflict("another tenant has this external_id".into())
    } else {
        error.into()
    }
}

async fn save(tx: &Transaction<'_>, tenant: &Tenant) -> Result<(), StoreError> {
    let draft = &tenant.draft;
    let external_id = draft.external_id.as_deref().map(clean);
    let disable_after = draft.disable_after_days.map(|days| i32::try_from(days).unwrap_or(i32::MAX));
    let brand = (!draft.brand.is_empty()).then_some(Json(&draft.brand));
    tx.execute(
        "INSERT INTO tenants (id, name, profile, external_id, limits, enforce_catalog, enforce_schemas,
                              disable_after_days, version, created_at, updated_at, brand, failing_endpoints)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (id) DO UPDATE SET (name, profile, external_id, limits, enforce_catalog, enforce_schemas,
                                         disable_after_days, version, updated_at, brand,
                                         failing_endpoints)
            = ROW (excluded.name, excluded.profile, excluded.external_id, excluded.limits, excluded.enforce_catalog,
                   excluded.enforce_schemas, excluded.disable_after_days, excluded.version, excluded.updated_at,
                   excluded.brand, excluded.failing_endpoints)",
        &[
            &tenant.id.0,
            &clean(&draft.name),
            &clean(&draft.profile),
            &external_id,
            &Json(draft.limits),
            &draft.enforce_catalog,
            &draft.enforce_schemas,
            &disable_after,
            &tenant.version,
            &Ts(tenant.created_at),
            &Ts(tenant.updated_at),
            &brand,
            &draft.failing_endpoints.code(),
        ],
    )
    .await
    .map_err(taken)?;
    Ok(())
}

/// Returns the form of a tenant in the audit log.
fn described(draft: &TenantDraft) -> serde_json::Value {
    serde_json::json!({
        "name": draft.name,
        "profile": draft.profile,
        "external_id": draft.external_id,
        "limits": json(&draft.limits),
        "enforce_catalog": draft.enforce_catalog,
        "enforce_schemas": draft.enforce_schemas,
        "disable_after_days": draft.disable_after_days,
        "when_failing": draft.failing_endpoints,
        "brand": (!draft.brand.is_empty()).then(|| json(&draft.brand)),
    })
}

impl ConfigStore {
    /// Creates a tenant.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the external id is taken.
    pub async fn create_tenant(&self, draft: &TenantDraft) -> Result<Tenant, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let now = UnixMillis::now();
        let tenant =
            Tenant { id: TenantId::generate(), draft: draft.clone(), version, created_at: now, updated_at: now };
        save(&tx, &tenant).await?;
        self.0
            .finish_edit(tx, version, Change::of(tenant.id, AuditAction::TenantCreated, tenant.id).to(described(draft)))
            .await?;
        Ok(tenant)
    }

    /// Lists tenants, newest first. With `text`, lists only tenants whose name or external id contains the text (upper and lower
    /// case are equal), or whose id is the text. A search reads every tenant.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or an error of the database.
    pub async fn list_tenants(&self, text: Option<&str>, page: &PageRequest) -> Result<Page<Tenant>, StoreError> {
        let (at, id) = page.after::<Uuid>()?;
        let named: Option<Uuid> = text.and_then(|text| text.parse().ok()).map(|id: TenantId| id.0);
        let sql = format!(
            "SELECT {} FROM tenants
             WHERE deleted_at IS NULL AND ($1::timestamptz IS NULL OR (created_at, id) < ($1, $2))
                 AND ($3::text IS NULL OR id = $4 OR strpos(lower(name), lower($3)) > 0
                      OR strpos(lower(external_id), lower($3)) > 0)
             ORDER BY created_at DESC, id DESC LIMIT $5",
            Tenant::COLUMNS
        );
        let text = text.map(clean);
        let tenants = self.0.fetch_all(&sql, &[&at, &id, &text, &named, &page.fetch()]).await?;
        Ok(Page::of(tenants, page, |tenant: &Tenant| Cursor::of(tenant.created_at, tenant.id.0)))
    }

    /// Returns one tenant; `None` if it does not exist.
    pub async fn get_tenant(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        find(&self.0.client().await?, id).await
    }

    /// Returns the names of these tenants, in no order. Leaves out deleted tenants.
    pub async fn names_of_tenants(&self, ids: &[TenantId]) -> Result<Vec<(TenantId, String)>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        self.0.fetch_all("SELECT id, name FROM tenants WHERE id = ANY($1) AND deleted_at IS NULL", &[&ids]).await
    }

    /// Returns the tenant with this external id; `None` if there is no such tenant.
    pub async fn tenant_by_external_id(&self, external_id: &str) -> Result<Option<TenantId>, StoreError> {
        let sql = "SELECT id FROM tenants WHERE external_id = $1 AND deleted_at IS NULL";
        let found: Option<(TenantId,)> = self.0.fetch_optional(sql, &[&clean(external_id)]).await?;
        Ok(found.map(|(id,)| id))
    }

    /// Edits a tenant: `edit` changes the current state in place. If `edit` changes nothing, no new version is created.
    ///
    /// # Errors
    /// The tenant does not exist, its version is not `if_match`, or the external id is taken. Also returns the error of `edit`.
    pub async fn edit_tenant<E>(
        &self,
        id: TenantId,
        if_match: Option<i64>,
        edit: impl FnOnce(&mut TenantDraft) -> Result<(), E>,
    ) -> Result<Tenant, EditError<E>> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let mut tenant = require(&tx, id).await?;
        check_match(if_match, tenant.version)?;
        let before = tenant.draft.clone();
        edit(&mut tenant.draft).map_err(EditError::Refused)?;
        if tenant.draft == before {
            return Ok(tenant);
        }
        tenant.version = version;
        tenant.updated_at = UnixMillis::now();
        save(&tx, &tenant).await?;
        let change =
            Change::of(id, AuditAction::TenantEdited, id).from(described(&before)).to(described(&tenant.draft));
        self.0.finish_edit(tx, version, change).await?;
        Ok(tenant)
    }

    /// Deletes a tenant with its keys, endpoints and event types.
    ///
    /// # Errors
    /// The tenant does not exist, or its version is not `if_match`. [`StoreError::Conflict`] for the operator's own tenant.
    pub async fn delete_tenant(&self, id: TenantId, if_match: Option<i64>) -> Result<(), StoreError> {
        if id == TenantId::OPERATOR {
            return Err(StoreError::Conflict("the operator's own tenant cannot be deleted".into()));
        }
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let tenant = require(&tx, id).await?;
        check_match(if_match, tenant.version)?;
        let now = Ts(UnixMillis::now());
        for sql in [
            "UPDATE tenants SET version = $2, updated_at = $3, deleted_at = $3 WHERE id = $1",
            "UPDATE api_keys SET version = $2, deleted_at = $3 WHERE tenant = $1 AND deleted_at IS NULL",
        ] {
            tx.execute(sql, &[&id.0, &version, &now]).await?;
        }
        for table in ["portal_links", "saved_views", "test_data", "erasures"] {
            tx.execute(&format!("DELETE FROM {table} WHERE tenant = $1"), &[&id.0]).await?;
        }
        super::endpoint_row::tombstone(&tx, "tenant", id.0, version, now).await?;
        super::event_types::tombstone(&tx, id, None, version, now).await?;
        self.0
            .finish_edit(tx, version, Change::of(id, AuditAction::TenantDeleted, id).from(described(&tenant.draft)))
            .await
    }
}
