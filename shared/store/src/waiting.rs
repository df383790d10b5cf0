//! Numbers of pending deliveries by tenant: deliveries that wait for a first attempt, a retry or a slot. One recorder counts
//! them in the history every few seconds. Ingest reads the numbers to enforce limits, and the API shows them.
//!
//! Only rows count, not messages in queues: a delivery counts until its end is on record. Deliveries of deleted tenants do not
//! count.

use std::time::Duration;

use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;

use crate::error::StoreError;
use crate::locks::{COUNT_LOCK, low_cost, try_lock};
use crate::sql::RowExt;
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

const COUNT: &str = "\
WITH counted AS (
    SELECT d.tenant, count(*) AS deliveries FROM deliveries d JOIN tenants t ON t.id = d.tenant AND t.deleted_at IS NULL
    WHERE d.status = 0 GROUP BY d.tenant
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
    /// Returns the last count, with the `tenants_max` tenants that have the most pending deliveries.
    pub async fn waiting(&self, tenants_max: u32) -> Result<Waiting, StoreError> {
        let sql = "SELECT tenant, deliveries, counted_at, (sum(deliveries) OVER ())::bigint AS total FROM waiting_deliveries
                   WHERE counted_at > now() - $1::bigint * interval '1 second' ORDER BY deliveries DESC, tenant LIMIT $2";
        let believed = i64::try_from(COUNT_AGE_MAX.as_secs()).unwrap_or(i64::MAX);
        let rows = self.0.client().await?.query(sql, &[&believed, &i64::from(tenants_max)]).await?;
        let mut waiting = Waiting::default();
        for row in &rows {
            waiting.deliveries = row.col("total")?;
            waiting.counted_at = row.col::<Option<UnixMillis>>("counted_at")?.max(waiting.counted_at);
            waiting.tenants.push((row.col("tenant")?, row.col("deliveries")?));
        }
        Ok(waiting)
    }
}
