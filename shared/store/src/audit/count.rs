//! The terms of a tenant's day, each counted on its own, and what is missing where they do not add up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use deadpool_postgres::Transaction;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{EndpointId, ReplayId, TenantId};
use postrider_model::time::{Day, UnixMillis};
use serde::Serialize;
use tokio_postgres::Row;

use super::{Gap, Look};
use crate::error::StoreError;
use crate::sql::{Date, RowExt, Ts, unsigned};

/// Rows that are looked at one by one where a tenant's day does not add up.
const OFFENDERS_MAX: i64 = 100_000;
/// What is younger than this, seen from the youngest row of its kind, may still come.
const OVERTAKEN_AFTER: Duration = Duration::from_secs(60);

/// Deliveries by where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Standing {
    /// Delivered.
    pub delivered: u64,
    /// Failed for good.
    pub failed: u64,
    /// Cancelled by somebody.
    pub cancelled: u64,
    /// Ended without an attempt that could have succeeded.
    pub discarded: u64,
    /// Still to be attempted.
    pub pending: u64,
}

impl Standing {
    fn add(&mut self, status: DeliveryStatus, count: u64) {
        *match status {
            DeliveryStatus::Delivered => &mut self.delivered,
            DeliveryStatus::Failed => &mut self.failed,
            DeliveryStatus::Cancelled => &mut self.cancelled,
            DeliveryStatus::Discarded => &mut self.discarded,
            DeliveryStatus::Pending => &mut self.pending,
        } += count;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.delivered + self.failed + self.cancelled + self.discarded + self.pending
    }
}

/// Deliveries that somebody asked for beside an event's own, on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Requested {
    /// By retries.
    pub retries: u64,
    /// By replays.
    pub replays: u64,
    /// By test calls.
    pub tests: u64,
    /// What became of them.
    #[serde(flatten)]
    pub standing: Standing,
}

/// The equations of one tenant and day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantDay {
    /// Whose.
    pub tenant: TenantId,
    /// The day on which the events were accepted (and, of what was requested, on which it was).
    #[serde(serialize_with = "super::date")]
    pub day: Day,
    /// Whether every equation of this day holds.
    pub conserved: bool,
    /// Events on record.
    pub accepted: u64,
    /// Decisions on record.
    pub decided: u64,
    /// Events on record without a decision.
    pub undecided: u64,
    /// Endpoints in the decisions.
    pub matched: u64,
    /// Events' own deliveries on record.
    #[serde(flatten)]
    pub standing: Standing,
    /// What was asked for besides.
    pub requested: Requested,
    /// Decisions and deliveries that were recorded before what they follow from, which is still on its way. They are not counted
    /// above.
    pub on_the_way: u64,
    #[serde(skip)]
    missing: Vec<Gap>,
}

impl TenantDay {
    fn new(tenant: TenantId, day: Day) -> Self {
        Self {
            tenant,
            day,
            conserved: true,
            accepted: 0,
            decided: 0,
            undecided: 0,
            matched: 0,
            standing: Standing::default(),
            requested: Requested::default(),
            on_the_way: 0,
            missing: Vec::new(),
        }
    }

    fn adds_up(&self) -> bool {
        self.accepted + self.on_the_way_of(|gap| matches!(gap, Gap::Event { .. })) == self.decided + self.undecided
            && self.matched + self.on_the_way_of(|gap| matches!(gap, Gap::Decision { .. })) == self.standing.total()
    }

    fn on_the_way_of(&self, kind: impl Fn(&Gap) -> bool) -> u64 {
        self.missing.iter().filter(|gap| kind(gap)).count() as u64
    }

    /// Takes what was missing and is no gap for what is on its way, out of the terms.
    pub(super) fn settle(&mut self, gaps: &BTreeSet<Gap>) {
        self.missing.retain(|missing| !gaps.contains(missing));
        self.conserved = self.adds_up();
        let events = self.on_the_way_of(|gap| matches!(gap, Gap::Event { .. }));
        let decisions = self.on_the_way_of(|gap| matches!(gap, Gap::Decision { .. }));
        self.decided = self.decided.saturating_sub(events);
        self.matched += decisions;
        self.on_the_way = events + decisions;
    }
}

/// Counts the days' terms.
pub(super) async fn tenants(tx: &Transaction<'_>, days: &[Day], look: &mut Look) -> Result<(), StoreError> {
    for day in days {
        one_day(tx, *day, look).await?;
    }
    Ok(())
}

async fn one_day(tx: &Transaction<'_>, day: Day, look: &mut Look) -> Result<(), StoreError> {
    let mut terms: BTreeMap<TenantId, TenantDay> = BTreeMap::new();
    let on = Date(day);
    let mut each = async |sql: &str, add: &mut (dyn FnMut(&mut TenantDay, &Row) -> Result<(), StoreError> + Send)| {
        for row in tx.query(sql, &[&on]).await? {
            let tenant = TenantId(row.col("tenant")?);
            add(terms.entry(tenant).or_insert_with(|| TenantDay::new(tenant, day)), &row)?;
        }
        Ok::<_, StoreError>(())
    };
    each("SELECT tenant, count(*) AS n FROM events WHERE event_day = $1 GROUP BY tenant", &mut |terms, row| {
        terms.accepted = counted(row, "n")?;
        Ok(())
    })
    .await?;
    let mut decided_last = None;
    let sql = "SELECT tenant, count(*) AS n, coalesce(sum(cardinality(matched)), 0)::bigint AS matched,
                      max(decided_at) AS last
               FROM decisions WHERE event_day = $1 GROUP BY tenant";
    each(sql, &mut |terms, row| {
        (terms.decided, terms.matched) = (counted(row, "n")?, counted(row, "matched")?);
        decided_last = decided_last.max(row.at_opt("last")?);
        Ok(())
    })
    .await?;
    let sql = "SELECT tenant, count(*) AS n FROM events e WHERE event_day = $1 AND NOT EXISTS (SELECT FROM decisions d
                   WHERE d.tenant = e.tenant AND d.event_id = e.id AND d.event_day = e.event_day) GROUP BY tenant";
    each(sql, &mut |terms, row| {
        terms.undecided = counted(row, "n")?;
        Ok(())
    })
    .await?;
    let sql = "SELECT tenant, status, count(*) AS n FROM deliveries WHERE delivery_day = $1 AND generation IS NULL
               GROUP BY tenant, status";
    each(sql, &mut |terms, row| {
        terms.standing.add(row.coded("status")?, counted(row, "n")?);
        Ok(())
    })
    .await?;
    let sql = "SELECT tenant, split_part(generation, ':', 1) AS kind, status, count(*) AS n FROM deliveries
               WHERE delivery_day = $1 AND generation IS NOT NULL GROUP BY tenant, kind, status";
    each(sql, &mut |terms, row| {
        let (kind, count): (String, u64) = (row.col("kind")?, counted(row, "n")?);
        let requested = &mut terms.requested;
        match kind.as_str() {
            "retry" => requested.retries += count,
            "replay" => requested.replays += count,
            _ => requested.tests += count,
        }
        requested.standing.add(row.coded("status")?, count);
        Ok(())
    })
    .await?;

    let reported_last = tx.query_one("SELECT max(reported_at) AS last FROM ingest_numbers", &[]).await?;
    let reported_last = reported_last.at_opt("last")?;
    for terms in terms.values_mut().filter(|terms| !terms.adds_up()) {
        offenders(tx, terms, reported_last, decided_last, &mut look.missing).await?;
    }
    look.tenants.extend(terms.into_iter().map(|(tenant, terms)| ((day, tenant), terms)));
    Ok(())
}

fn counted(row: &Row, column: &str) -> Result<u64, StoreError> {
    Ok(unsigned(row.col::<i64>(column)?))
}

/// Finds what a day that does not add up misses. Of what may still come only the day itself is told.
async fn offenders(
    tx: &Transaction<'_>,
    terms: &mut TenantDay,
    reported_last: Option<UnixMillis>,
    decided_last: Option<UnixMillis>,
    missing: &mut BTreeSet<Gap>,
) -> Result<(), StoreError> {
    let (tenant, day) = (terms.tenant, terms.day);
    // Whether what is younger than this was read already.
    let overtaken =
        |at: UnixMillis, last: Option<UnixMillis>| last.is_some_and(|last| at.until(last) > OVERTAKEN_AFTER);
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&Date(day), &tenant.0, &OFFENDERS_MAX];
    let sql = "SELECT event_id, decided_at FROM decisions d WHERE event_day = $1 AND tenant = $2
                   AND NOT EXISTS (SELECT FROM events e
                       WHERE e.tenant = d.tenant AND e.id = d.event_id AND e.event_day = d.event_day) LIMIT $3";
    for row in tx.query(sql, &params).await? {
        let gap = Gap::Event { tenant, day, event: row.parsed("event_id")? };
        if overtaken(row.at("decided_at")?, reported_last) {
            missing.insert(gap.clone());
        }
        terms.missing.push(gap);
    }
    let sql = "SELECT d.event_id, m.endpoint FROM decisions d CROSS JOIN LATERAL unnest(d.matched) AS m(endpoint)
               WHERE d.event_day = $1 AND d.tenant = $2 AND NOT EXISTS (SELECT FROM deliveries v
                   WHERE v.delivery_day = $1 AND v.tenant = $2 AND v.event_id = d.event_id AND v.endpoint = m.endpoint
                       AND v.generation IS NULL) LIMIT $3";
    for row in tx.query(sql, &params).await? {
        // Written in one transaction with its decision: never on its way.
        let (event, endpoint) = (row.parsed("event_id")?, EndpointId(row.col("endpoint")?));
        missing.insert(Gap::Delivery { tenant, day, event, endpoint });
    }
    let sql = "SELECT v.event_id, v.endpoint, v.created_at FROM deliveries v
               WHERE v.delivery_day = $1 AND v.tenant = $2 AND v.generation IS NULL AND NOT EXISTS (
                   SELECT FROM decisions d WHERE d.event_day = $1 AND d.tenant = $2 AND d.event_id = v.event_id
                       AND v.endpoint = ANY(d.matched)) LIMIT $3";
    for row in tx.query(sql, &params).await? {
        let (event, endpoint) = (row.parsed("event_id")?, EndpointId(row.col("endpoint")?));
        let gap = Gap::Decision { tenant, day, event, endpoint };
        if overtaken(row.at("created_at")?, decided_last) {
            missing.insert(gap.clone());
        }
        terms.missing.push(gap);
    }
    Ok(())
}

/// Compares what replays say that they made with the deliveries on record; a page's rows and its replay's count are one commit.
pub(super) async fn replays(tx: &Transaction<'_>, days: &[Day], look: &mut Look) -> Result<(), StoreError> {
    let Some(first) = days.first() else { return Ok(()) };
    let sql = "SELECT r.tenant, r.id, r.deliveries, (SELECT count(*) FROM deliveries d
                   WHERE d.generation = 'replay:' || 'rpl_' || replace(r.id::text, '-', '') AND d.delivery_day >= $2) AS recorded
               FROM replays r WHERE r.created_at >= $1";
    for row in tx.query(sql, &[&Ts(first.start()), &Date(*first)]).await? {
        let (requested, recorded) = (counted(&row, "deliveries")?, counted(&row, "recorded")?);
        if requested != recorded {
            let (tenant, replay) = (TenantId(row.col("tenant")?), ReplayId(row.col("id")?));
            look.missing.insert(Gap::Replayed { tenant, replay, requested, recorded });
        }
    }
    Ok(())
}
