//! The outbox: committed entries that are still to be published, by the process that committed them or, after a crash, by the
//! outbox relay. Publishing twice is harmless, because the ids are the same.

use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::delivery::{DeliveryStatus, EndpointStatus, Lane, Trigger};
use postrider_model::ids::{DeliveryId, Generation, ReplayId, RetryId, TenantId};
use postrider_model::limits::{ATTEMPT_TIMEOUT_MAX, DELIVERY_LIFETIME};
use postrider_model::time::UnixMillis;
use postrider_wire::messages::{DeliveryRef, DeliveryTask, EventRef};
use tokio_postgres::types::{Json, ToSql};

use crate::audit_log::{AuditAction, Change};
use crate::config::{Endpoint, EndpointDocument, bump, endpoint_at, finish};
use crate::error::StoreError;
use crate::history::{
    DeadLetterRow, DeliveryRow, EventRow, dead_letter, dead_letter_body, decision, delivery, event, pending_letter,
};
use crate::intervention::{Intervention, InterventionReason, InterventionTarget};
use crate::record::{self, Report};
use crate::sql::{Coded, Date, RowExt, Ts, signed, unsigned};
use crate::store::Store;

/// How long a claim on an entry lasts.
const CLAIM: Duration = Duration::from_secs(60);

/// The number of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxId(pub i64);

/// A delivery to publish to its lane: render the event for the document, publish, then call [`Store::outbox_done`].
#[derive(Debug, Clone)]
pub struct PendingDelivery {
    /// The entry.
    pub outbox: OutboxId,
    /// The head of the message.
    pub task: DeliveryTask,
    /// The event to render.
    pub event: EventRow,
    /// The endpoint as of the decision, not as it is now.
    pub document: EndpointDocument,
    /// The current profile of the tenant.
    pub profile: String,
}

/// An operational event to publish to the operator's own tenant.
#[derive(Debug, Clone)]
pub struct OperationalEvent {
    /// The entry. The event's id is derived from it, so that publishing twice makes one event.
    pub outbox: OutboxId,
    /// The tenant that it is about.
    pub about: TenantId,
    /// Its type, such as `endpoint.disabled`.
    pub event_type: String,
    /// Its `data`, JSON.
    pub data: Bytes,
}

/// A dead letter to publish to its source.
#[derive(Debug, Clone)]
pub struct PendingLetter {
    /// The entry.
    pub outbox: OutboxId,
    /// The letter.
    pub letter: DeadLetterRow,
    /// Its bytes.
    pub body: Bytes,
}

/// An entry of the outbox.
#[derive(Debug, Clone)]
pub enum OutboxEntry {
    /// A delivery.
    Delivery(Box<PendingDelivery>),
    /// An operational event.
    Event(OperationalEvent),
    /// A dead letter that is requeued.
    Letter(PendingLetter),
}

/// Why a delivery cannot be retried.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The store failed, or there is no such delivery.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event's payload was expunged: there is nothing to send.
    #[error("the event's payload was expunged")]
    Expunged,
    /// The event is not on record (not yet, or its day was dropped).
    #[error("the event is not on record")]
    NoEvent,
    /// The endpoint was deleted.
    #[error("the endpoint was deleted")]
    EndpointDeleted,
    /// The endpoint is not active: deliveries to it are discarded.
    #[error("the endpoint is {status}{}: activate it first", reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default())]
    EndpointOff {
        /// Its status.
        status: EndpointStatus,
        /// The reason, if Postrider disabled it.
        reason: Option<String>,
    },
}

/// The result of a request to retry a delivery.
#[derive(Debug)]
pub enum Retried {
    /// An attempt was committed: publish it, then call [`Store::outbox_done`].
    Committed(Box<PendingDelivery>),
    /// An attempt of this delivery is already due or in progress.
    UnderWay(DeliveryId),
}

impl Retried {
    /// The delivery that is attempted.
    pub fn delivery(&self) -> DeliveryId {
        match self {
            Self::Committed(pending) => pending.task.delivery.id,
            Self::UnderWay(id) => *id,
        }
    }

    /// The delivery to publish, if any.
    pub fn committed(self) -> Option<PendingDelivery> {
        match self {
            Self::Committed(pending) => Some(*pending),
            Self::UnderWay(_) => None,
        }
    }
}

impl From<tokio_postgres::Error> for RetryError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// An operational event to write.
pub(crate) struct NewEvent {
    about: TenantId,
    event_type: &'static str,
    data: Vec<u8>,
    at: UnixMillis,
}

impl NewEvent {
    /// An event of this type about a tenant, with this `data`.
    pub(crate) fn new(about: TenantId, event_type: &'static str, data: &serde_json::Value, at: UnixMillis) -> Self {
        Self { about, event_type, data: data.to_string().into_bytes(), at }
    }
}

/// A tenant has used up one of its limits.
pub(crate) fn limit_reached(tenant: TenantId, limit: &str, value: u32, at: UnixMillis) -> NewEvent {
    let data = serde_json::json!({"tenant_id": tenant, "limit": limit, "value": value});
    NewEvent::new(tenant, "limit.reached", &data, at)
}

/// All deliveries of a replay were created. Includes the numbers of deliveries and events.
pub(crate) fn replay_finished(
    tenant: TenantId,
    replay: ReplayId,
    events: i64,
    deliveries: i64,
    at: UnixMillis,
) -> NewEvent {
    let data = serde_json::json!({
        "tenant_id": tenant,
        "replay_id": replay,
        "events": events,
        "deliveries": deliveries,
        "finished_at": at.to_rfc3339_millis(),
    });
    NewEvent::new(tenant, "replay.finished", &data, at)
}

/// Postrider disabled an endpoint.
pub(crate) fn endpoint_disabled(endpoint: &Endpoint, reason: &str, at: UnixMillis) -> NewEvent {
    let data = serde_json::json!({
        "tenant_id": endpoint.tenant,
        "endpoint_id": endpoint.id,
        "name": endpoint.document.name,
        "reason": reason,
        "disabled_at": at.to_rfc3339_millis(),
    });
    NewEvent::new(endpoint.tenant, "endpoint.disabled", &data, at)
}

/// Writes an operational event as part of an edit. The operator's own endpoints emit none, to avoid a feedback loop.
/// Only the outbox relay publishes it, so it can be claimed at once.
pub(crate) async fn add_event(tx: &Transaction<'_>, event: &NewEvent) -> Result<(), StoreError> {
    if event.about != TenantId::OPERATOR {
        tx.execute(
            "INSERT INTO outbox (tenant, event_type, data, created_at, claimed_at) VALUES ($1, $2, $3, $4, 'epoch')",
            &[&event.about.0, &event.event_type, &event.data, &Ts(event.at)],
        )
        .await?;
    }
    Ok(())
}

/// Writes a delivery as part of an edit. The caller publishes it; after a crash the outbox relay does.
pub(crate) async fn add_delivery(
    tx: &Transaction<'_>,
    task: &DeliveryTask,
    at: UnixMillis,
) -> Result<OutboxId, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO outbox (tenant, task, created_at, claimed_at) VALUES ($1, $2, $3, $3) RETURNING id",
            &[&task.delivery.tenant.0, &Json(task), &Ts(at)],
        )
        .await?;
    Ok(OutboxId(row.col("id")?))
}

/// The input for rendering a task: the event, and the endpoint as of the task's configuration version.
async fn source(client: &impl GenericClient, task: &DeliveryTask) -> Result<Source, RetryError> {
    let delivery = &task.delivery;
    let event = event(client, delivery.tenant, &delivery.event, Some(delivery.event_day)).await?;
    let event = event.ok_or(RetryError::NoEvent)?;
    if event.data.is_none() {
        return Err(RetryError::Expunged);
    }
    let living = "SELECT t.profile FROM endpoints e JOIN tenants t ON t.id = e.tenant
                  WHERE e.id = $1 AND e.deleted_at IS NULL AND t.deleted_at IS NULL";
    let row = client.query_opt(living, &[&delivery.endpoint.0]).await?.ok_or(RetryError::EndpointDeleted)?;
    let version = endpoint_at(client, delivery.endpoint, task.config_version).await?;
    let document = version.ok_or(RetryError::EndpointDeleted)?.document;
    Ok(Source { event, document, profile: row.col("profile")? })
}

struct Source {
    event: EventRow,
    document: EndpointDocument,
    profile: String,
}

impl Source {
    fn pending(self, outbox: OutboxId, task: DeliveryTask) -> PendingDelivery {
        PendingDelivery { outbox, task, event: self.event, document: self.document, profile: self.profile }
    }
}

/// A new delivery that repeats a terminal one.
fn new_generation(row: &DeliveryRow, now: UnixMillis) -> DeliveryRef {
    let event = EventRef {
        id: row.event.clone(),
        day: row.event_day,
        event_type: row.event_type.clone(),
        tenant: row.tenant,
        accepted_at: row.accepted_at,
    };
    let generation = Generation::Retry(RetryId::generate());
    DeliveryRef { origin: Some(row.id), ..DeliveryRef::new(event, row.endpoint, generation, now) }
}

/// The attempt after a delivery's last one, in the next epoch, which makes older copies stale. `occurred_at` is the time of
/// acceptance until the caller sets it.
pub(crate) fn next_attempt(
    row: &DeliveryRow,
    extra: u16,
    trigger: Trigger,
    lane: Lane,
    config_version: i64,
) -> DeliveryTask {
    DeliveryTask {
        number: row.number.saturating_add(1),
        extra,
        epoch: row.epoch.saturating_add(1),
        lane,
        expires_at: row.expires_at,
        ..DeliveryTask::first_attempt(same_generation(row), trigger, row.accepted_at, config_version)
    }
}

/// Number of attempts that people requested while the delivery was pending. The first attempt never counts.
pub(crate) async fn extra_attempts(client: &impl GenericClient, row: &DeliveryRow) -> Result<u16, StoreError> {
    if row.number < 2 {
        return Ok(0);
    }
    let sql = "SELECT count(DISTINCT number) AS extra FROM attempts
               WHERE delivery_id = $1 AND delivery_day = $2 AND trigger = $3 AND number > 1";
    let params: [&(dyn ToSql + Sync); 3] = [&row.id.0, &Date(row.delivery_day), &Trigger::Manual.code()];
    Ok(unsigned(client.query_one(sql, &params).await?.col::<i64>("extra")?))
}

/// Maximum duration of an attempt. A delivery that is overdue by more is waiting, not being attempted.
const UNDER_WAY: Duration = ATTEMPT_TIMEOUT_MAX;

/// The delivery whose pending attempt a retry would duplicate: this one if its attempt has just become due, or a retry of it
/// without an attempt so far.
async fn under_way(
    client: &impl GenericClient,
    row: &DeliveryRow,
    now: UnixMillis,
) -> Result<Option<DeliveryId>, StoreError> {
    if !row.status.is_terminal() {
        let is_due = row.next_attempt_at.is_some_and(|due| due <= now && now < due.plus(UNDER_WAY));
        return Ok(is_due.then_some(row.id));
    }
    let sql =
        "SELECT id FROM deliveries WHERE tenant = $1 AND event_id = $2 AND generation LIKE 'retry:%' AND origin = $3
                   AND status = $4 AND number = 0 ORDER BY created_at DESC LIMIT 1";
    let params: [&(dyn ToSql + Sync); 4] =
        [&row.tenant.0, &row.event.as_str(), &row.id.0, &DeliveryStatus::Pending.code()];
    Ok(client.query_opt(sql, &params).await?.map(|row| row.col("id")).transpose()?.map(DeliveryId))
}

/// Checks that the endpoint is active.
async fn check_endpoint(client: &impl GenericClient, row: &DeliveryRow) -> Result<(), RetryError> {
    let sql = "SELECT status, disabled_reason FROM endpoints WHERE id = $1 AND deleted_at IS NULL";
    let found = client.query_opt(sql, &[&row.endpoint.0]).await?.ok_or(RetryError::EndpointDeleted)?;
    let status: EndpointStatus = found.coded("status")?;
    match status {
        EndpointStatus::Active => Ok(()),
        status => Err(RetryError::EndpointOff { status, reason: found.col("disabled_reason")? }),
    }
}

/// The reference to this delivery that messages carry.
fn same_generation(row: &DeliveryRow) -> DeliveryRef {
    DeliveryRef {
        id: row.id,
        event: row.event.clone(),
        event_day: row.event_day,
        event_type: row.event_type.clone(),
        tenant: row.tenant,
        endpoint: row.endpoint,
        delivery_day: row.delivery_day,
        created_at: row.created_at,
        accepted_at: row.accepted_at,
        generation: row.generation,
        origin: row.origin,
    }
}

impl Store {
    /// Retries a delivery. A terminal delivery gets a new generation, whose id is in the returned task. A pending delivery is
    /// attempted at once, in a new epoch that makes the waiting copy stale. If an attempt is already due, nothing changes.
    ///
    /// The caller publishes the result; after a crash the outbox relay does.
    ///
    /// # Errors
    /// See [`RetryError`]; [`StoreError::NotFound`] also for another tenant's delivery.
    pub async fn retry_delivery(
        &self,
        tenant: Option<TenantId>,
        id: DeliveryId,
        lane: Lane,
    ) -> Result<Retried, RetryError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await.map_err(StoreError::from)?;
        // The counter first: its row is the lock that every edit takes first.
        let version = bump(&tx).await?;
        let row = delivery(&tx, tenant, id).await?.ok_or(StoreError::NotFound { what: "delivery" })?;
        let now = UnixMillis::now();
        // A test call has no decision: the endpoint is used as it is now.
        let decided = decision(&tx, row.tenant, &row.event, row.event_day).await?;
        let config_version = decided.map_or(version, |decision| decision.config_version);
        let extra = extra_attempts(&tx, &row).await?.saturating_add(u16::from(row.number > 0));
        let mut task = next_attempt(&row, extra, Trigger::Manual, lane, config_version);
        if row.status.is_terminal() {
            task.delivery = new_generation(&row, now);
            (task.number, task.extra, task.epoch) = (1, 0, 0);
            task.expires_at = now.plus(DELIVERY_LIFETIME);
        }
        let source = source(&tx, &task).await?;
        check_endpoint(&tx, &row).await?;
        if let Some(under_way) = under_way(&tx, &row, now).await? {
            return Ok(Retried::UnderWay(under_way));
        }
        task.occurred_at = source.event.summary.occurred_at;

        if !row.status.is_terminal() {
            let stale = Intervention {
                target: InterventionTarget::Delivery(id),
                event_day: Some(row.event_day),
                least_epoch: task.epoch,
                reason: InterventionReason::Superseded,
                created_at: now,
                version,
            };
            stale.save(&tx).await?;
        }
        let pending = Report::requested(&task, now);
        record::upsert_deliveries(&tx, &[pending]).await?;
        let outbox = add_delivery(&tx, &task, now).await?;
        let after =
            serde_json::json!({"delivery_id": task.delivery.id, "event_id": row.event, "endpoint_id": row.endpoint});
        self.core().log_change(&tx, Change::of(row.tenant, AuditAction::DeliveryRetried, id).to(after)).await?;
        finish(tx, version).await?;
        Ok(Retried::Committed(Box::new(source.pending(outbox, task))))
    }

    /// Requeues a dead letter. The result is committed: publish it, then call [`Store::outbox_done`]. After a crash the outbox
    /// relay does both.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] if it was requeued before; or the database's.
    pub async fn requeue_dead_letter(&self, id: i64) -> Result<PendingLetter, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        let now = Ts(UnixMillis::now());
        let marked = tx
            .execute(
                "UPDATE dead_letters SET requeued_at = $2, identity = identity || int8send(id)
                 WHERE id = $1 AND requeued_at IS NULL",
                &[&id, &now],
            )
            .await?;
        let letter = dead_letter(&tx, id).await?.ok_or(StoreError::NotFound { what: "dead letter" })?;
        if marked == 0 {
            let at = letter.requeued_at.map(UnixMillis::to_rfc3339_millis).unwrap_or_default();
            return Err(StoreError::Conflict(format!("it was already requeued at {at}")));
        }
        let row = tx
            .query_one(
                "INSERT INTO outbox (tenant, dead_letter, created_at, claimed_at) VALUES ($1, $2, $3, $3) RETURNING id",
                &[&TenantId::OPERATOR.0, &id, &now],
            )
            .await?;
        let outbox = OutboxId(row.col("id")?);
        let body = dead_letter_body(&tx, id).await?;
        let after = serde_json::json!({"source": letter.source, "reason": letter.reason});
        let change = Change { tenant: None, ..Change::of(TenantId::OPERATOR, AuditAction::DeadLetterRequeued, id) };
        self.core().log_change(&tx, change.to(after)).await?;
        tx.commit().await?;
        Ok(PendingLetter { outbox, letter, body })
    }

    /// Entries unpublished for `older_than`. They are claimed for a minute, so that two relays do not publish the same entry.
    /// Deliveries that can no longer be rendered (event expunged, endpoint deleted, day dropped) are removed from the outbox.
    ///
    /// # Errors
    /// The database's.
    pub async fn outbox_claim(&self, limit: u32, older_than: Duration) -> Result<Vec<OutboxEntry>, StoreError> {
        let client = self.core().client().await?;
        let now = UnixMillis::now();
        let before = UnixMillis(now.0.saturating_sub(signed(older_than.as_millis().try_into().unwrap_or(u64::MAX))));
        // `claimed_at` is set to the end of the claim, so that the entry is not selected before.
        let rows = client
            .query(
                "UPDATE outbox SET claimed_at = $1 WHERE id IN
                     (SELECT id FROM outbox WHERE claimed_at <= $2 ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)
                 RETURNING id, tenant, task, event_type, data, dead_letter",
                &[&Ts(now.plus(CLAIM)), &Ts(before), &i64::from(limit)],
            )
            .await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let outbox = OutboxId(row.col("id")?);
            if let Some(id) = row.col::<Option<i64>>("dead_letter")? {
                match pending_letter(&client, outbox, id).await? {
                    Some(letter) => entries.push(OutboxEntry::Letter(letter)),
                    // Retention removed the letter before it was published.
                    None => self.outbox_done(&[outbox]).await?,
                }
                continue;
            }
            let Some(Json(task)) = row.col::<Option<Json<DeliveryTask>>>("task")? else {
                entries.push(OutboxEntry::Event(OperationalEvent {
                    outbox,
                    about: TenantId(row.col("tenant")?),
                    event_type: row.col::<Option<String>>("event_type")?.unwrap_or_default(),
                    data: row.col::<Option<Vec<u8>>>("data")?.unwrap_or_default().into(),
                }));
                continue;
            };
            match source(&client, &task).await {
                Ok(source) => entries.push(OutboxEntry::Delivery(Box::new(source.pending(outbox, task)))),
                Err(RetryError::Store(error)) => return Err(error),
                Err(reason) => {
                    tracing::warn!(delivery.id = %task.delivery.id, %reason, "removed a delivery from the outbox: it can no longer be rendered");
                    self.outbox_done(&[outbox]).await?;
                }
            }
        }
        Ok(entries)
    }

    /// Removes entries that were published or can never be.
    ///
    /// # Errors
    /// The database's.
    pub async fn outbox_done(&self, ids: &[OutboxId]) -> Result<(), StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        self.core().client().await?.execute("DELETE FROM outbox WHERE id = ANY($1)", &[&ids]).await?;
        Ok(())
    }
}
