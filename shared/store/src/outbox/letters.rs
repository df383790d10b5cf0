//! Requeues dead letters for an operator.

use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;

use super::{OutboxId, PendingLetter};
use crate::audit_log::{AuditAction, Change};
use crate::error::StoreError;
use crate::history::{dead_letter, dead_letter_body};
use crate::sql::{RowExt, Ts};
use crate::store::Store;

impl Store {
    /// Requeues a dead letter: commits an entry to the outbox and returns it. The caller publishes it, then calls
    /// [`Store::outbox_done`]; after a crash the outbox relay does both.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] if the letter was already requeued; or an error of the database.
    pub async fn requeue_dead_letter(&self, id: i64) -> Result<PendingLetter, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        let now = Ts(UnixMillis::now());
        let mark = "UPDATE dead_letters SET requeued_at = $2, identity = identity || int8send(id)
                    WHERE id = $1 AND requeued_at IS NULL";
        let marked = tx.execute(mark, &[&id, &now]).await?;
        let letter = dead_letter(&tx, id).await?.ok_or(StoreError::NotFound { what: "dead letter" })?;
        if marked == 0 {
            let at = letter.requeued_at.map(UnixMillis::to_rfc3339_millis).unwrap_or_default();
            return Err(StoreError::Conflict(format!("it was already requeued at {at}")));
        }
        let insert =
            "INSERT INTO outbox (tenant, dead_letter, created_at, claimed_at) VALUES ($1, $2, $3, $3) RETURNING id";
        let outbox = OutboxId(tx.query_one(insert, &[&TenantId::OPERATOR.0, &id, &now]).await?.col("id")?);
        let body = dead_letter_body(&tx, id).await?;
        let after = serde_json::json!({"source": letter.source, "reason": letter.reason});
        let change = Change { tenant: None, ..Change::of(TenantId::OPERATOR, AuditAction::DeadLetterRequeued, id) };
        self.core().log_change(&tx, change.to(after)).await?;
        tx.commit().await?;
        Ok(PendingLetter { outbox, letter, body })
    }
}
