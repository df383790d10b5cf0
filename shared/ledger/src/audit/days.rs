//! The equations of a tenant's day, and the rows that are missing where an equation does not hold.

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::TenantId;
use postrider_model::time::{Day, UnixMillis};
use postrider_store::StoreError;
use postrider_store::audit::{AuditSnapshot, DayCounts};
use serde::Serialize;

use super::{Findings, Gap};

/// If the youngest row of its kind is younger than a missing row by more than this time, the missing row is overtaken, not on
/// its way.
const OVERTAKEN_AFTER: Duration = Duration::from_secs(60);

/// Numbers of deliveries by status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Standing {
    /// Delivered.
    pub delivered: u64,
    /// Failed: no attempt follows.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Discarded.
    pub discarded: u64,
    /// Pending.
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

    /// The number of deliveries of any status.
    pub fn total(&self) -> u64 {
        self.delivered + self.failed + self.cancelled + self.discarded + self.pending
    }
}

/// Deliveries of a day that were requested, not caused by events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Requested {
    /// Number of deliveries requested by retries.
    pub retries: u64,
    /// Number of deliveries requested by replays.
    pub replays: u64,
    /// Number of deliveries requested by test calls.
    pub tests: u64,
    /// The deliveries by status.
    #[serde(flatten)]
    pub standing: Standing,
}

/// The counts of one tenant and day, which the equations compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantDay {
    /// The tenant.
    pub tenant: TenantId,
    /// The day on which the events were accepted, or on which the requested deliveries were created.
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
    /// Deliveries on record that events caused.
    #[serde(flatten)]
    pub standing: Standing,
    /// Deliveries on record that were requested.
    pub requested: Requested,
    /// Number of missing events and decisions that are still on their way, although a later row (their decision or delivery) is
    /// on record.
    pub on_the_way: u64,
    #[serde(skip)]
    missing: Vec<Gap>,
}

impl TenantDay {
    fn new(tenant: TenantId, day: Day, counts: DayCounts) -> Self {
        let mut standing = Standing::default();
        for (status, count) in counts.deliveries {
            standing.add(status, count);
        }
        let mut requested = Requested::default();
        for (kind, status, count) in counts.requested {
            match kind.as_str() {
                "retry" => requested.retries += count,
                "replay" => requested.replays += count,
                _ => requested.tests += count,
            }
            requested.standing.add(status, count);
        }
        Self {
            tenant,
            day,
            conserved: true,
            accepted: counts.accepted,
            decided: counts.decided,
            undecided: counts.undecided,
            matched: counts.matched,
            standing,
            requested,
            on_the_way: 0,
            missing: Vec::new(),
        }
    }

    fn adds_up(&self) -> bool {
        self.accepted + self.missing_events() == self.decided + self.undecided
            && self.matched + self.missing_decisions() == self.standing.total()
    }

    fn missing_events(&self) -> u64 {
        self.count_missing(|gap| matches!(gap, Gap::Event { .. }))
    }

    fn missing_decisions(&self) -> u64 {
        self.count_missing(|gap| matches!(gap, Gap::Decision { .. }))
    }

    fn count_missing(&self, kind: impl Fn(&Gap) -> bool) -> u64 {
        self.missing.iter().filter(|gap| kind(gap)).count() as u64
    }

    /// Counts missing rows that are not in `gaps` as on their way, and corrects the equations by their number.
    pub(super) fn apply_gaps(&mut self, gaps: &BTreeSet<Gap>) {
        self.missing.retain(|missing| !gaps.contains(missing));
        self.conserved = self.adds_up();
        let (events, decisions) = (self.missing_events(), self.missing_decisions());
        self.decided = self.decided.saturating_sub(events);
        self.matched += decisions;
        self.on_the_way = events + decisions;
    }
}

/// Counts one day, and looks for missing rows where an equation does not hold.
pub(super) async fn examine(snapshot: &AuditSnapshot, day: Day, findings: &mut Findings) -> Result<(), StoreError> {
    let rows = snapshot.count_day(day).await?;
    let reported_last = snapshot.last_ingest_report().await?;
    for (tenant, counts) in rows.tenants {
        let mut terms = TenantDay::new(tenant, day, counts);
        if !terms.adds_up() {
            find_missing(snapshot, &mut terms, (reported_last, rows.decided_last), &mut findings.missing).await?;
        }
        findings.tenants.insert((day, tenant), terms);
    }
    Ok(())
}

/// Lists the missing rows of an unbalanced day. A missing row is a gap if the second check does not find it either, although
/// rows of later events are on record.
async fn find_missing(
    snapshot: &AuditSnapshot,
    terms: &mut TenantDay,
    (reported_last, decided_last): (Option<UnixMillis>, Option<UnixMillis>),
    gaps: &mut BTreeSet<Gap>,
) -> Result<(), StoreError> {
    let (tenant, day) = (terms.tenant, terms.day);
    let overtaken =
        |at: UnixMillis, last: Option<UnixMillis>| last.is_some_and(|last| at.until(last) > OVERTAKEN_AFTER);
    for (event, decided_at) in snapshot.decisions_without_event(tenant, day).await? {
        let gap = Gap::Event { tenant, day, event };
        if overtaken(decided_at, reported_last) {
            gaps.insert(gap.clone());
        }
        terms.missing.push(gap);
    }
    // One transaction writes a decision and its deliveries. So if the decision is on record, a missing delivery is never on its
    // way.
    for (event, endpoint) in snapshot.matches_without_delivery(tenant, day).await? {
        gaps.insert(Gap::Delivery { tenant, day, event, endpoint });
    }
    for (event, endpoint, created_at) in snapshot.deliveries_without_decision(tenant, day).await? {
        let gap = Gap::Decision { tenant, day, event, endpoint };
        if overtaken(created_at, decided_last) {
            gaps.insert(gap.clone());
        }
        terms.missing.push(gap);
    }
    Ok(())
}

/// Compares each replay's own count with its deliveries on record. One commit writes the rows of a page and the replay's count.
pub(super) async fn examine_replays(
    snapshot: &AuditSnapshot,
    first: Day,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    for counts in snapshot.replays_since(first).await? {
        let (tenant, replay, requested, recorded) = (counts.tenant, counts.replay, counts.requested, counts.recorded);
        if requested != recorded {
            findings.missing.insert(Gap::Replayed { tenant, replay, requested, recorded });
        }
    }
    Ok(())
}
