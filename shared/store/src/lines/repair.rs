//! Finds lines that stand still because a message about them was lost.
//!
//! The history knows more than the lines: a delivery whose end is on record needs no report. If the first delivery of a current
//! run is still pending, the reconciler publishes it again.

use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{DeliveryId, EndpointId};
use postrider_model::time::UnixMillis;
use uuid::Uuid;

use super::{FREE, execute, is_leader, lock};
use crate::error::StoreError;
use crate::sql::{Coded, RowExt, Ts};
use crate::store::LineStore;

/// Maximum number of lines that one call repairs.
const LINES_MAX: i64 = 1_000;

/// Lines whose current run was released before `$1` and has no delivery left, or whose first delivery ended before `$1`. Each
/// delivery is looked up by its id (`OFFSET 0` keeps it so).
const STANDING: &str = "\
SELECT line.endpoint, line.key FROM ordered_lines line
LEFT JOIN LATERAL (
    SELECT delivery, position FROM ordered_deliveries d
    WHERE d.endpoint = line.endpoint AND d.key = line.key ORDER BY position LIMIT 1) oldest ON true
LEFT JOIN LATERAL (
    SELECT status, reported_at FROM deliveries WHERE id = oldest.delivery OFFSET 0) known ON true
WHERE line.run_upto IS NOT NULL AND line.held IS NULL AND line.released_at < $1
    AND (oldest.position IS NULL OR oldest.position > line.run_upto OR (known.status <> $2 AND known.reported_at < $1))
LIMIT $3";

/// The deliveries of current runs in these lines whose end was recorded before `$3`. `holds`: it failed for good, and its endpoint
/// holds the line then.
const ENDED: &str = "\
SELECT d.delivery, known.status = $4 AND EXISTS (
    SELECT FROM endpoints e
    WHERE e.id = d.endpoint AND e.deleted_at IS NULL AND strpos(e.document::text, $6) > 0) AS holds
FROM unnest($1::uuid[], $2::text[]) AS touched (endpoint, key)
JOIN ordered_lines line ON line.endpoint = touched.endpoint AND line.key = touched.key
    AND line.run_upto IS NOT NULL AND line.held IS NULL
JOIN ordered_deliveries d ON d.endpoint = line.endpoint AND d.key = line.key AND d.position <= line.run_upto
CROSS JOIN LATERAL (
    SELECT status, reported_at FROM deliveries WHERE id = d.delivery OFFSET 0) known
WHERE known.status <> $5 AND known.reported_at < $3";

/// Holds the lines of which these deliveries are the first.
const HOLD: &str = "\
UPDATE ordered_lines line
SET held = d.delivery, held_at = clock_timestamp(), run_upto = d.position, published = true
FROM ordered_deliveries d
WHERE d.delivery = ANY($1) AND line.endpoint = d.endpoint AND line.key = d.key AND line.held IS NULL AND NOT EXISTS (
    SELECT FROM ordered_deliveries ahead
    WHERE ahead.endpoint = d.endpoint AND ahead.key = d.key AND ahead.position < d.position)";

/// In the document of an endpoint that holds a line after a failure. The document is searched as text, because PostgreSQL's
/// operators refuse JSON with U+0000 anywhere in it.
const HOLDS_AFTER_FAILURE: &str = r#""on_exhausted":"hold""#;

impl LineStore {
    /// Lets lines continue whose current run has ended on record before `before`, although no report of a dispatcher said so.
    /// [`LineStore::sweep`] releases their next runs. Returns the number of lines that stood still. Does nothing if `owner` does
    /// not sequence.
    ///
    /// `before` must be so long ago that a dispatcher has finished every run in which a delivery ended by then.
    ///
    /// # Errors
    /// An error of the database; then nothing was changed.
    pub async fn repair_lines(&self, owner: Uuid, before: UnixMillis) -> Result<usize, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        if !is_leader(&tx, owner).await? {
            return Ok(0);
        }
        let pending = DeliveryStatus::Pending.code();
        let standing = tx.query(STANDING, &[&Ts(before), &pending, &LINES_MAX]).await?;
        if standing.is_empty() {
            return Ok(0);
        }
        let (mut endpoints, mut keys): (Vec<Uuid>, Vec<String>) = (Vec::new(), Vec::new());
        for row in &standing {
            endpoints.push(row.col::<EndpointId>("endpoint")?.0);
            keys.push(row.col("key")?);
        }
        lock(&tx).await?;
        let failed = DeliveryStatus::Failed.code();
        let (mut gone, mut holding): (Vec<Uuid>, Vec<Uuid>) = (Vec::new(), Vec::new());
        let ended = tx.query(ENDED, &[&endpoints, &keys, &Ts(before), &failed, &pending, &HOLDS_AFTER_FAILURE]).await?;
        for row in &ended {
            let of = if row.col("holds")? { &mut holding } else { &mut gone };
            of.push(row.col::<DeliveryId>("delivery")?.0);
        }
        execute(&tx, "DELETE FROM ordered_deliveries WHERE delivery = ANY($1)", &[&gone]).await?;
        execute(&tx, HOLD, &[&holding]).await?;
        execute(&tx, FREE, &[&endpoints, &keys]).await?;
        tx.commit().await?;
        Ok(standing.len())
    }
}
