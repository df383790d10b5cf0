//! The audit: balances the history of each tenant and day, and checks the sequence numbers of ingest.
//!
//! - `accepted = decided + undecided`: counted from events, from decisions, and from events without a decision.
//! - `matched = delivered + failed + cancelled + discarded + pending`: counted from decisions, and from deliveries.
//! - `requested = ...`: the replays' own counts, and the deliveries of replays. Retries and tests are only counted.
//! - Every settled sequence number that an ingest process reported belongs to a recorded event, was given up, or belongs to
//!   another publish of an event that is recorded under a different number.
//!
//! The recorder reads queues in parallel, so rows about one event arrive in any order. The audit therefore looks for missing
//! rows twice, seconds apart. Only rows that are missing both times are gaps. A recorder with a backlog causes no gaps: a
//! missing row counts as on its way until younger rows overtake it.

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

/// Maximum number of gaps that a report lists. Further gaps are only counted.
pub const GAPS_NAMED_MAX: usize = 100;

/// Options of an audit.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// The number of days to examine, 1 or more. The last of them is today.
    pub days: u32,
    /// The pause between the two checks for missing rows.
    pub recheck_after: Duration,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self { days: 2, recheck_after: Duration::from_secs(10) }
    }
}

/// A row, or a range of rows, that is not on record but should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "missing", rename_all = "snake_case")]
pub enum Gap {
    /// Settled sequence numbers of one ingest process that have no event on record.
    Numbers {
        /// The process.
        instance: u64,
        /// The first missing number.
        first: u64,
        /// The last missing number (inclusive); all numbers between `first` and `last` are missing too.
        last: u64,
    },
    /// An event that has a decision but is not on record.
    Event {
        /// The event's tenant.
        tenant: TenantId,
        /// The event's day.
        #[serde(serialize_with = "date")]
        day: Day,
        /// The event.
        event: EventId,
    },
    /// A delivery that is not on record, although its decision is.
    Delivery {
        /// The delivery's tenant.
        tenant: TenantId,
        /// The event's day.
        #[serde(serialize_with = "date")]
        day: Day,
        /// The event.
        event: EventId,
        /// The delivery's endpoint.
        endpoint: EndpointId,
    },
    /// A decision that is not on record, although a delivery of it is.
    Decision {
        /// The delivery's tenant.
        tenant: TenantId,
        /// The event's day.
        #[serde(serialize_with = "date")]
        day: Day,
        /// The event.
        event: EventId,
        /// The delivery's endpoint.
        endpoint: EndpointId,
    },
    /// The number of a replay's deliveries differs from the replay's own count.
    Replayed {
        /// The replay's tenant.
        tenant: TenantId,
        /// The replay.
        replay: ReplayId,
        /// Number of deliveries that the replay counted.
        requested: u64,
        /// Number of the replay's deliveries on record.
        recorded: u64,
    },
}

impl Gap {
    /// The number of missing rows.
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
    /// The id of the audit.
    pub id: Uuid,
    /// When the audit ran.
    #[serde(serialize_with = "rfc3339")]
    pub ran_at: UnixMillis,
    /// The duration of the audit, in milliseconds.
    pub took_ms: u64,
    /// The days that were counted.
    #[serde(serialize_with = "dates")]
    pub days: Vec<Day>,
    /// Whether every equation holds and no number is missing.
    pub conserved: bool,
    /// The number of missing rows.
    pub gaps_total: u64,
    /// The first gaps, at most [`GAPS_NAMED_MAX`].
    pub gaps: Vec<Gap>,
    /// The equations by tenant and day.
    pub tenants: Vec<TenantDay>,
    /// The sequence numbers by ingest process.
    pub instances: Vec<InstanceNumbers>,
}

impl AuditReport {
    /// The number of unbalanced days, summed over tenants, including days without a listed gap.
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
    /// Missing rows that younger rows have overtaken, and missing rows that cannot be on their way.
    missing: BTreeSet<Gap>,
}

/// Runs an audit and stores its result.
///
/// # Errors
/// An error of the database; then the audit has no result.
pub async fn run(store: &Store, options: &AuditOptions) -> Result<AuditReport, StoreError> {
    let (started, ran_at) = (Instant::now(), UnixMillis::now());
    let back = i32::try_from(options.days.max(1)).unwrap_or(i32::MAX).saturating_sub(1);
    let first = ran_at.day().plus_days(back.saturating_neg());
    let mut days = store.record().partition_days().await?;
    days.retain(|day| (first..=ran_at.day()).contains(day));

    let mut findings = examine(store, &days).await?;
    let mut gaps = std::mem::take(&mut findings.missing);
    if !gaps.is_empty() {
        tokio::time::sleep(options.recheck_after).await;
        findings = examine(store, &days).await?;
        gaps = numbers::in_both(&gaps, &findings.missing);
    }
    let mut tenants: Vec<TenantDay> = findings.tenants.into_values().collect();
    tenants.iter_mut().for_each(|day| day.apply_gaps(&gaps));
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

/// Examines the days in one snapshot of the database.
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
