//! The outbox: committed entries that are not published yet. The process that committed an entry publishes it, or the outbox
//! relay does. Publishing an entry twice makes no second event or delivery, because both messages have the same ids.

mod events;

use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::ids::{DeliveryId, EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_wire::messages::{DeliveryRef, DeliveryTask};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

pub(crate) use self::events::{
    add_event, endpoint_disabled, endpoint_paused, endpoint_resumed, limit_reached, replay_finished,
};
use crate::config::{EndpointDocument, endpoint_at};
use crate::error::StoreError;
use crate::history::{DeadLetterRow, EventRow, event, pending_letter};
use crate::sql::{RowExt, Ts};
use crate::store::Store;

/// How long a relay's claim on an entry lasts.
const CLAIM: Duration = Duration::from_secs(60);

/// The number of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxId(pub i64);

/// A delivery to publish to its lane: the caller renders the event, publishes the message, then calls [`Store::outbox_done`].
#[derive(Debug, Clone)]
pub struct PendingDelivery {
    /// The entry.
    pub outbox: OutboxId,
    /// The head of the message.
    pub task: DeliveryTask,
    /// The input for rendering the body.
    pub source: BodySource,
}

/// The input for rendering a delivery's body.
#[derive(Debug, Clone)]
pub struct BodySource {
    /// The event, with its payload.
    pub event: EventRow,
    /// The endpoint's document at the configuration version of the delivery, not the current one.
    pub document: EndpointDocument,
    /// The current profile of the event's tenant.
    pub profile: String,
}

/// Why a body cannot be rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceMissing {
    /// The event's payload was expunged: there is nothing to send.
    #[error("the event's payload was expunged")]
    Expunged,
    /// The event is not on record: it was not recorded yet, or its day was dropped.
    #[error("the event is not on record")]
    NoEvent,
    /// The endpoint was deleted.
    #[error("the endpoint was deleted")]
    EndpointDeleted,
}

/// An operational event to publish to the operator's own tenant.
#[derive(Debug, Clone)]
pub struct OperationalEvent {
    /// The entry. The event's id is derived from the entry's number, so that publishing it twice makes one event.
    pub outbox: OutboxId,
    /// The tenant whose object the event is about.
    pub about: TenantId,
    /// Its type, such as `endpoint.disabled`.
    pub event_type: String,
    /// The event's `data`, as JSON.
    pub data: Bytes,
}

/// A notice about an endpoint, to publish to its addressee.
#[derive(Debug, Clone)]
pub struct PendingNotice {
    /// The entry. The event's id is derived from the entry's number, so that publishing it twice makes one event.
    pub outbox: OutboxId,
    /// The tenant of both endpoints.
    pub tenant: TenantId,
    /// The endpoint that gets the notice.
    pub addressee: EndpointId,
    /// Its type, such as `endpoint.failing`.
    pub event_type: String,
    /// The event's `data`, as JSON.
    pub data: Bytes,
}

/// A dead letter to publish to the queue from which it came.
#[derive(Debug, Clone)]
pub struct PendingLetter {
    /// The entry.
    pub outbox: OutboxId,
    /// The dead letter.
    pub letter: DeadLetterRow,
    /// Its whole body.
    pub body: Bytes,
}

/// An entry of the outbox.
#[derive(Debug, Clone)]
pub enum OutboxEntry {
    /// A delivery.
    Delivery(Box<PendingDelivery>),
    /// An operational event.
    Event(OperationalEvent),
    /// A notice about an endpoint.
    Notice(PendingNotice),
    /// A dead letter that was requeued.
    Letter(Box<PendingLetter>),
}

/// Writes a delivery to the outbox as part of an edit. The caller publishes the delivery; after a crash the outbox relay does.
pub(crate) async fn add_delivery(
    tx: &Transaction<'_>,
    task: &DeliveryTask,
    at: UnixMillis,
) -> Result<OutboxId, StoreError> {
    let sql = "INSERT INTO outbox (tenant, task, created_at, claimed_at) VALUES ($1, $2, $3, $3) RETURNING id";
    Ok(OutboxId(tx.query_one(sql, &[&task.delivery.tenant.0, &Json(task), &Ts(at)]).await?.col("id")?))
}

/// Writes deliveries of a tenant to the outbox. Returns the entry of each, in no order. See [`add_delivery`].
pub(crate) async fn add_deliveries(
    tx: &Transaction<'_>,
    tenant: TenantId,
    tasks: &[&DeliveryTask],
    at: UnixMillis,
) -> Result<Vec<(OutboxId, DeliveryId)>, StoreError> {
    let sql = "INSERT INTO outbox (tenant, task, created_at, claimed_at)
               SELECT $1, task, $3, $3 FROM unnest($2::json[]) AS task RETURNING id, task";
    let tasks: Vec<_> = tasks.iter().map(Json).collect();
    let entry = |row: &Row| {
        let Json(task) = row.col::<Json<DeliveryTask>>("task")?;
        Ok((OutboxId(row.col("id")?), task.delivery.id))
    };
    tx.query(sql, &[&tenant.0, &tasks, &Ts(at)]).await?.iter().map(entry).collect()
}

/// Reads the input for rendering a delivery's body: the event, and the endpoint's document at a configuration version.
pub(crate) async fn body_source(
    client: &impl GenericClient,
    delivery: &DeliveryRef,
    config_version: i64,
) -> Result<Result<BodySource, SourceMissing>, StoreError> {
    let Some(event) = event(client, delivery.tenant, &delivery.event, Some(delivery.event_day)).await? else {
        return Ok(Err(SourceMissing::NoEvent));
    };
    if event.data.is_none() {
        return Ok(Err(SourceMissing::Expunged));
    }
    let living = "SELECT t.profile FROM endpoints e JOIN tenants t ON t.id = e.tenant
                  WHERE e.id = $1 AND e.deleted_at IS NULL AND t.deleted_at IS NULL";
    let tenant = client.query_opt(living, &[&delivery.endpoint.0]).await?;
    let version = endpoint_at(client, delivery.endpoint, config_version).await?;
    let (Some(tenant), Some(version)) = (tenant, version) else { return Ok(Err(SourceMissing::EndpointDeleted)) };
    Ok(Ok(BodySource { event, document: version.document, profile: tenant.col("profile")? }))
}

/// Reads an entry that is an operational event or a notice.
fn event_or_notice(outbox: OutboxId, row: &Row) -> Result<OutboxEntry, StoreError> {
    let (tenant, data) = (row.col("tenant")?, row.col("data")?);
    let event_type = row.col::<Option<String>>("event_type")?.unwrap_or_default();
    Ok(match row.col("addressee")? {
        Some(addressee) => OutboxEntry::Notice(PendingNotice { outbox, tenant, addressee, event_type, data }),
        None => OutboxEntry::Event(OperationalEvent { outbox, about: tenant, event_type, data }),
    })
}

impl Store {
    /// Claims entries that have been unpublished for `older_than`. A claim lasts a minute, so that two relays do not publish
    /// the same entry. Removes deliveries that cannot be rendered: the event was expunged or dropped, or the endpoint was
    /// deleted.
    pub async fn outbox_claim(&self, limit: u32, older_than: Duration) -> Result<Vec<OutboxEntry>, StoreError> {
        let client = self.core().client().await?;
        let now = UnixMillis::now();
        let before = now.minus(older_than);
        // `claimed_at` is set to the end of the claim, so that no relay selects the entry until then.
        let sql = "UPDATE outbox SET claimed_at = $1 WHERE id IN
                       (SELECT id FROM outbox WHERE claimed_at <= $2 ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)
                   RETURNING id, tenant, task, event_type, data, dead_letter, addressee";
        let rows = client.query(sql, &[&Ts(now.plus(CLAIM)), &Ts(before), &i64::from(limit)]).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let outbox = OutboxId(row.col("id")?);
            if let Some(id) = row.col::<Option<i64>>("dead_letter")? {
                match pending_letter(&client, outbox, id).await? {
                    Some(letter) => entries.push(OutboxEntry::Letter(Box::new(letter))),
                    // Retention deleted the dead letter before it was published.
                    None => self.outbox_done(&[outbox]).await?,
                }
                continue;
            }
            let Some(Json(task)) = row.col::<Option<Json<DeliveryTask>>>("task")? else {
                entries.push(event_or_notice(outbox, &row)?);
                continue;
            };
            match body_source(&client, &task.delivery, task.config_version).await? {
                Ok(source) => entries.push(OutboxEntry::Delivery(Box::new(PendingDelivery { outbox, task, source }))),
                Err(reason) => {
                    tracing::warn!(delivery.id = %task.delivery.id, %reason, "removed a delivery from the outbox: it can no longer be rendered");
                    self.outbox_done(&[outbox]).await?;
                }
            }
        }
        Ok(entries)
    }

    /// Removes entries that were published, or that can never be published.
    pub async fn outbox_done(&self, ids: &[OutboxId]) -> Result<(), StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        self.core().execute("DELETE FROM outbox WHERE id = ANY($1)", &[&ids]).await?;
        Ok(())
    }
}
