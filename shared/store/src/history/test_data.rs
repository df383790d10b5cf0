//! The `data` of test calls whose sample the caller edited. All other bodies of test calls are rendered again from the catalog.

use postrider_model::ids::{DeliveryId, TenantId};
use postrider_model::limits::TEST_DATA_KEPT;
use postrider_model::time::UnixMillis;

use crate::error::StoreError;
use crate::sql::{RowExt, Ts};
use crate::store::History;

/// The `data` of a test call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestData {
    /// The sample of the event type.
    Sample,
    /// The caller's JSON.
    Edited(String),
    /// The caller's JSON, which is no longer kept.
    Dropped,
}

impl History {
    /// Keeps the edited `data` of a test call, and drops the `data` of all but the tenant's newest `TEST_DATA_KEPT` ones.
    pub async fn keep_test_data(
        &self,
        tenant: TenantId,
        delivery: DeliveryId,
        at: UnixMillis,
        data: &str,
    ) -> Result<(), StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let keep = "INSERT INTO test_data (delivery_id, tenant, created_at, data) VALUES ($1, $2, $3, $4)";
        tx.execute(keep, &[&delivery.0, &tenant.0, &Ts(at), &data]).await?;
        let drop = "UPDATE test_data SET data = NULL WHERE delivery_id IN (
                        SELECT delivery_id FROM test_data WHERE tenant = $1 AND data IS NOT NULL
                        ORDER BY created_at DESC, delivery_id OFFSET $2)";
        tx.execute(drop, &[&tenant.0, &i64::from(TEST_DATA_KEPT)]).await?;
        Ok(tx.commit().await?)
    }

    /// Returns the `data` of a test call.
    pub async fn test_data(&self, delivery: DeliveryId) -> Result<TestData, StoreError> {
        let client = self.0.client().await?;
        let sql = "SELECT data FROM test_data WHERE delivery_id = $1";
        let Some(row) = client.query_opt(sql, &[&delivery.0]).await? else { return Ok(TestData::Sample) };
        Ok(row.col::<Option<String>>("data")?.map_or(TestData::Dropped, TestData::Edited))
    }
}
