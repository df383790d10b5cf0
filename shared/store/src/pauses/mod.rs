//! Paused endpoints and what was set aside for them.
//!
//! A delivery that is set aside is a pending row without a message in the broker. A recorder tends each endpoint that is or was
//! paused (`tend`): it counts what was set aside, and discards or releases it page by page, oldest event first. The rows
//! themselves say what remains to be done, so a crash loses nothing, and rows that are written late are found too.
//!
//! # What it promises
//! - The row of the endpoint in `endpoint_pauses` is locked while a page is released or discarded, so that two recorders never
//!   do it at the same time. A page that was published but not committed is published again, with the same ids and epochs.
//! - An edit of an endpoint never waits for that lock.
//!
//! The caller decides what becomes of each delivery.

mod state;
mod tend;
mod tending;

use std::collections::HashMap;

use deadpool_postgres::Transaction;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::time::UnixMillis;

use crate::audit_log::{AuditAction, Change};
use crate::error::StoreError;
use crate::sql::{FromRow, RowExt, Ts, from_row};
use crate::store::{ConfigStore, Store};

pub use state::{Fate, PauseState, Release, ReleasePage, SetAsideDelivery, TendLimits, Tended};

/// What is set aside for an endpoint, as a recorder last counted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetAsideTotals {
    /// Number of deliveries.
    pub deliveries: u64,
    /// Their bytes: the payloads, and a fixed number of bytes for each delivery.
    pub bytes: u64,
    /// When the oldest of their events was accepted.
    pub oldest_at: Option<UnixMillis>,
    /// When they were counted; `None` if they were not counted yet.
    pub counted_at: Option<UnixMillis>,
}

from_row!(SetAsideTotals { deliveries, bytes, oldest_at, counted_at });

/// Makes a recorder look at an endpoint that is paused or was resumed, as part of an edit. Does not wait if a recorder tends the
/// endpoint at this moment: that recorder holds the row and may wait for the edit.
pub(crate) async fn look_now(
    tx: &Transaction<'_>,
    tenant: TenantId,
    endpoint: EndpointId,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let insert = "INSERT INTO endpoint_pauses (endpoint, tenant, look_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    tx.execute(insert, &[&endpoint.0, &tenant.0, &Ts(now)]).await?;
    let hurry = "UPDATE endpoint_pauses SET look_at = $2
                 WHERE endpoint = (SELECT endpoint FROM endpoint_pauses WHERE endpoint = $1 FOR UPDATE SKIP LOCKED)";
    tx.execute(hurry, &[&endpoint.0, &Ts(now)]).await?;
    Ok(())
}

impl ConfigStore {
    /// Returns what is set aside for these endpoints. Leaves out endpoints that were never paused.
    pub async fn set_aside(&self, ids: &[EndpointId]) -> Result<HashMap<EndpointId, SetAsideTotals>, StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        let sql =
            "SELECT endpoint, deliveries, bytes, oldest_at, counted_at FROM endpoint_pauses WHERE endpoint = ANY($1)";
        let rows = self.0.client().await?.query(sql, &[&ids]).await?;
        rows.iter().map(|row| Ok((row.col("endpoint")?, SetAsideTotals::read(row)?))).collect()
    }
}

impl Store {
    /// Orders that everything is discarded that was set aside for an endpoint and whose event was accepted until now. A recorder
    /// discards it page by page. Idempotent: a repeated order also covers the events accepted since the first one. Returns the
    /// time until which events are skipped.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the endpoint does not exist or belongs to another tenant.
    pub async fn skip_set_aside(
        &self,
        tenant: Option<TenantId>,
        endpoint: EndpointId,
    ) -> Result<UnixMillis, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        let sql =
            "SELECT tenant FROM endpoints WHERE id = $1 AND deleted_at IS NULL AND ($2::uuid IS NULL OR tenant = $2)";
        let found = tx.query_opt(sql, &[&endpoint.0, &tenant.map(|tenant| tenant.0)]).await?;
        let owner: TenantId = found.ok_or(StoreError::NotFound { what: "endpoint" })?.col("tenant")?;
        let now = UnixMillis::now();
        // Waits while a recorder releases a page, so that no delivery of that page is discarded while it is on its way.
        let sql = "INSERT INTO endpoint_pauses AS p (endpoint, tenant, skip_before, look_at) VALUES ($1, $2, $3, $3)
                   ON CONFLICT (endpoint) DO UPDATE SET skip_before = greatest(p.skip_before, $3), look_at = $3";
        tx.execute(sql, &[&endpoint.0, &owner.0, &Ts(now)]).await?;
        let after = serde_json::json!({"accepted_until": now.to_rfc3339_millis()});
        self.core().log_change(&tx, Change::of(owner, AuditAction::PausedSkipped, endpoint).to(after)).await?;
        tx.commit().await?;
        Ok(now)
    }
}
