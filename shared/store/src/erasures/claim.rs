//! Chooses the erasure of the next step.

use std::time::Duration;

use postrider_model::erasure::ErasureStatus;
use postrider_model::time::UnixMillis;
use zeroize::Zeroizing;

use super::rows::{COLUMNS, context, end};
use super::{Claim, ClaimedErasure, Erasure};
use crate::audit_log::{AuditAction, Change};
use crate::error::StoreError;
use crate::sql::{Coded, FromRow, RowExt, Ts};
use crate::store::Store;

/// How long no other process begins a step of a claimed erasure: longer than a step takes. After a crash another process goes on
/// after this time.
const CLAIMED_FOR: Duration = Duration::from_secs(30);

impl Store {
    /// Claims the next step: of the tenant whose erasures have waited longest, the erasure that runs, or else the oldest one that
    /// waits. `None` if there is nothing to do now.
    pub async fn claim_erasure(&self) -> Result<Option<Claim>, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        let now = UnixMillis::now();
        // At most one erasure of a tenant is eligible: the one that runs, or the oldest one.
        let sql = format!(
            "UPDATE erasures SET status = $1, claimed_until = $2, stepped_at = $3 WHERE id = (
                 SELECT e.id FROM erasures e JOIN (
                     SELECT DISTINCT ON (tenant) id FROM erasures WHERE status IN (0, 1)
                     ORDER BY tenant, status DESC, created_at, id) eligible ON eligible.id = e.id
                 WHERE e.status IN (0, 1) AND e.claimed_until <= $3
                 ORDER BY e.stepped_at, e.id LIMIT 1 FOR UPDATE OF e SKIP LOCKED)
             RETURNING {COLUMNS}, value, position, steps"
        );
        let until = Ts(now.plus(CLAIMED_FOR));
        let Some(row) = tx.query_opt(&sql, &[&ErasureStatus::Running.code(), &until, &Ts(now)]).await? else {
            return Ok(None);
        };
        let erasure = Erasure::read(&row)?;
        let sealed: Option<Vec<u8>> = row.col("value")?;
        let opened = self.core().keys().open(&context(erasure.id), &sealed.unwrap_or_default());
        let value = opened.map_err(|error| error.to_string()).and_then(|plain| {
            std::str::from_utf8(&plain).map(|text| Zeroizing::new(text.to_owned())).map_err(|error| error.to_string())
        });
        let claim = match value {
            Ok(value) => {
                let (position, steps) = (row.col("position")?, row.col("steps")?);
                Claim::Step(Box::new(ClaimedErasure { erasure, value, position, steps }))
            }
            Err(error) => {
                tracing::error!(erasure.id = %erasure.id, %error, "cannot open the value of an erasure; it ends as failed");
                let why = "its value cannot be opened: the master key that sealed it is missing";
                end(&tx, erasure.id, ErasureStatus::Failed, Some(why)).await?;
                let change = Change::of(erasure.tenant, AuditAction::ErasureFailed, erasure.id);
                self.core().log_change(&tx, change.to(serde_json::json!({ "failure": why }))).await?;
                Claim::Failed(erasure.id)
            }
        };
        tx.commit().await?;
        Ok(Some(claim))
    }
}
