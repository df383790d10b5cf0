//! The audit: the history balanced against itself by tenant and day, and against the sequence numbers of ingest.
//!
//! - `accepted = decided + undecided`: from events, from decisions, and from events without a decision.
//! - `matched = delivered + failed + cancelled + discarded + pending`: from decisions, and from deliveries.
//! - `requested = ...`: the replays' own counts, and the deliveries of replays; retries and tests alongside.
//! - Every sequence number that an ingest process reported as settled is on record, was given up, or belongs to a repeat.
//!
//! Queues are read in parallel, so rows about one event arrive in any order. Missing rows are therefore checked twice, seconds
//! apart, and only rows missing both times are gaps. A recorder that is behind causes no gaps: rows count as on their way until
//! younger rows overtake them.

mod days;
mod numbers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use postrider_model::ids::{EndpointId, EventId, ReplayId, TenantId};
use postrider_model::time::{Day, UnixMillis};
use postrider_store::services::LastAudit;
use postrider_store::{Store, StoreError};
use serde::Serialize;
use uuid::Uuid;

pub use self::days::{Requested, Standing, TenantDay};
pub use self::numbers::InstanceNumbers;

/// Maximum gaps that a report names. Further ones are counted.
pub const GAPS_NAMED_MAX: usize = 100;

/// Options of an audit.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// Days back from today, today included: 1 or more.
    pub days: u32,
    /// The pause before missing rows are checked again.
    pub settle: Duration,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self { days: 2, settle: Duration::from_secs(10) }
    }
}

/// Something that should be on record but is not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "missing", rename_all = "snake_case")]
pub enum Gap {
    /// Numbers of an ingest process whose events were confirmed but are not on record.
    Numbers {
        /// The process.
        instance: u64,
        /// The first of them.
        first: u64,
        /// The last of them; all between are missing.
        last: u64,
    },
    /// An event that was decided about.
    Event {
        /// Whose.
        tenant: TenantId,
        /// Its day.
        #[serde(serialize_with = "date")]
        day: Day,
        /// The event.
        event: EventId,
    },
    /// A delivery that was decided on.
    Delivery {
        /// Whose.
        tenant: TenantId,
        /// Its day.
        #[serde(serialize_with = "date")]
        day: Day,
        /// The event.
        event: EventId,
        /// For which endpoint.
        endpoint: EndpointId,
    },
    /// The decision that made a delivery.
    Decision {
        /// Whose.
        tenant: TenantId,
        /// Its day.
        #[serde(serialize_with = "date")]
        day: Day,
        /// The event.
        event: EventId,
        /// The delivery's endpoint.
        endpoint: EndpointId,
    },
    /// Deliveries of a replay.
    Replayed {
        /// Whose.
        tenant: TenantId,
        /// The replay.
        replay: ReplayId,
        /// Deliveries that it says it made.
        requested: u64,
        /// Those on record.
        recorded: u64,
    },
}

impl Gap {
    /// How many things are missing.
    fn size(&self) -> u64 {
        match self {
            Self::Numbers { first, last, .. } => last.saturating_sub(*first).saturating_add(1),
            Self::Replayed { requested, recorded, .. } => requested.abs_diff(*recorded),
            Self::Event { .. } | Self::Delivery { .. } | Self::Decision { .. } => 1,
        }
    }
}

/// The report of an audit.
#[derive(Debug, Clone, Serialize)]
pub struct AuditReport {
    /// The audit.
    pub id: Uuid,
    /// When it ran.
    #[serde(serialize_with = "rfc3339")]
    pub ran_at: UnixMillis,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// The days that were counted.
    #[serde(serialize_with = "dates")]
    pub days: Vec<Day>,
    /// Whether every equation holds and no number is missing.
    pub conserved: bool,
    /// How many things are missing.
    pub gaps_total: u64,
    /// The first of them, at most [`GAPS_NAMED_MAX`].
    pub gaps: Vec<Gap>,
    /// By tenant and day.
    pub tenants: Vec<TenantDay>,
    /// By ingest process.
    pub instances: Vec<InstanceNumbers>,
}

impl AuditReport {
    /// Unbalanced tenant days, including those without a named gap.
    pub fn unbalanced(&self) -> u64 {
        self.tenants.iter().filter(|day| !day.conserved).count() as u64
    }
}

fn rfc3339<S: serde::Serializer>(at: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_millis())
}

fn date<S: serde::Serializer>(day: &Day, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(day)
}

fn dates<S: serde::Serializer>(days: &[Day], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(days.iter().map(ToString::to_string))
}

/// The findings in one snapshot of the database.
#[derive(Default)]
struct Findings {
    tenants: BTreeMap<(Day, TenantId), TenantDay>,
    instances: Vec<InstanceNumbers>,
    /// Missing rows that younger rows have overtaken.
    missing: BTreeSet<Gap>,
}

/// Runs an audit and stores its result.
///
/// # Errors
/// The database's; there is no result.
pub async fn run(store: &Store, options: &AuditOptions) -> Result<AuditReport, StoreError> {
    let (started, ran_at) = (Instant::now(), UnixMillis::now());
    let back = i32::try_from(options.days.max(1)).unwrap_or(i32::MAX).saturating_sub(1);
    let first = ran_at.day().plus_days(back.saturating_neg());
    let mut days = store.record().partition_days().await?;
    days.retain(|day| (first..=ran_at.day()).contains(day));

    let mut findings = examine(store, &days).await?;
    let mut gaps = std::mem::take(&mut findings.missing);
    if !gaps.is_empty() {
        tokio::time::sleep(options.settle).await;
        findings = examine(store, &days).await?;
        gaps = numbers::in_both(&gaps, &findings.missing);
    }
    let mut tenants: Vec<TenantDay> = findings.tenants.into_values().collect();
    tenants.iter_mut().for_each(|day| day.settle(&gaps));
    let report = AuditReport {
        id: Uuid::now_v7(),
        ran_at,
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        days,
        conserved: gaps.is_empty() && tenants.iter().all(|day| day.conserved),
        gaps_total: gaps.iter().map(Gap::size).sum(),
        gaps: gaps.into_iter().take(GAPS_NAMED_MAX).collect(),
        tenants,
        instances: findings.instances,
    };
    let json = serde_json::to_value(&report).unwrap_or_default();
    store.history().save_audit(report.id, &LastAudit { ran_at, conserved: report.conserved, report: json }).await?;
    Ok(report)
}

/// Examines the days in one snapshot.
async fn examine(store: &Store, days: &[Day]) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(findings) };
    let snapshot = store.history().audit_snapshot().await?;
    for day in days {
        days::examine(&snapshot, *day, &mut findings).await?;
    }
    days::examine_replays(&snapshot, *first, &mut findings).await?;
    numbers::examine(&snapshot, (*first, *last), &mut findings).await?;
    Ok(findings)
}
