//! Migrations: embedded, run in order, under an advisory lock.

use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use tokio_postgres::Client;
use tokio_postgres::types::Json;

use crate::config::TenantLimits;
use crate::error::StoreError;
use crate::locks::{CREATION_LOCK, MIGRATION_LOCK};
use crate::partitions::create_ahead;
use crate::sql::Ts;
use crate::store::Store;

mod embedded {
    refinery::embed_migrations!("migrations");
}

impl Store {
    /// Migrates the schema to this build, creates the operator's own tenant and the partitions of the coming days. Idempotent, also
    /// when run concurrently. The schema of a later build is left unchanged.
    ///
    /// # Errors
    /// [`StoreError::Migration`] with the migration's name; the database's.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        // On a connection of its own, because the lock is held until the session ends.
        let (mut client, _driver) = self.core().dedicated().await?;
        client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
        let runner = embedded::migrations::runner();
        let ours = runner.get_migrations().iter().map(|migration| i64::from(migration.version())).max();
        let applied = newest(&client).await?;
        if applied > ours {
            // A rollback to this build needs no migration: additions of later builds stay unused.
            tracing::warn!(?applied, ?ours, "the schema is from a later release; it is left unchanged");
            return Ok(());
        }
        let report = runner.run_async(&mut client).await.map_err(|error| StoreError::Migration(chain(&error)))?;
        for migration in report.applied_migrations() {
            tracing::info!(migration = %migration, "migrated");
        }
        let now = UnixMillis::now();
        let made = client
            .execute(
                "INSERT INTO tenants (id, name, profile, limits, enforce_catalog, enforce_schemas, version, created_at, updated_at)
                 SELECT $1, 'operator', 'standard', $2, false, false, version, $3, $3 FROM config_version
                 ON CONFLICT (id) DO NOTHING",
                &[&TenantId::OPERATOR.0, &Json(TenantLimits::default()), &Ts(now)],
            )
            .await?;
        if made > 0 {
            tracing::info!(tenant.id = %TenantId::OPERATOR, "created the operator tenant");
        }
        // A running recorder may be creating them at the same time.
        client.execute("SELECT pg_advisory_lock($1)", &[&CREATION_LOCK]).await?;
        create_ahead(&client, now.day()).await?;
        Ok(())
    }
}

/// The newest migration that was applied; none in an empty database.
async fn newest(client: &Client) -> Result<Option<i64>, StoreError> {
    let made = client.query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[]).await?;
    if !made.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client.query_one("SELECT max(version)::bigint FROM refinery_schema_history", &[]).await?;
    Ok(row.get(0))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
