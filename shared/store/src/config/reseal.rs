//! Sealing again: everything that another master key than the first one sealed, so that the old key can be dropped.

use std::collections::BTreeMap;

use postrider_model::ids::EndpointId;
use uuid::Uuid;

use super::secrets::Column;
use crate::crypto::sealed_by;
use crate::error::StoreError;
use crate::sql::RowExt;
use crate::store::ConfigStore;

/// Endpoints of one transaction, during which edits of the configuration wait.
const BATCH: i64 = 200;

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resealed {
    /// Endpoints that were looked at.
    pub endpoints: u64,
    /// Values that were sealed again, by the key that had sealed them.
    pub resealed: BTreeMap<String, u64>,
    /// Values that the first key had sealed already.
    pub kept: u64,
}

impl ConfigStore {
    /// Seals every secret with the first master key. In batches, each a transaction: a run that ends early has done what it has
    /// done, and the next one goes on with the rest. Services may run meanwhile, as long as they know both keys.
    ///
    /// # Errors
    /// [`StoreError::Crypto`]: a value was sealed with a key that is not configured, or is damaged; the endpoint is named in the log.
    pub async fn reseal(&self) -> Result<Resealed, StoreError> {
        let mut done = Resealed::default();
        let mut after = Uuid::nil();
        while let Some(last) = self.reseal_batch(after, &mut done).await? {
            after = last;
        }
        Ok(done)
    }

    /// Seals the secrets of the endpoints behind `after`; the last of them, `None` when there are no more.
    async fn reseal_batch(&self, after: Uuid, done: &mut Resealed) -> Result<Option<Uuid>, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        // The lock that every edit takes first: none reads a value that is about to be replaced. Nothing is bumped: what the
        // values say stays the same.
        tx.query_one("SELECT version FROM config_version FOR UPDATE", &[]).await?;
        let columns = Column::ALL.map(Column::name);
        let sql = format!(
            "SELECT id, {} FROM endpoints WHERE id > $1 AND deleted_at IS NULL ORDER BY id LIMIT $2",
            columns.join(", ")
        );
        let rows = tx.query(&sql, &[&after, &BATCH]).await?;
        let mut last = None;
        for row in &rows {
            let id = EndpointId(row.col("id")?);
            for column in Column::ALL {
                let Some(sealed) = row.col::<Option<Vec<u8>>>(column.name())? else { continue };
                let again = column.seal_again(self.0.keys(), id, &sealed).inspect_err(|error| {
                    tracing::error!(endpoint.id = %id, column = column.name(), %error, "cannot seal again");
                })?;
                let Some(again) = again else {
                    done.kept += 1;
                    continue;
                };
                let sql = format!("UPDATE endpoints SET {} = $2 WHERE id = $1", column.name());
                tx.execute(&sql, &[&id.0, &again]).await?;
                *done.resealed.entry(sealed_by(&sealed).unwrap_or_default().to_owned()).or_default() += 1;
            }
            done.endpoints += 1;
            last = Some(id.0);
        }
        tx.commit().await?;
        Ok(last)
    }
}
