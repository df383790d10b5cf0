//! The row of an endpoint that is tended, and what is set aside for it.

use std::time::{Duration, Instant};

use deadpool_postgres::Transaction;
use postrider_model::delivery::{DeliveryStatus, EndpointStatus};
use postrider_model::limits::SET_ASIDE_OVERHEAD_BYTES;
use postrider_model::tenant_limits::TenantLimits;
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::SetAsideTotals;
use super::state::{PauseState, SetAsideDelivery, TendLimits};
use super::tend::Sorted;
use crate::config::EndpointDocument;
use crate::error::StoreError;
use crate::history::DELIVERY_COLUMNS;
use crate::locks::low_cost;
use crate::reconcile::LostDelivery;
use crate::sql::{Coded, FromRow, RowExt, Ts, signed};
use crate::store::Store;

/// Timeout of a count. A tenant's limit of bytes bounds what is counted.
const COUNT_MAX: Duration = Duration::from_secs(60);
/// Counts of an endpoint take at most 1/`COUNT_SHARE` of the time.
const COUNT_SHARE: u32 = 20;
/// Minimum time between two counts of an endpoint.
pub(super) const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Time between two looks at an endpoint that was not paused for long, for deliveries that are written late.
const LOOK_LATE: Duration = Duration::from_secs(300);
/// A look that is later than this releases what the endpoint would have got in the meantime.
const CATCH_UP_AFTER: Duration = Duration::from_secs(1);
/// Minimum number of deliveries that are read for a page, so that one whose event is not on record yet does not hold up the others.
const READ_AT_LEAST: u32 = 50;
/// Deliveries are recorded within this time after their decisions, also after an outage of the recorders.
const RECORDED_WITHIN: Duration = Duration::from_secs(86_400);
/// For this time after an edit, an endpoint is looked at as often as a paused one.
const EDITED_RECENTLY: Duration = Duration::from_secs(600);

/// The endpoint's row in `endpoint_pauses` and the rows that belong to it.
pub(super) struct Tending {
    pub(super) state: PauseState,
    pub(super) document: Option<EndpointDocument>,
    pub(super) totals: SetAsideTotals,
    limits: TenantLimits,
    pub(super) count_ms: u64,
    /// The maximum number of deliveries per second that the endpoint gets; `None`: no limit.
    pub(super) rate: Option<f64>,
    /// How late this look is.
    late: Duration,
    updated_at: Option<UnixMillis>,
    /// When the endpoint or its tenant was deleted.
    deleted_at: Option<UnixMillis>,
    /// Whether this look counted what is set aside.
    counted: bool,
}

pub(super) const NEXT: &str = "\
SELECT p.endpoint, p.tenant, p.look_at, p.skip_before, p.deliveries, p.bytes, p.oldest_at, p.counted_at, p.count_ms,
    e.status, e.document, e.updated_at, t.limits, t.profile,
    coalesce((SELECT deleted_at FROM endpoints gone WHERE gone.id = p.endpoint), t.deleted_at) AS deleted_at
FROM endpoint_pauses p JOIN tenants t ON t.id = p.tenant
LEFT JOIN endpoints e ON e.id = p.endpoint AND e.deleted_at IS NULL AND t.deleted_at IS NULL
WHERE p.look_at <= $1 ORDER BY p.look_at, p.endpoint LIMIT 1 FOR UPDATE OF p SKIP LOCKED";

impl Tending {
    pub(super) fn read(row: &Row, limits: TendLimits, now: UnixMillis) -> Result<Self, StoreError> {
        let of_tenant: TenantLimits = row.col("limits")?;
        let document: Option<EndpointDocument> = row.col("document")?;
        // The last day of the retention is left out, so that what is over the limit ends before its rows are dropped.
        let days = of_tenant.paused_days().min(limits.retention_days.saturating_sub(1).max(1));
        let state = PauseState {
            endpoint: row.col("endpoint")?,
            tenant: row.col("tenant")?,
            status: row.col("status")?,
            skip_before: row.col("skip_before")?,
            oldest_allowed: now.minus(Duration::from_secs(u64::from(days) * 86_400)),
            excess_bytes: 0,
            rate_per_second: document.as_ref().and_then(|document| document.rate_per_second),
            rate_per_second_max: of_tenant.rate_per_second_max,
            profile: row.col("profile")?,
            now,
        };
        Ok(Self {
            state,
            document,
            totals: SetAsideTotals::read(row)?,
            limits: of_tenant,
            count_ms: row.col("count_ms")?,
            rate: None,
            late: row.col::<UnixMillis>("look_at")?.until(now),
            updated_at: row.col("updated_at")?,
            deleted_at: row.col("deleted_at")?,
            counted: false,
        })
    }

    /// Counts what is set aside, unless it was counted recently. A count that takes too long keeps the earlier totals; the next
    /// one is as late as after a count of that duration. It has a transaction of its own, because a timeout ends the transaction.
    pub(super) async fn count(&mut self, store: &Store) -> Result<(), StoreError> {
        let every = COUNT_EVERY.max(Duration::from_millis(self.count_ms) * COUNT_SHARE);
        if self.totals.counted_at.is_some_and(|at| at.until(self.state.now) < every) {
            return Ok(());
        }
        let started = Instant::now();
        let mut client = store.core().client().await?;
        let tx = client.transaction().await?;
        low_cost(&tx, COUNT_MAX).await?;
        let sql = "SELECT count(*) AS deliveries, coalesce(sum(set_aside_bytes + $2::bigint), 0)::bigint AS bytes,
                       min(accepted_at) AS oldest_at, $3::timestamptz AS counted_at
                   FROM deliveries WHERE endpoint = $1 AND set_aside_bytes IS NOT NULL";
        let (overhead, now) = (signed(SET_ASIDE_OVERHEAD_BYTES), Ts(self.state.now));
        match tx.query_one(sql, &[&self.state.endpoint.0, &overhead, &now]).await {
            Ok(row) => (self.totals, self.counted) = (SetAsideTotals::read(&row)?, true),
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                tracing::warn!(endpoint = %self.state.endpoint, "counting what waits for a paused endpoint took too long; its earlier count stays");
                self.totals.counted_at = Some(self.state.now);
            }
            Err(error) => return Err(error.into()),
        }
        self.count_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// The bytes over the tenant's limit that this endpoint has to give up: all of them if no other endpoint of the tenant has
    /// more bytes.
    pub(super) async fn excess(&self, tx: &Transaction<'_>) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(sum(bytes), 0)::bigint AS all_bytes, coalesce(max(bytes), 0) AS most
                   FROM endpoint_pauses WHERE tenant = $1 AND endpoint <> $2";
        let row = tx.query_one(sql, &[&self.state.tenant.0, &self.state.endpoint.0]).await?;
        let (others, most): (u64, u64) = (row.col("all_bytes")?, row.col("most")?);
        let excess = others.saturating_add(self.totals.bytes).saturating_sub(self.limits.paused_bytes());
        Ok(if self.totals.bytes >= most { excess } else { 0 })
    }

    /// Whether everything that is set aside stays so: the endpoint is paused, and nothing is skipped or over a limit.
    fn keeps_all(&self) -> bool {
        let (state, oldest) = (&self.state, self.totals.oldest_at);
        let is_over_days = oldest.is_some_and(|oldest| oldest < state.oldest_allowed);
        state.status == Some(EndpointStatus::Paused) && !self.skips() && !is_over_days && state.excess_bytes == 0
    }

    /// Whether a person ordered to skip deliveries that may still be set aside.
    fn skips(&self) -> bool {
        self.state.skip_before.is_some_and(|skip| self.totals.oldest_at.is_none_or(|oldest| oldest <= skip))
    }

    /// Reads the first deliveries that are set aside, by the acceptance of their events, if one of them may be released or
    /// discarded.
    pub(super) async fn page(
        &self,
        tx: &Transaction<'_>,
        limits: TendLimits,
    ) -> Result<Vec<SetAsideDelivery>, StoreError> {
        let state = &self.state;
        if self.keeps_all() {
            return Ok(Vec::new());
        }
        let limit = match state.status {
            Some(EndpointStatus::Active) if !self.skips() => self.releases_max(limits).max(READ_AT_LEAST),
            _ => limits.discards,
        };
        let version: i64 = tx.query_one("SELECT version FROM config_version", &[]).await?.col("version")?;
        let columns: Vec<String> = DELIVERY_COLUMNS.split(", ").map(|name| format!("d.{name}")).collect();
        let sql = format!(
            "SELECT {}, d.reported_at AS set_aside_at, (d.standing >> 8) & 65535 > 0 AND d.reported_at > $4::timestamptz - interval '1 hour' AS may_have_copy,
                 e.data IS NOT NULL AS has_payload, e.occurred_at, e.lane, $5::boolean AS has_endpoint,
                 c.config_version AS decided_version, $3::bigint AS current_version,
                 (SELECT count(DISTINCT a.number) FROM attempts a WHERE a.delivery_id = d.id
                     AND a.delivery_day = d.delivery_day AND a.trigger = 2 AND a.number > 1) AS extra,
                 -- What is set aside is in no line.
                 NULL::text AS key, NULL::bigint AS run
             FROM (SELECT * FROM deliveries WHERE endpoint = $1 AND set_aside_bytes IS NOT NULL AND status = $6
                   ORDER BY accepted_at, id LIMIT $2) d
             LEFT JOIN events e ON e.tenant = d.tenant AND e.id = d.event_id AND e.event_day = d.event_day
             LEFT JOIN decisions c ON c.tenant = d.tenant AND c.event_id = d.event_id AND c.event_day = d.event_day
             ORDER BY d.accepted_at, d.id",
            columns.join(", ")
        );
        let has_endpoint = state.status.is_some();
        let (now, pending) = (Ts(state.now), DeliveryStatus::Pending.code());
        let rows =
            tx.query(&sql, &[&state.endpoint.0, &i64::from(limit), &version, &now, &has_endpoint, &pending]).await?;
        let read = |row: &Row| {
            let (set_aside_at, may_have_copy) = (row.col("set_aside_at")?, row.col("may_have_copy")?);
            Ok(SetAsideDelivery { delivery: LostDelivery::read(row)?, set_aside_at, may_have_copy })
        };
        rows.iter().map(read).collect()
    }

    /// Maximum number of deliveries that this look releases: as many as the endpoint's rate allows until the next look. Small
    /// pages keep the order, because deliveries of one page may overtake each other. A late look makes up for its delay.
    pub(super) fn releases_max(&self, limits: TendLimits) -> u32 {
        let Some(rate) = self.rate else { return limits.releases };
        let span = if self.late < CATCH_UP_AFTER { limits.pause } else { self.late };
        let allowed = (rate * span.as_secs_f64()).ceil().clamp(1.0, f64::from(u32::MAX));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range of u32")]
        let allowed = allowed as u32;
        limits.releases.min(allowed)
    }

    /// The pause until the next look at the endpoint, after a look that changed nothing.
    fn idle(&self) -> Duration {
        let state = &self.state;
        let recent = self.updated_at.is_some_and(|at| at.until(state.now) < EDITED_RECENTLY);
        let is_late = state.status != Some(EndpointStatus::Paused) && !recent && self.totals.deliveries == 0;
        if is_late { LOOK_LATE } else { COUNT_EVERY }
    }

    /// Whether the endpoint was deleted so long ago that no delivery is recorded for it any more, and none is set aside.
    pub(super) fn is_over(&self, sorted: &Sorted) -> bool {
        let long_ago = self.deleted_at.is_none_or(|at| at.until(self.state.now) > RECORDED_WITHIN);
        self.state.status.is_none() && long_ago && self.counted && self.totals.deliveries == 0 && sorted.len() == 0
    }

    /// The pause until the next look, after a look with this result. The endpoint gets no more deliveries at once than its rate
    /// allows.
    pub(super) fn pause(&self, sorted: &Sorted, left: u64, limits: TendLimits) -> Duration {
        let has_no_room = limits.releases == 0 && self.state.status == Some(EndpointStatus::Active) && left > 0;
        if sorted.len() == 0 && !has_no_room {
            return self.idle();
        }
        let seconds = self.rate.map_or(0.0, |rate| sorted.releases.len() as f64 / rate.max(0.001));
        Duration::try_from_secs_f64(seconds).unwrap_or(LOOK_LATE).clamp(limits.pause, LOOK_LATE)
    }
}
