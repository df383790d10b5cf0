//! Numbers of pending deliveries by tenant: deliveries that wait for a first attempt, a retry or a slot. One recorder counts
//! them in the history every few seconds. Ingest reads the numbers to enforce limits, and the API shows them.
//!
//! Only rows count, not messages in queues: a delivery counts until its end is on record. Deliveries that are set aside for
//! paused endpoints do not count, nor do those of deleted tenants.

use std::time::Duration;

use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;

use crate::error::StoreError;
use crate::locks::{COUNT_LOCK, low_cost, try_lock};
use crate::sql::{RowExt, signed};
use crate::store::{History, RecordStore};

/// Timeout of a count.
const COUNT_MAX: Duration = Duration::from_secs(30);
/// Maximum age of a count that is used.
const COUNT_AGE_MAX: Duration = Duration::from_secs(300);

/// Pending deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Pending deliveries of all tenants.
    pub deliveries: u64,
    /// Pending deliveries by tenant, highest number first.
    pub tenants: Vec<(TenantId, u64)>,
    /// When they were counted; `None` if nothing is pending, or if every count is older than five minutes.
    pub counted_at: Option<UnixMillis>,
}

/// [`COUNT_AGE_MAX`] as a parameter, in seconds.
fn age_max() -> i64 {
    signed(COUNT_AGE_MAX.as_secs())
}

const COUNT: &str = "\
WITH counted AS (
    SELECT p.tenant, p.deliveries - coalesce(a.deliveries, 0) AS deliveries
    FROM (SELECT tenant, count(*) AS deliveries FROM deliveries WHERE status = 0 GROUP BY tenant) p
    LEFT JOIN (SELECT tenant, count(*) AS deliveries FROM deliveries WHERE set_aside_bytes IS NOT NULL GROUP BY tenant) a
        ON a.tenant = p.tenant
    JOIN tenants t ON t.id = p.tenant AND t.deleted_at IS NULL
    WHERE p.deliveries > coalesce(a.deliveries, 0)
), gone AS (
    DELETE FROM waiting_deliveries w WHERE NOT EXISTS (SELECT FROM counted c WHERE c.tenant = w.tenant)
)
INSERT INTO waiting_deliveries AS w (tenant, deliveries, counted_at) SELECT tenant, deliveries, now() FROM counted
ON CONFLICT (tenant) DO UPDATE SET deliveries = excluded.deliveries, counted_at = excluded.counted_at";

impl RecordStore {
    /// Counts pending deliveries, unless another process is counting.
    ///
    /// # Errors
    /// An error of the database; then the last count remains in use.
    pub async fn count_waiting(&self) -> Result<(), StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        if !try_lock(&tx, COUNT_LOCK).await? {
            return Ok(());
        }
        low_cost(&tx, COUNT_MAX).await?;
        tx.execute(COUNT, &[]).await?;
        tx.commit().await?;
        Ok(())
    }
}

impl History {
    /// The last count of a tenant's pending deliveries; 0 if no count is younger than five minutes.
    pub async fn waiting_of(&self, tenant: TenantId) -> Result<u64, StoreError> {
        let sql = "SELECT deliveries FROM waiting_deliveries
                   WHERE tenant = $1 AND counted_at > now() - $2::bigint * interval '1 second'";
        let counted: Option<(u64,)> = self.0.fetch_optional(sql, &[&tenant.0, &age_max()]).await?;
        Ok(counted.map_or(0, |(deliveries,)| deliveries))
    }

    /// The last count, with the `tenants_max` tenants that have the most pending deliveries.
    pub async fn waiting(&self, tenants_max: u32) -> Result<Waiting, StoreError> {
        let sql = "SELECT tenant, deliveries, counted_at, (sum(deliveries) OVER ())::bigint AS total FROM waiting_deliveries
                   WHERE counted_at > now() - $1::bigint * interval '1 second' ORDER BY deliveries DESC, tenant LIMIT $2";
        let rows = self.0.client().await?.query(sql, &[&age_max(), &i64::from(tenants_max)]).await?;
        let mut waiting = Waiting::default();
        for row in &rows {
            waiting.deliveries = row.col("total")?;
            waiting.counted_at = row.col::<Option<UnixMillis>>("counted_at")?.max(waiting.counted_at);
            waiting.tenants.push((row.col("tenant")?, row.col("deliveries")?));
        }
        Ok(waiting)
    }
}
