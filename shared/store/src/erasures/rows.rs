//! Creates, reads and cancels erasures.

use deadpool_postgres::Transaction;
use postrider_model::erasure::ErasureStatus;
use postrider_model::ids::{ErasureId, TenantId};
use postrider_model::limits::ERASURES_OPEN_MAX;
use postrider_model::time::UnixMillis;
use serde_json::json;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Erasure, Examined, Found, NewErasure};
use crate::audit_log::{AuditAction, Change};
use crate::crypto::{MasterKeys, sealed_by};
use crate::error::StoreError;
use crate::history::{Cursor, Page, PageRequest};
use crate::sql::{Coded, FromRow, RowExt, Ts, read_optional};
use crate::store::Store;

/// The columns of [`Erasure`].
pub(super) const COLUMNS: &str = "id, tenant, status, dry_run, field, anywhere, since, until, value_hash, stage, stage_at, \
    reached_at, events_examined, deliveries_examined, letters_examined, events, deliveries, test_calls, attempts, letters, \
    letters_shared, examples, failure, created_at, updated_at, finished_at";

impl FromRow for Erasure {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.col("id")?,
            tenant: row.col("tenant")?,
            status: row.col("status")?,
            dry_run: row.col("dry_run")?,
            field: row.col("field")?,
            anywhere: row.col("anywhere")?,
            since: row.col("since")?,
            until: row.col("until")?,
            value_hash: row.col("value_hash")?,
            stage: row.col("stage")?,
            stage_at: row.col("stage_at")?,
            reached_at: row.col("reached_at")?,
            examined: Examined {
                events: row.col("events_examined")?,
                deliveries: row.col("deliveries_examined")?,
                letters: row.col("letters_examined")?,
            },
            found: Found {
                events: row.col("events")?,
                deliveries: row.col("deliveries")?,
                test_calls: row.col("test_calls")?,
                attempts: row.col("attempts")?,
                letters: row.col("letters")?,
                letters_shared: row.col("letters_shared")?,
            },
            examples: row.col("examples")?,
            failure: row.col("failure")?,
            created_at: row.col("created_at")?,
            updated_at: row.col("updated_at")?,
            finished_at: row.col("finished_at")?,
        })
    }
}

/// The row and column to which a sealed value is bound.
pub(super) fn context(id: ErasureId) -> String {
    format!("erasures/{id}/value")
}

impl Store {
    /// The keyed hash of a value of this tenant, see [`Erasure::value_hash`].
    ///
    /// # Errors
    /// [`StoreError::Crypto`] without a master key.
    pub fn erasure_value_hash(&self, tenant: TenantId, value: &str) -> Result<String, StoreError> {
        Ok(self.core().keys().keyed_hash(&format!("erasure/{tenant}"), value.as_bytes())?)
    }

    /// Creates an erasure. The audit log gets the hash of the value, not the value.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the tenant has [`ERASURES_OPEN_MAX`] erasures that have not ended;
    /// [`StoreError::NotFound`] if the tenant does not exist; [`StoreError::Crypto`] without a master key.
    pub async fn create_erasure(&self, tenant: TenantId, new: &NewErasure) -> Result<ErasureId, StoreError> {
        let (id, now) = (ErasureId::generate(), Ts(UnixMillis::now()));
        let keys = self.core().keys();
        let sealed = keys.seal(&context(id), new.value.as_bytes())?;
        let hash = self.erasure_value_hash(tenant, &new.value)?;
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        // Serialises the requests of a tenant, so that `usage` remains correct until the commit.
        let living = "SELECT id FROM tenants WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE";
        tx.query_opt(living, &[&tenant.0]).await?.ok_or(StoreError::NotFound { what: "tenant" })?;
        let open = "SELECT count(*) AS usage FROM erasures WHERE tenant = $1 AND status IN (0, 1)";
        let usage: u32 = tx.query_one(open, &[&tenant.0]).await?.col("usage")?;
        if usage >= ERASURES_OPEN_MAX {
            return Err(StoreError::Conflict(format!(
                "the tenant has {usage} erasures that are running or waiting, at most {ERASURES_OPEN_MAX}: wait for one to \
                 finish, or cancel one"
            )));
        }
        let insert =
            "INSERT INTO erasures (id, tenant, status, dry_run, field, anywhere, since, until, value, value_hash,
                          stage_at, claimed_until, stepped_at, created_at, updated_at)
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $11, $11, $11)";
        let (status, since) = (ErasureStatus::Waiting.code(), new.since.map(Ts));
        let NewErasure { field, anywhere, until, dry_run, .. } = new;
        let params: &crate::sql::Params<'_> =
            &[&id.0, &tenant.0, &status, dry_run, field, anywhere, &since, &Ts(*until), &sealed, &hash, &now];
        tx.execute(insert, params).await?;
        let after = json!({"field": field, "anywhere": anywhere, "since": new.since.map(UnixMillis::to_rfc3339_seconds),
            "until": until.to_rfc3339_seconds(), "dry_run": dry_run, "value_hash": hash});
        self.core().log_change(&tx, Change::of(tenant, AuditAction::ErasureCreated, id).to(after)).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Returns one erasure; `None` if it does not exist or belongs to another tenant. `tenant` `None` accepts every tenant.
    pub async fn get_erasure(&self, tenant: Option<TenantId>, id: ErasureId) -> Result<Option<Erasure>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM erasures WHERE id = $1 AND ($2::uuid IS NULL OR tenant = $2)");
        self.core().fetch_optional(&sql, &[&id.0, &tenant.map(|tenant| tenant.0)]).await
    }

    /// Returns erasures, newest first. `tenant` `None` lists the erasures of every tenant.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or an error of the database.
    pub async fn list_erasures(
        &self,
        tenant: Option<TenantId>,
        page: &PageRequest,
    ) -> Result<Page<Erasure>, StoreError> {
        let (at, after) = page.after::<Uuid>()?;
        let sql = format!(
            "SELECT {COLUMNS} FROM erasures
             WHERE ($1::uuid IS NULL OR tenant = $1) AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
             ORDER BY created_at DESC, id DESC LIMIT $4"
        );
        let tenant = tenant.map(|tenant| tenant.0);
        let erasures = self.core().fetch_all(&sql, &[&tenant, &at, &after, &page.fetch()]).await?;
        Ok(Page::of(erasures, page, |erasure: &Erasure| Cursor::of(erasure.created_at, erasure.id.0)))
    }

    /// Cancels an erasure: no further step is committed, and the value is removed. Idempotent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also if it belongs to another tenant; [`StoreError::Conflict`] if it has finished or failed.
    pub async fn cancel_erasure(&self, tenant: Option<TenantId>, id: ErasureId) -> Result<(), StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        let sql =
            format!("SELECT {COLUMNS} FROM erasures WHERE id = $1 AND ($2::uuid IS NULL OR tenant = $2) FOR UPDATE");
        let row = tx.query_opt(&sql, &[&id.0, &tenant.map(|tenant| tenant.0)]).await?;
        let erasure: Erasure = read_optional(row)?.ok_or(StoreError::NotFound { what: "erasure" })?;
        match erasure.status {
            ErasureStatus::Cancelled => return Ok(()),
            ended if ended.has_ended() => {
                return Err(StoreError::Conflict(format!(
                    "the erasure is {ended}; only a running or waiting one can be cancelled"
                )));
            }
            _ => {}
        }
        end(&tx, id, ErasureStatus::Cancelled, None).await?;
        let status = |status: ErasureStatus| json!({"status": status.as_str()});
        let change = Change::of(erasure.tenant, AuditAction::ErasureCancelled, id);
        let change = change.from(status(erasure.status)).to(status(ErasureStatus::Cancelled));
        self.core().log_change(&tx, change).await?;
        Ok(tx.commit().await?)
    }
}

/// Ends an erasure and removes its value.
pub(super) async fn end(
    tx: &Transaction<'_>,
    id: ErasureId,
    status: ErasureStatus,
    failure: Option<&str>,
) -> Result<(), StoreError> {
    let sql =
        "UPDATE erasures SET status = $2, failure = $3, value = NULL, updated_at = $4, finished_at = $4 WHERE id = $1";
    tx.execute(sql, &[&id.0, &status.code(), &failure, &Ts(UnixMillis::now())]).await?;
    Ok(())
}

/// Reseals the values of open erasures with the first key. Returns the ids of the keys that had sealed the resealed values, and
/// the number of values that the first key had sealed.
pub(crate) async fn reseal(tx: &Transaction<'_>, keys: &MasterKeys) -> Result<(Vec<String>, u64), StoreError> {
    let (mut resealed, mut kept) = (Vec::new(), 0);
    for row in tx.query("SELECT id, value FROM erasures WHERE value IS NOT NULL FOR UPDATE", &[]).await? {
        let (id, sealed): (ErasureId, Vec<u8>) = (row.col("id")?, row.col("value")?);
        if keys.seals_as(&sealed) {
            kept += 1;
            continue;
        }
        let again = keys.seal(&context(id), &keys.open(&context(id), &sealed)?)?;
        tx.execute("UPDATE erasures SET value = $2 WHERE id = $1", &[&id.0, &again]).await?;
        resealed.push(sealed_by(&sealed).unwrap_or_default().to_owned());
    }
    Ok((resealed, kept))
}
