//! Reads undecided events and overdue deliveries, and commits their repair.
//!
//! One transaction gives an event or delivery a new epoch, and writes the intervention that makes every older copy stale. If
//! the lost copy appears later, it is dropped. The caller publishes the new copy; after a crash, the next scan finds it again.
//!
//! The caller decides which messages are lost, and whether an overdue delivery is published again or discarded.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, Lane};
use postrider_model::ids::{DeliveryId, EventId, TenantId};
use postrider_model::time::{Day, UnixMillis};
use postrider_wire::messages::{DeliveryTask, Turn};
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::config::{bump, finish};
use crate::error::StoreError;
use crate::history::{DELIVERY_COLUMNS, DeliveryRow, EventSummary};
use crate::intervention::{EVENT_TARGET, Intervention, InterventionReason, InterventionTarget};
use crate::lines::{self, DOES_NOT_WAIT};
use crate::locks::{RECONCILE_LOCK, low_cost, try_lock};
use crate::outbox;
use crate::record::{self, Report, merged};
use crate::sql::{Coded, Date, FromRow, RowExt, Ts, from_row, read_all};
use crate::store::Store;

/// Timeout of scans for overdue deliveries. Zero means no timeout: the caller adapts the pause between scans to their duration.
const OVERDUE_SCAN_MAX: Duration = Duration::ZERO;

/// Selects the events that [`Store::take_undecided`] scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The event day to scan.
    pub day: Day,
    /// Scans events accepted at or after this time.
    pub from: UnixMillis,
    /// Scans events accepted before this time.
    pub until: UnixMillis,
    /// Leaves out events that were published again at or after this time.
    pub handed_out: UnixMillis,
    /// The timeout of the scan.
    pub within: Duration,
}

/// The result of a scan.
#[derive(Debug)]
pub enum Looked {
    /// Nothing was scanned, because another recorder is reconciling.
    Busy,
    /// The scan timed out. The caller scans fewer events.
    TooLong,
    /// Undecided events.
    Undecided {
        /// Events to publish to fan-out.
        events: Vec<UndecidedEvent>,
        /// Whether other undecided events were left out because they were published again recently.
        left_alone: bool,
    },
}

/// An event without a decision, to publish to fan-out again.
#[derive(Debug)]
pub struct UndecidedEvent {
    /// Everything but its payload.
    pub summary: EventSummary,
    /// The metadata that the producer sent.
    pub metadata: Option<Box<RawValue>>,
    /// The bytes of `data` as the producer sent them.
    pub data: Bytes,
    /// The instance of ingest that accepted it.
    pub instance: u64,
    /// Its sequence number in that instance.
    pub sequence: u64,
    /// Its new epoch.
    pub epoch: u32,
}

/// A pending delivery whose attempt is overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueDelivery {
    /// The delivery.
    pub id: DeliveryId,
    /// When its attempt was due.
    pub next_attempt_at: UnixMillis,
}

from_row!(DueDelivery { id, next_attempt_at });

/// A pending delivery whose message is lost.
#[derive(Debug, Clone)]
pub struct LostDelivery {
    /// The delivery.
    pub row: DeliveryRow,
    /// Whether its event is on record with a payload.
    pub has_payload: bool,
    /// Whether its endpoint exists.
    pub has_endpoint: bool,
    /// When its event occurred, if the event is on record.
    pub occurred_at: Option<UnixMillis>,
    /// The lane of its event, if the event is on record.
    pub lane: Option<Lane>,
    /// The configuration version of its event's decision, if the decision is on record.
    pub decided_version: Option<i64>,
    /// The current configuration version.
    pub current_version: i64,
    /// Number of attempts that people requested while it was pending. Does not include the first attempt.
    pub extra: u16,
    /// Its turn, if it is the first delivery of a line.
    pub turn: Option<Turn>,
}

impl FromRow for LostDelivery {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            row: DeliveryRow::read(row)?,
            has_payload: row.col("has_payload")?,
            has_endpoint: row.col("has_endpoint")?,
            occurred_at: row.col("occurred_at")?,
            lane: row.col("lane")?,
            decided_version: row.col("decided_version")?,
            current_version: row.col("current_version")?,
            extra: row.col("extra")?,
            turn: match (row.col("key")?, row.col("run")?) {
                (Some(key), Some(run)) => Some(Turn { key, run }),
                _ => None,
            },
        })
    }
}

/// A repair of a lost delivery.
#[derive(Debug, Clone)]
pub enum Repair {
    /// The delivery is put into the outbox with a new epoch.
    Publish(Box<DeliveryTask>),
    /// The delivery is discarded.
    Discard(DiscardReason),
}

/// Numbers of repaired deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Deliveries put into the outbox with a new epoch.
    pub again: usize,
    /// Deliveries discarded because they expired, or because their payload or endpoint is missing.
    pub ended: usize,
}

/// The pending deliveries `d` of day `$1` whose attempt was due before `$2`. Leaves out deliveries that cannot be repaired,
/// because they would fill every page, and deliveries that wait for their turn in a line: of a line, only the first delivery of the
/// current run can be lost.
fn overdue() -> String {
    format!(
        "FROM deliveries d
         WHERE d.delivery_day = $1 AND d.status = 0 AND d.next_attempt_at < $2
             AND (d.generation IS NULL OR d.generation NOT LIKE 'test:%')
             AND (d.expires_at < $2 OR EXISTS (SELECT FROM events e
                 WHERE e.tenant = d.tenant AND e.id = d.event_id AND e.event_day = d.event_day))
             AND {DOES_NOT_WAIT}"
    )
}

/// The condition that an event `e` is undecided.
const UNDECIDED: &str = "data IS NOT NULL AND NOT EXISTS (SELECT FROM decisions d
    WHERE d.tenant = e.tenant AND d.event_id = e.id AND d.event_day = e.event_day)";

impl Store {
    /// Whether any pending delivery of this delivery day has an attempt that was due before `before`.
    pub async fn has_overdue(&self, day: Day, before: UnixMillis) -> Result<bool, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        low_cost(&tx, OVERDUE_SCAN_MAX).await?;
        let sql = format!("SELECT EXISTS (SELECT {})", overdue());
        Ok(tx.query_one(&sql, &[&Date(day), &Ts(before)]).await?.try_get(0)?)
    }

    /// Finds at most `limit` undecided events and gives them a new epoch. The caller publishes them to fan-out.
    ///
    /// # Errors
    /// An error of the database; then nothing was changed.
    pub async fn take_undecided(&self, look: Look, limit: u32) -> Result<Looked, StoreError> {
        let Look { day, from, until, handed_out, within } = look;
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        if !try_lock(&tx, RECONCILE_LOCK).await? {
            return Ok(Looked::Busy);
        }
        low_cost(&tx, within).await?;
        let sql = format!(
            "SELECT e.tenant, e.id, coalesce(i.least_epoch, 0) AS least_epoch, coalesce(i.created_at >= $2, false) AS given
             FROM events e LEFT JOIN interventions i
                 ON i.target = {EVENT_TARGET} AND (i.event_day IS NULL OR i.event_day = e.event_day)
             WHERE e.event_day = $1 AND e.accepted_at >= $4 AND e.accepted_at < $5 AND {UNDECIDED}
             ORDER BY given, e.accepted_at LIMIT $3"
        );
        let found = tx.query(&sql, &[&Date(day), &Ts(handed_out), &i64::from(limit), &Ts(from), &Ts(until)]).await;
        let found = match found {
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => return Ok(Looked::TooLong),
            found => found?,
        };
        tx.batch_execute("SET LOCAL statement_timeout TO DEFAULT").await?;
        let mut left_alone = false;
        let mut epochs: HashMap<(TenantId, EventId), u32> = HashMap::new();
        for row in &found {
            if row.col("given")? {
                left_alone = true;
                continue;
            }
            epochs.insert((row.col("tenant")?, row.col("id")?), row.col::<u32>("least_epoch")?.saturating_add(1));
        }
        let events = if epochs.is_empty() { Vec::new() } else { supersede(tx, day, &epochs).await? };
        Ok(Looked::Undecided { events, left_alone })
    }

    /// Repairs overdue deliveries of a delivery day. Reads the first `limit` deliveries that were due before `before`, longest
    /// overdue first. `select` returns the ids of lost deliveries, and `repair` returns the repair of each. Returns `None` if
    /// another recorder is reconciling.
    ///
    /// # Errors
    /// An error of the database; then nothing was changed.
    pub async fn repair_overdue(
        &self,
        day: Day,
        before: UnixMillis,
        limit: usize,
        select: impl FnOnce(&[DueDelivery]) -> Vec<DeliveryId>,
        repair: impl Fn(&LostDelivery, UnixMillis) -> Repair,
    ) -> Result<Option<Repaired>, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        if !try_lock(&tx, RECONCILE_LOCK).await? {
            return Ok(None);
        }
        low_cost(&tx, OVERDUE_SCAN_MAX).await?;
        let sql = format!("SELECT d.id, d.next_attempt_at {} ORDER BY d.next_attempt_at LIMIT $3", overdue());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let due: Vec<DueDelivery> = read_all(tx.query(&sql, &[&Date(day), &Ts(before), &limit]).await?)?;
        let lost = select(&due);
        if lost.is_empty() {
            return Ok(Some(Repaired::default()));
        }
        let version = bump(&tx).await?;
        let now = UnixMillis::now();
        let (mut tasks, mut ended) = (Vec::new(), Vec::new());
        for lost in lost_deliveries(&tx, day, &lost, version).await? {
            match repair(&lost, now) {
                Repair::Publish(task) => tasks.push(*task),
                Repair::Discard(reason) => ended.push((lost.row, reason)),
            }
        }
        for task in &tasks {
            let target = InterventionTarget::Delivery(task.delivery.id);
            superseded(target, task.delivery.event_day, task.epoch, now, version).save(&tx).await?;
            outbox::add_delivery(&tx, task, now).await?;
        }
        let requested = tasks.iter().map(|task| Report::requested(task, now));
        let discarded =
            ended.iter().map(|(row, reason)| Report::withdrawn(row, DeliveryStatus::Discarded, Some(*reason), now));
        record::upsert_deliveries(&tx, &merged(requested.chain(discarded))).await?;
        let gone: Vec<DeliveryId> = ended.iter().map(|(row, _)| row.delivery.id).collect();
        lines::remove_ended(&tx, &gone).await?;
        finish(tx, version).await?;
        Ok(Some(Repaired { again: tasks.len(), ended: ended.len() }))
    }
}

/// Makes older copies of these events stale and commits. Reads the events again under the counter's lock, because in the
/// meantime an event may have been expunged or decided. Returns the events that are still undecided.
async fn supersede(
    tx: Transaction<'_>,
    day: Day,
    epochs: &HashMap<(TenantId, EventId), u32>,
) -> Result<Vec<UndecidedEvent>, StoreError> {
    let version = bump(&tx).await?;
    let (tenants, ids): (Vec<Uuid>, Vec<&str>) = epochs.keys().map(|(tenant, id)| (tenant.0, id.as_str())).unzip();
    let sql = format!(
        "SELECT {}, metadata, data, instance, sequence FROM events e
         WHERE event_day = $1 AND (tenant, id) IN (SELECT unnest($2::uuid[]), unnest($3::text[])) AND {UNDECIDED}
         ORDER BY accepted_at",
        EventSummary::COLUMNS
    );
    let now = UnixMillis::now();
    let mut taken = Vec::with_capacity(epochs.len());
    for row in tx.query(&sql, &[&Date(day), &tenants, &ids]).await? {
        let summary = EventSummary::read(&row)?;
        let epoch = epochs.get(&(summary.tenant, summary.id.clone())).copied().unwrap_or(1);
        let target = InterventionTarget::Event(summary.tenant, summary.id.clone());
        superseded(target, summary.event_day, epoch, now, version).save(&tx).await?;
        taken.push(UndecidedEvent {
            summary,
            metadata: row.col("metadata")?,
            data: row.col("data")?,
            instance: row.col("instance")?,
            sequence: row.col("sequence")?,
            epoch,
        });
    }
    finish(tx, version).await?;
    Ok(taken)
}

fn superseded(
    target: InterventionTarget,
    event_day: Day,
    least_epoch: u32,
    created_at: UnixMillis,
    version: i64,
) -> Intervention {
    let event_day = Some(event_day);
    Intervention { target, event_day, least_epoch, reason: InterventionReason::Superseded, created_at, version }
}

/// Reads the given deliveries that are still pending.
async fn lost_deliveries(
    client: &impl GenericClient,
    day: Day,
    ids: &[DeliveryId],
    version: i64,
) -> Result<Vec<LostDelivery>, StoreError> {
    let columns: Vec<String> = DELIVERY_COLUMNS.split(", ").map(|name| format!("d.{name}")).collect();
    let sql = format!(
        "SELECT {}, e.data IS NOT NULL AS has_payload, e.occurred_at, e.lane, p.id IS NOT NULL AS has_endpoint,
             c.config_version AS decided_version, $4::bigint AS current_version,
             (SELECT count(DISTINCT a.number) FROM attempts a WHERE a.delivery_id = d.id AND a.delivery_day = d.delivery_day
                 AND a.trigger = 2 AND a.number > 1) AS extra,
             line.key, line.run
         FROM deliveries d
         LEFT JOIN events e ON e.tenant = d.tenant AND e.id = d.event_id AND e.event_day = d.event_day
         LEFT JOIN decisions c ON c.tenant = d.tenant AND c.event_id = d.event_id AND c.event_day = d.event_day
         LEFT JOIN endpoints p ON p.id = d.endpoint AND p.deleted_at IS NULL
         LEFT JOIN ordered_deliveries o ON o.delivery = d.id
         LEFT JOIN ordered_lines line ON line.endpoint = o.endpoint AND line.key = o.key
         WHERE d.delivery_day = $1 AND d.id = ANY($2) AND d.status = $3",
        columns.join(", ")
    );
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    read_all(client.query(&sql, &[&Date(day), &ids, &DeliveryStatus::Pending.code(), &version]).await?)
}
