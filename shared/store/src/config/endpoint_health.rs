//! Reads what people need to know about an endpoint that fails: since when, why, and which events it may have missed.

use postrider_model::attempt::Outcome;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;

use crate::error::StoreError;
use crate::sql::{FromRow, RowExt};
use crate::store::ConfigStore;

/// The last failed attempt of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// When it started.
    pub at: UnixMillis,
    /// How it ended.
    pub outcome: Outcome,
    /// The response's status code.
    pub status_code: Option<u16>,
    /// Why it failed, as a text for people.
    pub error: Option<String>,
}

/// A time in which an endpoint was failing, or in which it was inactive or disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Its start.
    pub from: UnixMillis,
    /// Its end; `None`: it continues.
    pub until: Option<UnixMillis>,
}

/// A recovery of an endpoint: it delivers all events accepted since a time, until it was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// The acceptance of the first event that it delivers.
    pub from: UnixMillis,
    /// When it was requested.
    pub at: UnixMillis,
}

/// The attempts of an endpoint since its last success, and its last outages. Test calls do not count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointHealth {
    /// Whether an attempt is on record.
    pub attempted: bool,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// Whether there were enough of them to report `endpoint.failing`.
    pub failing: bool,
    /// The first of them; if there are none, the first of the last series of failures.
    pub first_failure_at: Option<UnixMillis>,
    /// The last failure, also of an endpoint that has recovered.
    pub last_failure: Option<LastFailure>,
    /// The last time in which it was failing, if that has ended.
    pub failed: Option<Outage>,
    /// The start of the first of the times before it in which it was failing with less than 3 days between them.
    pub failed_first: Option<UnixMillis>,
    /// The last time in which it was inactive or disabled, after it had been active.
    pub off: Option<Outage>,
    /// Recoveries of the last 7 days that were not cancelled and not narrowed to some events, newest first, at most 20.
    pub recoveries: Vec<Recovery>,
}

impl FromRow for EndpointHealth {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let outcome: Option<Outcome> = row.col("last_outcome")?;
        let last = outcome.zip(row.col("last_failure_at")?);
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
            last_failure: match last {
                Some((outcome, at)) => Some(LastFailure {
                    at,
                    outcome,
                    status_code: row.col("last_status_code")?,
                    error: row.col("last_error")?,
                }),
                None => None,
            },
            failed: from.map(|from| Outage { from, until: failed_until }),
            off: off.map(|from| Outage { from, until: off_until }),
            failed_first: row.col("outages_from")?,
            recoveries: recoveries.collect(),
        })
    }
}

/// SQL for the health of the endpoints `$1`. The last time in which an endpoint was off lies between its last version that was
/// active before a version that was not, and the next active version.
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
    SELECT max(version) AS last_off FROM endpoint_versions WHERE endpoint = e.id AND status <> 0) f
CROSS JOIN LATERAL (
    SELECT max(version) AS last_on FROM endpoint_versions
    WHERE endpoint = e.id AND status = 0 AND version < f.last_off) n
CROSS JOIN LATERAL (
    SELECT min(created_at) FILTER (WHERE status <> 0 AND version > n.last_on) AS off_from,
        min(created_at) FILTER (WHERE status = 0 AND version > f.last_off) AS off_until
    FROM endpoint_versions WHERE endpoint = e.id) o";

impl ConfigStore {
    /// The health of these endpoints, in no order. Leaves out ids that are no endpoint.
    pub async fn endpoints_health(&self, ids: &[EndpointId]) -> Result<Vec<(EndpointId, EndpointHealth)>, StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        let rows = self.0.client().await?.query(HEALTH, &[&ids]).await?;
        rows.iter().map(|row| Ok((row.col("id")?, EndpointHealth::read(row)?))).collect()
    }

    /// Endpoints whose rate is limited: by themselves, or by a profile of `profiles`. Of these ids, or else of this tenant; with
    /// neither, of all tenants.
    pub async fn rate_limited_endpoints(
        &self,
        tenant: Option<TenantId>,
        ids: Option<&[EndpointId]>,
        profiles: &[String],
    ) -> Result<Vec<EndpointId>, StoreError> {
        let sql = "SELECT e.id FROM endpoints e JOIN tenants t ON t.id = e.tenant
                   WHERE e.deleted_at IS NULL AND ($1::uuid IS NULL OR e.tenant = $1) AND ($2::uuid[] IS NULL OR e.id = ANY($2))
                     AND (e.document ->> 'rate_per_second' IS NOT NULL OR t.profile = ANY($3))";
        let ids: Option<Vec<_>> = ids.map(|ids| ids.iter().map(|id| id.0).collect());
        let rows = self.0.client().await?.query(sql, &[&tenant.map(|tenant| tenant.0), &ids, &profiles]).await?;
        rows.iter().map(|row| row.col("id")).collect()
    }
}
