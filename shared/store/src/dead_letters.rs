//! Requeues and discards dead letters for an operator. Their list is in [`crate::history`].
//!
//! A requeue or discard also changes the identity of the letter in the same transaction. So the same message becomes another
//! letter if it fails again.

use deadpool_postgres::Transaction;
use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use serde_json::json;

use crate::audit_log::{AuditAction, Change};
use crate::error::StoreError;
use crate::history;
use crate::outbox::{OutboxId, PendingLetter};
use crate::sql::{Params, RowExt, Ts};
use crate::store::{Core, Store};

impl Store {
    /// Requeues the open letters among these dead letters in one transaction. Commits an entry of the outbox for each requeued
    /// letter, and returns the entries with the letters' numbers. The caller publishes the letters, then calls
    /// [`Store::outbox_done`]; after a crash, the outbox relay does both.
    pub async fn requeue_dead_letters(&self, ids: &[i64]) -> Result<Vec<(OutboxId, i64)>, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        let now = Ts(UnixMillis::now());
        let changed = end(self.core(), &tx, AuditAction::DeadLetterRequeued, "requeued_at = $2", &[&ids, &now]).await?;
        let insert = "INSERT INTO outbox (tenant, dead_letter, created_at, claimed_at)
                      SELECT $1::uuid, id, $3::timestamptz, $3 FROM unnest($2::bigint[]) AS id ORDER BY id RETURNING id, dead_letter";
        let rows = tx.query(insert, &[&TenantId::OPERATOR.0, &changed, &now]).await?;
        let entries = rows.iter().map(|row| Ok((OutboxId(row.col("id")?), row.col("dead_letter")?)));
        let entries: Vec<_> = entries.collect::<Result<_, StoreError>>()?;
        tx.commit().await?;
        Ok(entries)
    }

    /// Discards the open letters among these dead letters in one transaction. Returns the numbers of the discarded letters. Their
    /// rows remain, with the time and the actor.
    pub async fn discard_dead_letters(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        let (now, by) = (Ts(UnixMillis::now()), self.core().acting.actor.id());
        let set = "discarded_at = $2, discarded_by = $3";
        let changed = end(self.core(), &tx, AuditAction::DeadLetterDiscarded, set, &[&ids, &now, &by]).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Returns the message of an entry that [`Store::requeue_dead_letters`] returned; `None` if its letter no longer exists.
    pub async fn pending_letter(&self, outbox: OutboxId, id: i64) -> Result<Option<PendingLetter>, StoreError> {
        history::pending_letter(&self.core().client().await?, outbox, id).await
    }
}

/// Requeues or discards the open letters whose numbers are in the first SQL parameter. Writes an entry of the audit log for each,
/// and returns the numbers of the changed letters.
async fn end(
    core: &Core,
    tx: &Transaction<'_>,
    action: AuditAction,
    set: &'static str,
    params: &Params<'_>,
) -> Result<Vec<i64>, StoreError> {
    // The rows are locked in the order of their numbers, so that two calls cannot deadlock.
    let sql = format!(
        "UPDATE dead_letters SET {set}, identity = identity || int8send(id) WHERE id IN
             (SELECT id FROM dead_letters WHERE id = ANY($1) AND requeued_at IS NULL AND discarded_at IS NULL
              ORDER BY id FOR UPDATE)
         RETURNING id, source, reason"
    );
    let mut changed = Vec::new();
    for row in tx.query(&sql, params).await? {
        let id: i64 = row.col("id")?;
        let after = json!({"source": row.col::<String>("source")?, "reason": row.col::<String>("reason")?});
        let change = Change { tenant: None, ..Change::of(TenantId::OPERATOR, action, id) };
        core.log_change(tx, change.to(after)).await?;
        changed.push(id);
    }
    Ok(changed)
}
