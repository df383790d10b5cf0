//! Reseals all sealed values with the first master key, so that the other keys can be removed.

use std::collections::BTreeMap;

use postrider_model::ids::EndpointId;
use uuid::Uuid;

use super::secrets::Column;
use crate::crypto::sealed_by;
use crate::erasures;
use crate::error::StoreError;
use crate::sql::RowExt;
use crate::store::ConfigStore;

/// Number of endpoints in one transaction. Edits of the configuration wait until the transaction ends.
const BATCH: i64 = 200;

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resealed {
    /// Endpoints checked.
    pub endpoints: u64,
    /// Numbers of resealed values, by the key that had sealed them.
    pub resealed: BTreeMap<String, u64>,
    /// Number of values that the first key had sealed already.
    pub kept: u64,
}

impl ConfigStore {
    /// Reseals every secret with the first master key. Each batch is a transaction: after an interruption, another call reseals
    /// the rest. Services may run at the same time if both keys are configured in them.
    ///
    /// # Errors
    /// [`StoreError::Crypto`]: a value is damaged, or its key is not configured. The log names the endpoint.
    pub async fn reseal(&self) -> Result<Resealed, StoreError> {
        let mut done = Resealed::default();
        let mut after = Uuid::nil();
        while let Some(last) = self.reseal_batch(after, &mut done).await? {
            after = last;
        }
        self.reseal_erasures(&mut done).await?;
        Ok(done)
    }

    /// Reseals the values of erasures that have not ended.
    async fn reseal_erasures(&self, done: &mut Resealed) -> Result<(), StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let (resealed, kept) = erasures::reseal(&tx, self.0.keys()).await?;
        for key in resealed {
            *done.resealed.entry(key).or_default() += 1;
        }
        done.kept += kept;
        Ok(tx.commit().await?)
    }

    /// Reseals the secrets of the next endpoints after `after`, sorted by id. Returns the last of these endpoints; `None` if
    /// there are no more.
    async fn reseal_batch(&self, after: Uuid, done: &mut Resealed) -> Result<Option<Uuid>, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        // Takes the lock that every edit takes first, so that no edit reads a value that this transaction is about to replace.
        // The version is not incremented, because the secrets themselves do not change.
        tx.query_one("SELECT version FROM config_version FOR UPDATE", &[]).await?;
        let columns = Column::ALL.map(Column::name);
        let sql = format!(
            "SELECT id, {} FROM endpoints WHERE id > $1 AND deleted_at IS NULL ORDER BY id LIMIT $2",
            columns.join(", ")
        );
        let rows = tx.query(&sql, &[&after, &BATCH]).await?;
        let mut last = None;
        for row in &rows {
            let id: EndpointId = row.col("id")?;
            for column in Column::ALL {
                let Some(sealed) = row.col::<Option<Vec<u8>>>(column.name())? else { continue };
                let again = column.seal_again(self.0.keys(), id, &sealed).inspect_err(|error| {
                    tracing::error!(endpoint.id = %id, column = column.name(), %error, "cannot reseal a secret");
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
