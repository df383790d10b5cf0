//! Retries of deliveries that a person requests: reads the rows that the rules need, and commits the retry. The caller contains
//! the rules.

use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::delivery::{DeliveryStatus, EndpointStatus, Trigger};
use postrider_model::ids::{DeliveryId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_wire::messages::{DeliveryTask, Turn};

use crate::audit_log::{AuditAction, Change};
use crate::config::{bump, finish};
use crate::error::StoreError;
use crate::history::{DeliveryRow, decision, delivery};
use crate::intervention::{Intervention, InterventionReason, InterventionTarget};
use crate::lines::{self, TurnOf};
use crate::outbox::{BodySource, PendingDelivery, SourceMissing, add_delivery, body_source};
use crate::record::{self, Report};
use crate::sql::{Coded, Date, RowExt, from_row, read_optional};
use crate::store::Store;

/// The input of the rules for a requested retry.
#[derive(Debug, Clone)]
pub struct RetryState {
    /// The delivery.
    pub row: DeliveryRow,
    /// The configuration version of the event's decision. A test call has no decision; for it, this is the current version.
    pub config_version: i64,
    /// Number of attempts that people requested while the delivery was pending. Does not include the first attempt.
    pub extra: u16,
    /// The input for rendering the delivery's body, or why that input is missing.
    pub source: Result<BodySource, SourceMissing>,
    /// The current state of the endpoint; `None`: it was deleted.
    pub endpoint: Option<EndpointState>,
    /// A retry of this delivery that has not been attempted yet.
    pub unattempted_retry: Option<DeliveryId>,
    /// Its turn, if it is the first delivery of a line.
    pub turn: Option<Turn>,
    /// Whether it is behind other deliveries of a line.
    pub is_behind: bool,
    /// Whether it failed for good and holds its line. Its row may still be pending, because the recorder writes outcomes later.
    pub holds_line: bool,
    /// The time of the request.
    pub now: UnixMillis,
}

/// Whether an endpoint receives deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// Its status.
    pub status: EndpointStatus,
    /// The reason, if Postrider disabled it.
    pub disabled_reason: Option<String>,
}

from_row!(EndpointState { status, disabled_reason });

/// What a retry does.
#[derive(Debug, Clone)]
pub enum RetryPlan {
    /// An attempt of this delivery is already due or in progress; nothing changes.
    UnderWay(DeliveryId),
    /// The attempt to make. If the attempt belongs to the same delivery, it makes the delivery's waiting copy stale.
    Attempt(Box<DeliveryTask>),
}

/// The result of a request to retry a delivery.
#[derive(Debug)]
pub enum Retried {
    /// An attempt was committed to the outbox: publish it, then call [`Store::outbox_done`].
    Committed(Box<PendingDelivery>),
    /// An attempt of this delivery is already due or in progress.
    UnderWay(DeliveryId),
    /// This delivery took the place of the failed delivery that held a line. The sequencer publishes it.
    InLine(DeliveryId),
}

impl Retried {
    /// The id of the delivery that is attempted.
    pub fn delivery(&self) -> DeliveryId {
        match self {
            Self::Committed(pending) => pending.task.delivery.id,
            Self::UnderWay(id) | Self::InLine(id) => *id,
        }
    }

    /// The delivery to publish, if any.
    pub fn committed(self) -> Option<PendingDelivery> {
        match self {
            Self::Committed(pending) => Some(*pending),
            Self::UnderWay(_) | Self::InLine(_) => None,
        }
    }
}

/// Reads [`RetryState::extra`].
async fn extra_attempts(client: &impl GenericClient, row: &DeliveryRow) -> Result<u16, StoreError> {
    let sql = "SELECT count(DISTINCT number) AS extra FROM attempts
               WHERE delivery_id = $1 AND delivery_day = $2 AND trigger = $3 AND number > 1";
    let day = Date(row.delivery.delivery_day);
    client.query_one(sql, &[&row.delivery.id.0, &day, &Trigger::Manual.code()]).await?.col("extra")
}

async fn unattempted_retry(client: &impl GenericClient, row: &DeliveryRow) -> Result<Option<DeliveryId>, StoreError> {
    let sql =
        "SELECT id FROM deliveries WHERE tenant = $1 AND event_id = $2 AND generation LIKE 'retry:%' AND origin = $3
                   AND status = $4 AND number = 0 ORDER BY created_at DESC LIMIT 1";
    let (of, pending) = (&row.delivery, DeliveryStatus::Pending.code());
    let found = client.query_opt(sql, &[&of.tenant.0, &of.event.as_str(), &of.id.0, &pending]).await?;
    found.map(|row| row.col("id")).transpose()
}

async fn state(
    tx: &Transaction<'_>,
    tenant: Option<TenantId>,
    id: DeliveryId,
    version: i64,
) -> Result<RetryState, StoreError> {
    let row = delivery(tx, tenant, id).await?.ok_or(StoreError::NotFound { what: "delivery" })?;
    let of = &row.delivery;
    let decided = decision(tx, of.tenant, &of.event, of.event_day).await?;
    let sql = format!("SELECT {} FROM endpoints WHERE id = $1 AND deleted_at IS NULL", EndpointState::COLUMNS);
    let config_version = decided.map_or(version, |decision| decision.config_version);
    let place = lines::turn_of(tx, id).await?;
    Ok(RetryState {
        is_behind: place == TurnOf::Later,
        holds_line: place == TurnOf::Holds,
        turn: if let TurnOf::Now(turn) = place { Some(turn) } else { None },
        config_version,
        source: body_source(tx, of, config_version).await?,
        extra: extra_attempts(tx, &row).await?,
        endpoint: read_optional(tx.query_opt(&sql, &[&of.endpoint.0]).await?)?,
        unattempted_retry: unattempted_retry(tx, &row).await?,
        now: UnixMillis::now(),
        row,
    })
}

impl Store {
    /// Retries a delivery by the plan that `decide` returns. The caller publishes the result; after a crash the outbox relay
    /// publishes it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also if the delivery belongs to another tenant; [`SourceMissing`]; the error of `decide`.
    pub async fn retry_delivery<E: From<StoreError> + From<SourceMissing>>(
        &self,
        tenant: Option<TenantId>,
        id: DeliveryId,
        decide: impl FnOnce(&RetryState) -> Result<RetryPlan, E>,
    ) -> Result<Retried, E> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await.map_err(StoreError::from)?;
        // Increments the counter first: its row is the lock that every edit takes first.
        let version = bump(&tx).await?;
        let state = state(&tx, tenant, id, version).await?;
        let task = match decide(&state)? {
            RetryPlan::UnderWay(id) => return Ok(Retried::UnderWay(id)),
            RetryPlan::Attempt(task) => *task,
        };
        let (retried, change) = commit::<E>(&tx, state, task, version).await?;
        self.core().finish_edit(tx, version, change).await?;
        Ok(retried)
    }

    /// Retries different deliveries in one edit, each by the plan that `decide` returns. A delivery that is refused does not
    /// affect the others. The results are in the order of `ids`.
    ///
    /// # Errors
    /// An error of the database; then no delivery is retried.
    pub async fn retry_deliveries<E: From<StoreError> + From<SourceMissing>>(
        &self,
        tenant: Option<TenantId>,
        ids: &[DeliveryId],
        decide: impl Fn(&RetryState) -> Result<RetryPlan, E>,
    ) -> Result<Vec<Result<Retried, E>>, E> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await.map_err(StoreError::from)?;
        let version = bump(&tx).await?;
        let mut results = Vec::with_capacity(ids.len());
        for id in ids {
            let state = match state(&tx, tenant, *id, version).await {
                Ok(state) => state,
                Err(missing @ StoreError::NotFound { .. }) => {
                    results.push(Err(missing.into()));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            results.push(match decide(&state) {
                Err(refused) => Err(refused),
                Ok(RetryPlan::UnderWay(id)) => Ok(Retried::UnderWay(id)),
                Ok(RetryPlan::Attempt(task)) => {
                    let (retried, change) = commit::<E>(&tx, state, *task, version).await?;
                    self.core().log_change(&tx, change).await?;
                    Ok(retried)
                }
            });
        }
        finish(tx, version).await?;
        Ok(results)
    }
}

/// Writes an attempt that a person requested, as part of an edit: the delivery's row, its place in a line or the outbox, and the
/// intervention that makes a waiting copy stale. Returns the result, and the change for the audit log.
async fn commit<E: From<StoreError> + From<SourceMissing>>(
    tx: &Transaction<'_>,
    state: RetryState,
    task: DeliveryTask,
    version: i64,
) -> Result<(Retried, Change), E> {
    let RetryState { row, now, source, .. } = state;
    let (of, source) = (row.delivery, source?);
    if task.delivery.id == of.id {
        let stale = Intervention {
            target: InterventionTarget::Delivery(of.id),
            event_day: Some(of.event_day),
            least_epoch: task.epoch,
            reason: InterventionReason::Superseded,
            created_at: now,
            version,
        };
        stale.save(tx).await?;
    }
    record::upsert_deliveries(tx, &[Report::requested(&task, now)]).await?;
    let in_line = task.delivery.id != of.id && lines::take_place(tx, of.id, &task).await?;
    let outbox = if in_line { None } else { Some(add_delivery(tx, &task, now).await?) };
    let after = serde_json::json!({"delivery_id": task.delivery.id, "event_id": of.event, "endpoint_id": of.endpoint});
    let change = Change::of(of.tenant, AuditAction::DeliveryRetried, of.id).to(after);
    let retried = match outbox {
        Some(outbox) => Retried::Committed(Box::new(PendingDelivery { outbox, task, source })),
        None => Retried::InLine(task.delivery.id),
    };
    Ok((retried, change))
}
