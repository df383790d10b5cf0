//! Finds undecided events and pending deliveries whose message was lost, and prepares them to be published again.
//!
//! Both get a new epoch, in one transaction with the intervention that makes every older copy stale. If the original turns up
//! after all, it is dropped. The caller publishes the result; after a crash in between, the next scan finds it again.
//!
//! The caller tells lost messages from late ones: it passes the time before which a thing must have happened.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, Lane, Trigger};
use postrider_model::ids::{EventId, Generation, TenantId};
use postrider_model::time::{Day, UnixMillis};
use postrider_wire::messages::{AcceptedEvent, DeliveryTask};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::config::{bump, finish};
use crate::error::StoreError;
use crate::history::{DELIVERY_COLUMNS, DeliveryRow, EventRow, SUMMARY, decision};
use crate::intervention::{EVENT_TARGET, Intervention, InterventionReason, InterventionTarget};
use crate::outbox;
use crate::record::{self, Report, merged};
use crate::sql::{Coded, Date, RowExt, Ts, unsigned};
use crate::store::Store;

/// Advisory lock: one recorder reconciles at a time.
const RECONCILE_LOCK: i64 = 0x706f_7374_7269_6403;

/// Which pending deliveries count as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// Deliveries due before this are lost, unless they are held.
    pub before: UnixMillis,
    /// Deliveries due before this are lost, even if they were held.
    pub at_latest: UnixMillis,
    /// Maximum number of held deliveries: up to this many deliveries due before `before` are left alone.
    pub held_max: usize,
}

/// Which events [`Store::take_undecided`] scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The day of their partition.
    pub day: Day,
    /// Accepted at or after this.
    pub from: UnixMillis,
    /// Accepted before this.
    pub until: UnixMillis,
    /// Events published again at or after this are left alone.
    pub handed_out: UnixMillis,
    /// How long the scan may take.
    pub within: Duration,
}

/// The result of a scan.
#[derive(Debug)]
pub enum Looked {
    /// Nothing was scanned: another recorder is reconciling.
    Busy,
    /// The scan exceeded its time: scan fewer events.
    TooLong,
    /// Undecided events.
    Undecided {
        /// Events to publish to fan-out, each with its `data`.
        events: Vec<(AcceptedEvent, bytes::Bytes)>,
        /// Whether others were left alone, because they were published again recently.
        left_alone: bool,
    },
}

/// Numbers of repaired deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Put into the outbox, with a new epoch.
    pub again: usize,
    /// Discarded: expired, or without a payload or an endpoint.
    pub ended: usize,
}

/// A lost delivery, with what decides between publishing it again and ending it.
struct Candidate {
    row: DeliveryRow,
    has_payload: bool,
    has_endpoint: bool,
    occurred_at: UnixMillis,
    lane: Lane,
}

/// Pending deliveries `d` of the day `$1` whose attempt was due before `$2`. Deliveries that cannot be repaired are left out, so
/// that they do not fill every page.
const OVERDUE: &str = "FROM deliveries d
    WHERE d.delivery_day = $1 AND d.status = 0 AND d.next_attempt_at < $2
        AND (d.generation IS NULL OR d.generation NOT LIKE 'test:%')
        AND (d.expires_at < $2 OR EXISTS (SELECT FROM events e
            WHERE e.tenant = d.tenant AND e.id = d.event_id AND e.event_day = d.event_day))";

impl Store {
    /// Whether a day has pending deliveries whose attempt was due before `before`.
    ///
    /// # Errors
    /// The database's.
    pub async fn has_overdue(&self, day: Day, before: UnixMillis) -> Result<bool, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        low_cost(&tx, None).await?;
        let sql = format!("SELECT EXISTS (SELECT {OVERDUE})");
        Ok(tx.query_one(&sql, &[&Date(day), &Ts(before)]).await?.try_get(0)?)
    }

    /// The undecided events of a slice, at most `limit`, ready to publish to fan-out: each with its `data` and a new epoch.
    ///
    /// # Errors
    /// The database's; nothing was changed then.
    pub async fn take_undecided(&self, look: Look, limit: u32) -> Result<Looked, StoreError> {
        let Look { day, from, until, handed_out, within } = look;
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        if !lock(&tx).await? {
            return Ok(Looked::Busy);
        }
        low_cost(&tx, Some(within)).await?;
        let undecided = "data IS NOT NULL AND NOT EXISTS (SELECT FROM decisions d
            WHERE d.tenant = e.tenant AND d.event_id = e.id AND d.event_day = e.event_day)";
        let sql = format!(
            "SELECT e.tenant, e.id, i.least_epoch, coalesce(i.created_at >= $2, false) AS given
             FROM events e LEFT JOIN interventions i
                 ON i.target = {EVENT_TARGET} AND (i.event_day IS NULL OR i.event_day = e.event_day)
             WHERE e.event_day = $1 AND e.accepted_at >= $4 AND e.accepted_at < $5 AND {undecided}
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
            let epoch: u32 = row.col::<Option<i32>>("least_epoch")?.map_or(0, unsigned);
            epochs.insert((TenantId(row.col("tenant")?), row.parsed("id")?), epoch.saturating_add(1));
        }
        if epochs.is_empty() {
            return Ok(Looked::Undecided { events: Vec::new(), left_alone });
        }
        // The first query ran without the counter's lock. Read again under it, because the event may have been expunged since.
        let version = bump(&tx).await?;
        let (tenants, ids): (Vec<Uuid>, Vec<&str>) = epochs.keys().map(|(tenant, id)| (tenant.0, id.as_str())).unzip();
        let sql = format!(
            "SELECT {SUMMARY}, metadata, data, instance, sequence FROM events e
             WHERE event_day = $1 AND (tenant, id) IN (SELECT unnest($2::uuid[]), unnest($3::text[])) AND {undecided}
             ORDER BY accepted_at"
        );
        let now = UnixMillis::now();
        let mut taken = Vec::with_capacity(found.len());
        for row in tx.query(&sql, &[&Date(day), &tenants, &ids]).await? {
            let EventRow { summary, metadata, data } = EventRow::read(&row)?;
            let epoch = epochs.get(&(summary.tenant, summary.id.clone())).copied().unwrap_or(1);
            let target = InterventionTarget::Event(summary.tenant, summary.id.clone());
            superseded(target, summary.event_day, epoch, now, version).save(&tx).await?;
            let event = summary.event_ref();
            let instance = row.col::<i64>("instance")?.cast_unsigned();
            let sequence = row.col::<i64>("sequence")?.cast_unsigned();
            let event = AcceptedEvent {
                occurred_at: summary.occurred_at,
                origin: summary.origin,
                attributes: summary.attributes,
                metadata,
                lane: summary.lane,
                epoch,
                ..AcceptedEvent::new(event, instance, sequence)
            };
            taken.push((event, data.unwrap_or_default()));
        }
        finish(tx, version).await?;
        Ok(Looked::Undecided { events: taken, left_alone })
    }

    /// Repairs up to `limit` overdue deliveries of a delivery day: puts them into the outbox in a new epoch, or ends them if
    /// nothing can be sent. `None`: another recorder is reconciling.
    ///
    /// # Errors
    /// The database's; nothing was changed then.
    pub async fn repair_overdue(
        &self,
        day: Day,
        overdue: Overdue,
        limit: usize,
    ) -> Result<Option<Repaired>, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        if !lock(&tx).await? {
            return Ok(None);
        }
        low_cost(&tx, None).await?;
        let sql = format!("SELECT d.id, d.next_attempt_at {OVERDUE} ORDER BY d.next_attempt_at LIMIT $3");
        let count = i64::try_from(overdue.held_max.saturating_add(limit)).unwrap_or(i64::MAX);
        let rows = tx.query(&sql, &[&Date(day), &Ts(overdue.before), &count]).await?;
        let mut lost: Vec<Uuid> = Vec::new();
        let beyond_held = rows.len().saturating_sub(overdue.held_max);
        for (index, row) in rows.iter().take(limit).enumerate() {
            let long_overdue = row.at_opt("next_attempt_at")?.is_some_and(|due| due < overdue.at_latest);
            if index < beyond_held || long_overdue {
                lost.push(row.col("id")?);
            }
        }
        if lost.is_empty() {
            return Ok(Some(Repaired::default()));
        }
        let version = bump(&tx).await?;
        let candidates = candidates(&tx, day, &lost).await?;
        let repaired = repair(&tx, candidates, version).await?;
        finish(tx, version).await?;
        Ok(Some(repaired))
    }
}

/// Keeps scans from slowing down deliveries: no parallel workers, no JIT, and no statement longer than `within`, if given.
async fn low_cost(tx: &Transaction<'_>, within: Option<Duration>) -> Result<(), StoreError> {
    tx.batch_execute("SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off").await?;
    if let Some(within) = within {
        tx.batch_execute(&format!("SET LOCAL statement_timeout = {}", within.as_millis().max(1))).await?;
    }
    Ok(())
}

async fn lock(tx: &Transaction<'_>) -> Result<bool, StoreError> {
    Ok(tx.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&RECONCILE_LOCK]).await?.try_get(0)?)
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

/// The given deliveries that are still pending.
async fn candidates(client: &impl GenericClient, day: Day, ids: &[Uuid]) -> Result<Vec<Candidate>, StoreError> {
    let columns: Vec<String> = DELIVERY_COLUMNS.split(", ").map(|name| format!("d.{name}")).collect();
    let sql = format!(
        "SELECT {}, e.data IS NOT NULL AS has_payload, e.occurred_at, e.lane, p.id IS NOT NULL AS has_endpoint
         FROM deliveries d
         LEFT JOIN events e ON e.tenant = d.tenant AND e.id = d.event_id AND e.event_day = d.event_day
         LEFT JOIN endpoints p ON p.id = d.endpoint AND p.deleted_at IS NULL
         WHERE d.delivery_day = $1 AND d.id = ANY($2) AND d.status = $3",
        columns.join(", ")
    );
    let mut found = Vec::with_capacity(ids.len());
    for row in client.query(&sql, &[&Date(day), &ids, &DeliveryStatus::Pending.code()]).await? {
        let delivery = DeliveryRow::read(&row)?;
        found.push(Candidate {
            has_payload: row.col("has_payload")?,
            has_endpoint: row.col("has_endpoint")?,
            occurred_at: row.at_opt("occurred_at")?.unwrap_or(delivery.accepted_at),
            lane: row.coded_opt("lane")?.unwrap_or_default(),
            row: delivery,
        });
    }
    Ok(found)
}

async fn repair(tx: &Transaction<'_>, candidates: Vec<Candidate>, version: i64) -> Result<Repaired, StoreError> {
    let now = UnixMillis::now();
    let mut repaired = Repaired::default();
    let mut tasks = Vec::new();
    let mut ended = Vec::new();
    for candidate in candidates {
        let reason = match &candidate {
            Candidate { has_endpoint: false, .. } => DiscardReason::EndpointDeleted,
            // An expired delivery with a payload goes to a dispatcher, which compares two clocks before it discards it.
            Candidate { has_payload: false, row, .. } if row.expires_at <= now => DiscardReason::Expired,
            Candidate { has_payload: false, .. } => DiscardReason::Expunged,
            _ => {
                tasks.push(next_task(tx, candidate, version).await?);
                continue;
            }
        };
        ended.push((candidate.row, reason));
    }
    for task in &tasks {
        let target = InterventionTarget::Delivery(task.delivery.id);
        superseded(target, task.delivery.event_day, task.epoch, now, version).save(tx).await?;
        outbox::add_delivery(tx, task, now).await?;
    }
    repaired.again = tasks.len();
    repaired.ended = ended.len();
    let requested = tasks.iter().map(|task| Report::requested(task, now));
    let discarded =
        ended.iter().map(|(row, reason)| Report::withdrawn(row, DeliveryStatus::Discarded, Some(*reason), now));
    record::upsert_deliveries(tx, &merged(requested.chain(discarded))).await?;
    Ok(repaired)
}

/// The attempt that a delivery waits for, in its next epoch.
async fn next_task(
    client: &impl GenericClient,
    candidate: Candidate,
    version: i64,
) -> Result<DeliveryTask, StoreError> {
    let Candidate { row, occurred_at, lane, .. } = candidate;
    let (trigger, lane) = match row.generation {
        _ if row.number > 0 => (Trigger::Retry, lane),
        Generation::First => (Trigger::First, lane),
        Generation::Replay(_) => (Trigger::Replay, Lane::Bulk),
        Generation::Retry(_) | Generation::Test(_) => (Trigger::Manual, Lane::Live),
    };
    // An event's own deliveries use the endpoint as decided; retries and replays use the endpoint as it is now.
    let decided = match row.generation {
        Generation::First => decision(client, row.tenant, &row.event, row.event_day).await?,
        _ => None,
    };
    let config_version = decided.map_or(version, |decision| decision.config_version);
    let extra = outbox::extra_attempts(client, &row).await?;
    Ok(DeliveryTask { occurred_at, ..outbox::next_attempt(&row, extra, trigger, lane, config_version) })
}
