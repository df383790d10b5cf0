//! Withdraws pending deliveries: cancels one delivery, or discards all deliveries of an event whose payload is expunged.
//!
//! The rows of the deliveries end immediately, and an intervention makes dispatchers drop their messages. A POST in progress at
//! that moment may still succeed; then the delivery counts as delivered.

use deadpool_postgres::GenericClient;
use postrider_model::delivery::{DeliveryStatus, DiscardReason};
use postrider_model::filters::DeliveryFilter;
use postrider_model::ids::{DeliveryId, EventId, TenantId};
use postrider_model::time::{Day, UnixMillis};

use crate::audit_log::{AuditAction, Change};
use crate::config::{bump, finish};
use crate::error::StoreError;
use crate::history::{DELIVERY_COLUMNS, DeliveryRow, EventKey, delivery, of_event};
use crate::intervention::{EVERY_EPOCH, Intervention, InterventionReason, InterventionTarget};
use crate::lines;
use crate::record::{self, Report};
use crate::sql::{Coded, RowExt, read_all};
use crate::store::Store;

/// Maximum number of deliveries of an expunged event whose rows end immediately. The others end when a dispatcher receives
/// their message.
pub(crate) const ENDED_AT_ONCE_MAX: i64 = 1_000;

impl Store {
    /// Cancels a pending delivery: no further attempt starts.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also if the delivery belongs to another tenant; [`StoreError::Conflict`] if it has ended.
    pub async fn cancel_delivery(&self, tenant: Option<TenantId>, id: DeliveryId) -> Result<(), StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let row = delivery(&tx, tenant, id).await?.ok_or(StoreError::NotFound { what: "delivery" })?;
        if row.status.is_terminal() {
            return Err(StoreError::Conflict(format!(
                "the delivery is {}; only a pending one can be cancelled",
                row.status
            )));
        }
        let now = UnixMillis::now();
        cancelled(&row, now, version).save(&tx).await?;
        self.core().log_change(&tx, cancellation(&row)).await?;
        end(&tx, &[row], InterventionReason::Cancelled, now).await?;
        finish(tx, version).await
    }

    /// Cancels those of these deliveries that are pending, in one edit, and returns their ids.
    ///
    /// # Errors
    /// An error of the database; then no delivery is cancelled.
    pub async fn cancel_deliveries(
        &self,
        tenant: Option<TenantId>,
        ids: &[DeliveryId],
    ) -> Result<Vec<DeliveryId>, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let rows = pending(&tx, tenant, ids).await?;
        let now = UnixMillis::now();
        let stale = |row: &DeliveryRow| cancelled(row, now, version);
        Intervention::save_all(&rows.iter().map(stale).collect::<Vec<_>>(), &tx).await?;
        for row in &rows {
            self.core().log_change(&tx, cancellation(row)).await?;
        }
        end(&tx, &rows, InterventionReason::Cancelled, now).await?;
        finish(tx, version).await?;
        Ok(rows.into_iter().map(|row| row.delivery.id).collect())
    }

    /// Expunges an event's payload: erases `data` and `metadata` in the history, also the edited data
    /// of a test call, and discards the pending deliveries. Idempotent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the event is not on record (yet); or an error of the database.
    pub async fn expunge_event(&self, tenant: TenantId, id: &EventId) -> Result<(), StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let wipe = "UPDATE events SET data = NULL, metadata = NULL WHERE tenant = $1 AND id = $2 RETURNING event_day";
        let wiped = tx.query(wipe, &[&tenant.0, &id.as_str()]).await?;
        // The event of a test call is not on record; its edited data is.
        let erase = "UPDATE test_data SET data = NULL WHERE tenant = $1 AND data IS NOT NULL AND delivery_id IN
                         (SELECT id FROM deliveries WHERE tenant = $1 AND event_id = $2)";
        let tests = tx.execute(erase, &[&tenant.0, &id.as_str()]).await?;
        let event_day = match wiped.as_slice() {
            [] if tests == 0 => return Err(StoreError::NotFound { what: "event" }),
            [] => None,
            [one] => Some(one.col("event_day")?),
            // Several events on record have this id. The intervention covers all of them.
            _ => None,
        };
        let now = UnixMillis::now();
        let stale = Intervention {
            target: InterventionTarget::Event(tenant, id.clone()),
            event_day,
            least_epoch: EVERY_EPOCH,
            reason: InterventionReason::Expunged,
            created_at: now,
            version,
        };
        stale.save(&tx).await?;
        let rows = pending_of_event(&tx, tenant, id, None).await?;
        end(&tx, &rows, InterventionReason::Expunged, now).await?;
        lines::erase_held(&tx, tenant, id).await?;
        self.core().finish_edit(tx, version, Change::of(tenant, AuditAction::PayloadExpunged, id)).await
    }
}

/// The pending deliveries of an event, at most [`ENDED_AT_ONCE_MAX`]. `day` `None`: of every day.
pub(crate) async fn pending_of_event(
    client: &impl GenericClient,
    tenant: TenantId,
    event: &EventId,
    day: Option<Day>,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let pending = DeliveryFilter { status: Some(DeliveryStatus::Pending), ..DeliveryFilter::default() };
    of_event(client, EventKey { tenant, event, day }, &pending, None, ENDED_AT_ONCE_MAX).await
}

/// Those of these deliveries that are pending. No other edit can end or retry them before the caller's edit is committed.
async fn pending(
    client: &impl GenericClient,
    tenant: Option<TenantId>,
    ids: &[DeliveryId],
) -> Result<Vec<DeliveryRow>, StoreError> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries
         WHERE id = ANY($1) AND ($2::uuid IS NULL OR tenant = $2) AND status = $3"
    );
    let status = DeliveryStatus::Pending.code();
    read_all(client.query(&sql, &[&ids, &tenant.map(|tenant| tenant.0), &status]).await?)
}

/// The intervention that makes every copy of a cancelled delivery stale.
fn cancelled(row: &DeliveryRow, now: UnixMillis, version: i64) -> Intervention {
    Intervention {
        target: InterventionTarget::Delivery(row.delivery.id),
        event_day: Some(row.delivery.event_day),
        least_epoch: row.epoch.saturating_add(1),
        reason: InterventionReason::Cancelled,
        created_at: now,
        version,
    }
}

/// The entry of a cancelled delivery in the audit log.
fn cancellation(row: &DeliveryRow) -> Change {
    let of = &row.delivery;
    let after = serde_json::json!({"event_id": of.event, "endpoint_id": of.endpoint});
    Change::of(of.tenant, AuditAction::DeliveryCancelled, of.id).to(after)
}

/// Ends the rows of pending deliveries with the status that belongs to the reason of an intervention.
pub(crate) async fn end(
    client: &impl GenericClient,
    rows: &[DeliveryRow],
    why: InterventionReason,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let Some(status) = why.reports() else { return Ok(()) };
    let discarded = (status == DeliveryStatus::Discarded).then_some(DiscardReason::Expunged);
    let reports = rows.iter().map(|row| Report::withdrawn(row, status, discarded, now));
    record::upsert_deliveries(client, &record::merged(reports)).await?;
    let ids: Vec<DeliveryId> = rows.iter().map(|row| row.delivery.id).collect();
    lines::remove_ended(client, &ids).await
}
