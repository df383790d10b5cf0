//! The rows that the audit reads, from one snapshot, and the table of its results. Not the [audit log](crate::audit_log).
//!
//! Reading a day scans its partitions of events, decisions and deliveries sequentially, without payloads.

use std::collections::BTreeMap;

use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{EndpointId, EventId, ReplayId, TenantId};
use postrider_model::time::{Day, UnixMillis};
use tokio_postgres::types::Json;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::error::StoreError;
use crate::pool::Driver;
use crate::services::LastAudit;
use crate::sql::{Date, FromRow, RowExt, Ts, from_row, read_all};
use crate::store::History;

/// Maximum number of missing rows of each kind that are listed for a tenant and day.
const MISSING_MAX: i64 = 100_000;
/// A block has 2 to the power of `BLOCK_BITS` sequence numbers.
pub const BLOCK_BITS: u32 = 14;

/// A repeatable-read snapshot, on a separate connection. Dropping the snapshot closes the connection.
pub struct AuditSnapshot {
    client: Client,
    _driver: Driver,
}

/// Counts of one tenant and day. Each count has its own query; no count is computed from others.
#[derive(Debug, Clone, Default)]
pub struct DayCounts {
    /// Events.
    pub accepted: u64,
    /// Decisions.
    pub decided: u64,
    /// Endpoints in the decisions.
    pub matched: u64,
    /// Events without a decision.
    pub undecided: u64,
    /// Deliveries that events caused (not retries, replays or tests), by status.
    pub deliveries: Vec<(DeliveryStatus, u64)>,
    /// Other deliveries, by kind of generation (`retry`, `replay` or `test`) and by status.
    pub requested: Vec<(String, DeliveryStatus, u64)>,
}

/// The counts of one day.
#[derive(Debug, Clone, Default)]
pub struct DayRows {
    /// The counts by tenant.
    pub tenants: BTreeMap<TenantId, DayCounts>,
    /// The time of the newest decision.
    pub decided_last: Option<UnixMillis>,
}

/// Two counts of the deliveries of one replay.
#[derive(Debug, Clone, Copy)]
pub struct ReplayCounts {
    /// The replay's tenant.
    pub tenant: TenantId,
    /// The replay.
    pub replay: ReplayId,
    /// Number of created deliveries according to the replay's row.
    pub requested: u64,
    /// Number of the replay's deliveries on record.
    pub recorded: u64,
}

/// What one ingest process reported about its sequence numbers.
#[derive(Debug, Clone, Copy)]
pub struct IngestReport {
    /// The process.
    pub instance: u64,
    /// Every number below this number was confirmed or given up.
    pub settled_below: u64,
    /// The time of the first report.
    pub first_at: UnixMillis,
    /// The time of the last report.
    pub reported_at: UnixMillis,
}

/// Events on record in one block of an ingest process's sequence numbers.
#[derive(Debug, Clone, Copy)]
pub struct BlockCount {
    /// The process.
    pub instance: u64,
    /// The block: a sequence number shifted right by [`BLOCK_BITS`].
    pub block: u64,
    /// Events with a number in the block.
    pub recorded: u64,
    /// The lowest number of an event on record in the block.
    pub lowest: u64,
}

impl History {
    /// Opens a snapshot for an audit.
    pub async fn audit_snapshot(&self) -> Result<AuditSnapshot, StoreError> {
        let (client, driver) = self.0.dedicated().await?;
        client.batch_execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        Ok(AuditSnapshot { client, _driver: driver })
    }

    /// Stores the report of an audit.
    pub async fn save_audit(&self, id: Uuid, audit: &LastAudit) -> Result<(), StoreError> {
        let sql = "INSERT INTO audits (id, ran_at, conserved, report) VALUES ($1, $2, $3, $4)";
        self.0.execute(sql, &[&id, &Ts(audit.ran_at), &audit.conserved, &Json(&audit.report)]).await?;
        Ok(())
    }
}

impl AuditSnapshot {
    /// Counts the rows of a day by tenant, and finds the newest decision.
    pub async fn count_day(&self, day: Day) -> Result<DayRows, StoreError> {
        let mut rows = DayRows::default();
        for row in
            self.rows("SELECT tenant, count(*) AS n FROM events WHERE event_day = $1 GROUP BY tenant", day).await?
        {
            rows.of(&row)?.accepted = row.col("n")?;
        }
        let sql = "SELECT tenant, count(*) AS n, coalesce(sum(cardinality(matched)), 0)::bigint AS matched,
                          max(decided_at) AS last
                   FROM decisions WHERE event_day = $1 GROUP BY tenant";
        for row in self.rows(sql, day).await? {
            let of = rows.of(&row)?;
            (of.decided, of.matched) = (row.col("n")?, row.col("matched")?);
            rows.decided_last = rows.decided_last.max(row.col("last")?);
        }
        let sql =
            "SELECT tenant, count(*) AS n FROM events e WHERE event_day = $1 AND NOT EXISTS (SELECT FROM decisions d
                       WHERE d.tenant = e.tenant AND d.event_id = e.id AND d.event_day = e.event_day) GROUP BY tenant";
        for row in self.rows(sql, day).await? {
            rows.of(&row)?.undecided = row.col("n")?;
        }
        let sql = "SELECT tenant, status, count(*) AS n FROM deliveries WHERE delivery_day = $1 AND generation IS NULL
                   GROUP BY tenant, status";
        for row in self.rows(sql, day).await? {
            rows.of(&row)?.deliveries.push((row.col("status")?, row.col("n")?));
        }
        let sql = "SELECT tenant, split_part(generation, ':', 1) AS kind, status, count(*) AS n FROM deliveries
                   WHERE delivery_day = $1 AND generation IS NOT NULL GROUP BY tenant, kind, status";
        for row in self.rows(sql, day).await? {
            rows.of(&row)?.requested.push((row.col("kind")?, row.col("status")?, row.col("n")?));
        }
        Ok(rows)
    }

    async fn rows(&self, sql: &str, day: Day) -> Result<Vec<Row>, StoreError> {
        Ok(self.client.query(sql, &[&Date(day)]).await?)
    }

    /// Returns decisions about events that are not on record, with the time of each decision.
    pub async fn decisions_without_event(
        &self,
        tenant: TenantId,
        day: Day,
    ) -> Result<Vec<(EventId, UnixMillis)>, StoreError> {
        let sql = "SELECT event_id, decided_at FROM decisions d WHERE event_day = $1 AND tenant = $2
                       AND NOT EXISTS (SELECT FROM events e
                           WHERE e.tenant = d.tenant AND e.id = d.event_id AND e.event_day = d.event_day) LIMIT $3";
        self.missing(sql, tenant, day).await
    }

    /// Returns endpoints in decisions for which no delivery is on record, each with its event.
    pub async fn matches_without_delivery(
        &self,
        tenant: TenantId,
        day: Day,
    ) -> Result<Vec<(EventId, EndpointId)>, StoreError> {
        let sql = "SELECT d.event_id, m.endpoint FROM decisions d CROSS JOIN LATERAL unnest(d.matched) AS m(endpoint)
                   WHERE d.event_day = $1 AND d.tenant = $2 AND NOT EXISTS (SELECT FROM deliveries v
                       WHERE v.delivery_day = $1 AND v.tenant = $2 AND v.event_id = d.event_id AND v.endpoint = m.endpoint
                           AND v.generation IS NULL) LIMIT $3";
        self.missing(sql, tenant, day).await
    }

    /// Returns deliveries that events caused although no decision on record contains their endpoint, each with the time of its
    /// creation.
    pub async fn deliveries_without_decision(
        &self,
        tenant: TenantId,
        day: Day,
    ) -> Result<Vec<(EventId, EndpointId, UnixMillis)>, StoreError> {
        let sql = "SELECT v.event_id, v.endpoint, v.created_at FROM deliveries v
                   WHERE v.delivery_day = $1 AND v.tenant = $2 AND v.generation IS NULL AND NOT EXISTS (
                       SELECT FROM decisions d WHERE d.event_day = $1 AND d.tenant = $2 AND d.event_id = v.event_id
                           AND v.endpoint = ANY(d.matched)) LIMIT $3";
        self.missing(sql, tenant, day).await
    }

    async fn missing<T: FromRow>(&self, sql: &str, tenant: TenantId, day: Day) -> Result<Vec<T>, StoreError> {
        read_all(self.client.query(sql, &[&Date(day), &tenant.0, &MISSING_MAX]).await?)
    }

    /// The time of the newest report of any ingest process.
    pub async fn last_ingest_report(&self) -> Result<Option<UnixMillis>, StoreError> {
        self.client.query_one("SELECT max(reported_at) AS last FROM ingest_numbers", &[]).await?.col("last")
    }

    /// Returns both counts of each replay that was created on `first` or later.
    pub async fn replays_since(&self, first: Day) -> Result<Vec<ReplayCounts>, StoreError> {
        let sql = "SELECT r.tenant, r.id, r.deliveries, (SELECT count(*) FROM deliveries d
                       WHERE d.generation = 'replay:' || 'rpl_' || replace(r.id::text, '-', '') AND d.delivery_day >= $2) AS recorded
                   FROM replays r WHERE r.created_at >= $1";
        read_all(self.client.query(sql, &[&Ts(first.start()), &Date(first)]).await?)
    }

    /// Returns the reports of ingest processes whose last report is from `first` or later.
    pub async fn ingest_reports_since(&self, first: Day) -> Result<Vec<IngestReport>, StoreError> {
        let sql = format!("SELECT {} FROM ingest_numbers WHERE reported_at >= $1", IngestReport::COLUMNS);
        read_all(self.client.query(&sql, &[&Ts(first.start())]).await?)
    }

    /// Counts events by block, over the first to the last of `days` (inclusive). Counts only events with a number below the
    /// settled number of their instance, which `settled` contains.
    pub async fn count_blocks(&self, days: (Day, Day), settled: &[(u64, u64)]) -> Result<Vec<BlockCount>, StoreError> {
        let (ids, below) = signed_columns(settled);
        let sql = format!(
            "SELECT e.instance, e.sequence >> {BLOCK_BITS} AS block, count(*) AS recorded, min(e.sequence) AS lowest
             FROM events e JOIN unnest($3::bigint[], $4::bigint[]) AS known(instance, below) USING (instance)
             WHERE e.event_day BETWEEN $1 AND $2 AND e.sequence < known.below GROUP BY 1, 2"
        );
        read_all(self.client.query(&sql, &[&Date(days.0), &Date(days.1), &ids, &below]).await?)
    }

    /// Returns the numbers in these `(instance, block)` pairs that are excused or on record on these days, as
    /// `(instance, number)`.
    pub async fn known_numbers(&self, days: (Day, Day), blocks: &[(u64, u64)]) -> Result<Vec<(u64, u64)>, StoreError> {
        let (ids, numbers) = signed_columns(blocks);
        let wanted = "unnest($1::bigint[], $2::bigint[]) AS wanted(instance, block)";
        let excused = format!(
            "SELECT x.instance, x.number FROM {wanted}
             JOIN ingest_numbers_excused x ON x.instance = wanted.instance
                 AND x.number BETWEEN wanted.block << {BLOCK_BITS} AND ((wanted.block + 1) << {BLOCK_BITS}) - 1"
        );
        let recorded = format!(
            "SELECT e.instance, e.sequence AS number FROM events e JOIN {wanted}
                 ON e.instance = wanted.instance AND e.sequence >> {BLOCK_BITS} = wanted.block
             WHERE e.event_day BETWEEN $3 AND $4"
        );
        let mut rows = self.client.query(&excused, &[&ids, &numbers]).await?;
        rows.extend(self.client.query(&recorded, &[&ids, &numbers, &Date(days.0), &Date(days.1)]).await?);
        read_all(rows)
    }
}

impl DayRows {
    /// The counts of the tenant in a row.
    fn of(&mut self, row: &Row) -> Result<&mut DayCounts, StoreError> {
        Ok(self.tenants.entry(row.col("tenant")?).or_default())
    }
}

from_row!(ReplayCounts { tenant, replay: "id", requested: "deliveries", recorded });
from_row!(IngestReport { instance, settled_below, first_at, reported_at });
from_row!(BlockCount { instance, block, recorded, lowest });

fn signed_columns(pairs: &[(u64, u64)]) -> (Vec<i64>, Vec<i64>) {
    pairs.iter().map(|(one, other)| (one.cast_signed(), other.cast_signed())).unzip()
}
