//! Migrations: embedded in the program and run in order, under an advisory lock.

use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use tokio_postgres::Client;
use tokio_postgres::types::Json;

use crate::error::StoreError;
use crate::locks::{CREATION_LOCK, MIGRATION_LOCK};
use crate::partitions::create_ahead;
use crate::sql::Ts;
use crate::store::Store;
use postrider_model::tenant_limits::TenantLimits;

mod embedded {
    refinery::embed_migrations!("migrations");
}

impl Store {
    /// Migrates the schema to the version of this build, then creates the operator's own tenant and the partitions of the
    /// coming days. Idempotent, also if several processes run it at the same time. Does not change the schema of a later build.
    ///
    /// # Errors
    /// [`StoreError::Migration`] with the name of the migration, or an error of the database. A migration also fails if it
    /// waited 5 s for a table that another transaction has locked: then run it again.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        // Uses a connection outside the pool, because the session holds the lock until it ends.
        let (mut client, _driver) = self.core().dedicated().await?;
        client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
        let runner = embedded::migrations::runner();
        let ours = runner.get_migrations().iter().map(|migration| i64::from(migration.version())).max();
        let applied = newest(&client).await?;
        if applied > ours {
            // After a rollback to this build nothing needs migrating: this build ignores the additions of later builds.
            tracing::warn!(?applied, ?ours, "the schema is from a later release; it is left unchanged");
            return Ok(());
        }
        // While a statement waits for the lock of a table, every later statement on that table waits too.
        client.batch_execute("SET lock_timeout = '5s'").await?;
        let report = runner.run_async(&mut client).await.map_err(|error| StoreError::Migration(chain(&error)))?;
        for migration in report.applied_migrations() {
            tracing::info!(migration = %migration, "migrated");
        }
        client.batch_execute("RESET lock_timeout").await?;
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
        // Waits for a running recorder that may be creating partitions at the same time.
        client.execute("SELECT pg_advisory_lock($1)", &[&CREATION_LOCK]).await?;
        create_ahead(&client, now.day()).await?;
        Ok(())
    }
}

/// The version of the newest applied migration; `None` in an empty database.
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
