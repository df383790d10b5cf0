//! Ends deliveries that expired in a held line.
//!
//! Elsewhere a dispatcher discards an expired delivery when its turn comes. In a held line that may never be, so that the line
//! would fill the room of its tenant.

use postrider_model::time::UnixMillis;
use postrider_wire::messages::DeliveryTask;
use uuid::Uuid;

use super::{is_leader, lock};
use crate::error::StoreError;
use crate::store::LineStore;

/// Maximum number of deliveries that one call returns.
const EXPIRED_MAX: i64 = 1_000;
/// Number of deliveries at the front of each held line that are examined. The oldest ones expire first, unless their events have
/// times of their own.
const AT_THE_FRONT: i64 = 1_000;

/// Deliveries at the front of held lines that expired before `$1`. In JSON, a quote inside a text is escaped, so the pattern finds
/// only the field.
const EXPIRED: &str = r#"
SELECT d.delivery FROM ordered_lines line
CROSS JOIN LATERAL (
    SELECT delivery, task FROM ordered_deliveries o
    WHERE o.endpoint = line.endpoint AND o.key = line.key ORDER BY position LIMIT $2) d
WHERE line.held IS NOT NULL AND d.delivery <> line.held AND substring(d.task FROM '"expires_at":(\d+)')::bigint < $1
LIMIT $3"#;

/// Removes these deliveries, unless their line was released in the meantime.
const REMOVE: &str = "\
DELETE FROM ordered_deliveries d USING ordered_lines line
WHERE d.delivery = ANY($1) AND line.endpoint = d.endpoint AND line.key = d.key AND line.held IS NOT NULL
RETURNING d.task";

impl LineStore {
    /// Removes deliveries from held lines that expired before `before`, and returns them. The caller reports their end; if it
    /// crashes before that, the reconciler ends them. Returns nothing if `owner` does not sequence. At most
    /// 1,000.
    ///
    /// # Errors
    /// An error of the database; then nothing was changed.
    pub async fn take_expired(&self, owner: Uuid, before: UnixMillis) -> Result<Vec<DeliveryTask>, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        if !is_leader(&tx, owner).await? {
            return Ok(Vec::new());
        }
        let found = tx.query(EXPIRED, &[&before.0, &AT_THE_FRONT, &EXPIRED_MAX]).await?;
        let ids = found.iter().map(|row| row.try_get("delivery")).collect::<Result<Vec<Uuid>, _>>()?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        lock(&tx).await?;
        let removed = tx.query(REMOVE, &[&ids]).await?;
        let mut expired = Vec::with_capacity(removed.len());
        for row in &removed {
            // A delivery that this release cannot read is ended by the reconciler.
            expired.extend(serde_json::from_str::<DeliveryTask>(row.try_get("task")?).ok());
        }
        tx.commit().await?;
        Ok(expired)
    }
}
