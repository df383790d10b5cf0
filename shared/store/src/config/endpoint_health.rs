//! Reads the health of an endpoint for people: since when it fails, why, and which events it may have missed.

use postrider_model::attempt::Outcome;
use postrider_model::endpoint::Channel;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;

use crate::error::StoreError;
use crate::sql::{FromRow, RowExt};
use crate::store::ConfigStore;

/// The last failed attempt of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// When the attempt started.
    pub at: UnixMillis,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The response's status code.
    pub status_code: Option<u16>,
    /// Why the attempt failed, as a text for people.
    pub error: Option<String>,
}

/// A period in which an endpoint failed, or in which it was inactive or disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// The start of the period.
    pub from: UnixMillis,
    /// The end of the period; `None` if it has not ended.
    pub until: Option<UnixMillis>,
}

/// A recovery of an endpoint. It delivers the events that were accepted between `from` and `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// The start of the range of events.
    pub from: UnixMillis,
    /// When the recovery was requested, which is the end of the range.
    pub at: UnixMillis,
}

/// The attempts of an endpoint since its last success, and its last outages. Test calls do not count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointHealth {
    /// Whether an attempt is on record.
    pub attempted: bool,
    /// Number of failed attempts since the last success.
    pub failures: u32,
    /// Whether `failures` has reached the number at which `endpoint.failing` is reported.
    pub failing: bool,
    /// The start of the first failed attempt since the last success; if there is none, of the first attempt in the last series
    /// of failures.
    pub first_failure_at: Option<UnixMillis>,
    /// The last failure, also of an endpoint that has recovered.
    pub last_failure: Option<LastFailure>,
    /// The last period in which the endpoint was failing, if that period has ended.
    pub failed: Option<Outage>,
    /// The start of the earliest failing period that is connected to `failed` by gaps of less than 3 days.
    pub failed_first: Option<UnixMillis>,
    /// The last period in which the endpoint was inactive or disabled, after it had been active.
    pub off: Option<Outage>,
    /// Recoveries of the last 7 days, newest first, at most 20. Leaves out cancelled recoveries, and recoveries of only some
    /// events.
    pub recoveries: Vec<Recovery>,
}

/// Reads the last failure from the columns of `endpoint_health`.
pub(crate) fn last_failure(row: &Row) -> Result<Option<LastFailure>, StoreError> {
    let outcome: Option<Outcome> = row.col("last_outcome")?;
    let Some((outcome, at)) = outcome.zip(row.col("last_failure_at")?) else { return Ok(None) };
    Ok(Some(LastFailure { at, outcome, status_code: row.col("last_status_code")?, error: row.col("last_error")? }))
}

impl FromRow for EndpointHealth {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let from: Option<UnixMillis> = row.col("outage_from")?;
        let off: Option<UnixMillis> = row.col("off_from")?;
        let (failed_until, off_until) = (row.col("outage_until")?, row.col("off_until")?);
        let (from_of, at_of): (Vec<i64>, Vec<i64>) = (row.col("recoveries_from")?, row.col("recoveries_at")?);
        let recovery = |(from, at)| Recovery { from: UnixMillis(from), at: UnixMillis(at) };
        let recoveries = from_of.into_iter().zip(at_of).map(recovery);
        Ok(Self {
            attempted: row.col("attempted")?,
            failures: row.col("failures")?,
            failing: row.col("failing")?,
            first_failure_at: row.col("first_failure_at")?,
            last_failure: last_failure(row)?,
            failed: from.map(|from| Outage { from, until: failed_until }),
            off: off.map(|from| Outage { from, until: off_until }),
            failed_first: row.col("outages_from")?,
            recoveries: recoveries.collect(),
        })
    }
}

/// SQL for the health of the endpoints `$1`. The last period in which an endpoint was off starts with the first inactive or disabled
/// version after one that was on (active or paused), and ends with the next version that is on.
const HEALTH: &str = "\
WITH wanted AS (
    SELECT id, tenant, 'ep_' || replace(id::text, '-', '') AS name FROM endpoints WHERE id = ANY($1)
)
SELECT e.id, coalesce(h.failures, 0) AS failures, coalesce(h.failing, false) AS failing,
    EXISTS (SELECT 1 FROM endpoint_hours x WHERE x.endpoint = e.id) AS attempted,
    coalesce(h.first_failure_at, h.failing_since) AS first_failure_at, h.last_failure_at, h.last_outcome,
    h.last_status_code, h.last_error, h.outage_from, h.outage_until, h.outages_from, o.off_from, o.off_until,
    r.recoveries_from, r.recoveries_at
FROM wanted e
LEFT JOIN endpoint_health h ON h.endpoint = e.id
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(since ORDER BY at DESC), '{}') AS recoveries_from,
        coalesce(array_agg(at ORDER BY at DESC), '{}') AS recoveries_at
    FROM (SELECT coalesce((selection ->> 'from')::bigint, 0) AS since, (extract(epoch FROM created_at) * 1000)::bigint AS at
          FROM replays
          WHERE tenant = e.tenant AND selection ->> 'endpoint' = e.name AND selection ->> 'mode' = 'recover'
            AND created_at > now() - interval '7 days' AND status <> 3
            AND selection ->> 'event' IS NULL AND selection ->> 'event_types' IS NULL AND selection ->> 'attributes' IS NULL
          ORDER BY created_at DESC LIMIT 20) found) r
CROSS JOIN LATERAL (
    SELECT max(version) AS last_off FROM endpoint_versions WHERE endpoint = e.id AND status NOT IN (0, 3)) f
CROSS JOIN LATERAL (
    SELECT max(version) AS last_on FROM endpoint_versions
    WHERE endpoint = e.id AND status IN (0, 3) AND version < f.last_off) n
CROSS JOIN LATERAL (
    SELECT min(created_at) FILTER (WHERE status NOT IN (0, 3) AND version > n.last_on) AS off_from,
        min(created_at) FILTER (WHERE status IN (0, 3) AND version > f.last_off) AS off_until
    FROM endpoint_versions WHERE endpoint = e.id) o";

impl ConfigStore {
    /// Returns the health of these endpoints, in no order. Leaves out ids that belong to no endpoint.
    pub async fn endpoints_health(&self, ids: &[EndpointId]) -> Result<Vec<(EndpointId, EndpointHealth)>, StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        let rows = self.0.client().await?.query(HEALTH, &[&ids]).await?;
        rows.iter().map(|row| Ok((row.col("id")?, EndpointHealth::read(row)?))).collect()
    }

    /// Returns endpoints with a rate limit: their own, that of their channel, or that of a profile in `profiles`. `ids` and `tenant` restrict the
    /// result; `None` does not restrict it.
    pub async fn rate_limited_endpoints(
        &self,
        tenant: Option<TenantId>,
        ids: Option<&[EndpointId]>,
        profiles: &[String],
    ) -> Result<Vec<EndpointId>, StoreError> {
        let sql = "SELECT e.id FROM endpoints e JOIN tenants t ON t.id = e.tenant
                   WHERE e.deleted_at IS NULL AND ($1::uuid IS NULL OR e.tenant = $1) AND ($2::uuid[] IS NULL OR e.id = ANY($2))
                     AND (e.document ->> 'rate_per_second' IS NOT NULL OR t.profile = ANY($3) OR e.document ->> 'channel' = ANY($4))";
        let limited = Channel::ALL.into_iter().filter(|channel| channel.rate_per_second_max().is_some());
        let channels: Vec<&str> = limited.map(Channel::as_str).collect();
        let ids: Option<Vec<_>> = ids.map(|ids| ids.iter().map(|id| id.0).collect());
        let rows =
            self.0.client().await?.query(sql, &[&tenant.map(|tenant| tenant.0), &ids, &profiles, &channels]).await?;
        rows.iter().map(|row| row.col("id")).collect()
    }
}
