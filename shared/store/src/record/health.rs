//! Detects endpoints that start to fail or that recover, in the statement that inserts attempts. Only newly inserted attempts
//! count, so that duplicates and concurrent recorders report each change once.

use postrider_model::delivery::EndpointStatus;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::limits::FAILING_AFTER_ATTEMPTS;
use postrider_model::notice::NoticeState;
use postrider_model::time::UnixMillis;

use crate::error::StoreError;
use crate::notices;
use crate::sql::{Coded, from_row};
use crate::store::RecordStore;

/// Maximum number of characters of the error text that are stored for an endpoint's last failure.
const ERROR_CHARS_MAX: usize = 500;

/// SQL that evaluates `fresh`, the newly inserted attempts. An endpoint is failing from its [`FAILING_AFTER_ATTEMPTS`]th
/// consecutive failure until its next success. An endpoint that never failed gets no row.
///
/// A batch counts once, by its first member. A batch that was too large (413) does not count, because its halves follow.
pub(super) fn follow() -> String {
    format!(
        "streaks AS (
    SELECT endpoint, success_at,
        (count(*) FILTER (WHERE failed_since))::int AS failures,
        min(started_at) FILTER (WHERE failed_since) AS since,
        max(started_at) FILTER (WHERE failed_since) AS last,
        {last_outcome}, {last_status_code}, {last_error}
    FROM (SELECT *, outcome <> 0 AND coalesce(started_at > success_at, true) AS failed_since
          FROM (SELECT endpoint, started_at, outcome, status_code, left(error, {ERROR_CHARS_MAX}) AS error,
                    max(started_at) FILTER (WHERE outcome = 0) OVER (PARTITION BY endpoint) AS success_at
                FROM fresh WHERE trigger <> 4 AND coalesce(batch_position, 1) = 1
                    AND NOT (coalesce(batch_size, 1) > 1 AND coalesce(status_code, 0) = 413)) f) f
    GROUP BY endpoint, success_at
), health AS (
    INSERT INTO endpoint_health AS h (endpoint, failures, failing_since, last_failure_at, succeeded_at, failing, turned,
        first_failure_at, last_outcome, last_status_code, last_error)
    SELECT endpoint, failures, coalesce(since, success_at), coalesce(last, success_at), success_at,
        failures >= {FAILING_AFTER_ATTEMPTS}, (failures >= {FAILING_AFTER_ATTEMPTS})::int,
        since, last_outcome, last_status_code, last_error
    FROM streaks s
    WHERE failures > 0 OR EXISTS (SELECT 1 FROM endpoint_health h WHERE h.endpoint = s.endpoint AND h.failures > 0)
    ORDER BY endpoint
    ON CONFLICT (endpoint) DO UPDATE SET (failures, failing_since, last_failure_at, succeeded_at, failing, turned,
            first_failure_at, last_outcome, last_status_code, last_error, outage_from, outage_until,
            outages_from) = (
        SELECT n.failures,
            CASE WHEN excluded.failures = 0 THEN h.failing_since
                 WHEN n.ended OR h.failures = 0 THEN excluded.failing_since
                 ELSE least(h.failing_since, excluded.failing_since) END,
            CASE WHEN excluded.failures = 0 THEN h.last_failure_at
                 ELSE greatest(h.last_failure_at, excluded.last_failure_at) END,
            coalesce(excluded.succeeded_at, h.succeeded_at),
            n.failing,
            CASE WHEN n.failing AND NOT h.failing THEN 1 WHEN h.failing AND NOT n.failing THEN 2 ELSE 0 END,
            CASE WHEN excluded.failures = 0 THEN h.first_failure_at
                 WHEN n.ended OR h.failures = 0 THEN excluded.first_failure_at
                 ELSE least(h.first_failure_at, excluded.first_failure_at) END,
            {newer_outcome}, {newer_status_code}, {newer_error},
            CASE WHEN h.failing AND NOT n.failing THEN coalesce(h.first_failure_at, h.failing_since)
                 ELSE h.outage_from END,
            CASE WHEN h.failing AND NOT n.failing THEN excluded.succeeded_at ELSE h.outage_until END,
            CASE WHEN NOT h.failing OR n.failing THEN h.outages_from
                 WHEN h.outage_until > coalesce(h.first_failure_at, h.failing_since) - interval '3 days' THEN h.outages_from
                 ELSE coalesce(h.first_failure_at, h.failing_since) END
        FROM (SELECT *, failures >= {FAILING_AFTER_ATTEMPTS} OR (h.failing AND NOT ended) AS failing
              FROM (SELECT *, CASE WHEN ended THEN excluded.failures ELSE h.failures + excluded.failures END AS failures
                    FROM (SELECT coalesce(excluded.succeeded_at > h.last_failure_at, false) AS ended) n) n) n)
    RETURNING endpoint, failures, failing_since, succeeded_at, turned
), told AS (
    INSERT INTO outbox (tenant, event_type, data, created_at, claimed_at)
    SELECT e.tenant, CASE turned WHEN 1 THEN 'endpoint.failing' ELSE 'endpoint.recovered' END,
        convert_to(json_strip_nulls(json_build_object(
            'tenant_id', 'ten_' || replace(e.tenant::text, '-', ''),
            'endpoint_id', 'ep_' || replace(e.id::text, '-', ''),
            'name', e.document ->> 'name',
            'failures', CASE turned WHEN 1 THEN h.failures END,
            'failing_since', {failing_since},
            'recovered_at', CASE turned WHEN 2 THEN {recovered_at} END))::text, 'UTF8'),
        now(), 'epoch'
    FROM health h JOIN endpoints e ON e.id = h.endpoint
    WHERE turned <> 0 AND e.deleted_at IS NULL AND e.tenant <> '{operator}'
), noticed AS (
    {noticed}
)",
        last_outcome = last("outcome"),
        last_status_code = last("status_code"),
        last_error = last("error"),
        newer_outcome = newer("last_outcome"),
        newer_status_code = newer("last_status_code"),
        newer_error = newer("last_error"),
        failing_since = instant("h.failing_since"),
        recovered_at = instant("h.succeeded_at"),
        operator = TenantId::OPERATOR.0,
        noticed = noticed(),
    )
}

/// SQL that makes notices about the endpoints due that turned.
fn noticed() -> String {
    format!(
        "INSERT INTO endpoint_notices AS n (endpoint, state, due_at)
    SELECT h.endpoint, CASE turned WHEN 1 THEN {failing} ELSE {recovered} END, now()
    FROM health h JOIN endpoints e ON e.id = h.endpoint
    WHERE turned <> 0 AND e.deleted_at IS NULL AND (e.document #> '{{notify,on}}')::jsonb ? CASE turned WHEN 1 THEN '{failing_name}' ELSE '{recovered_name}' END
    ORDER BY h.endpoint
    {on_conflict}",
        failing_name = NoticeState::Failing.as_str(),
        recovered_name = NoticeState::Recovered.as_str(),
        failing = NoticeState::Failing.code(),
        recovered = NoticeState::Recovered.code(),
        on_conflict = notices::on_conflict(),
    )
}

/// SQL for a column of the last failure in a batch.
fn last(column: &str) -> String {
    format!("(array_agg({column} ORDER BY started_at DESC) FILTER (WHERE failed_since))[1] AS last_{column}")
}

/// SQL for a column of the last failure: the value in the batch, unless the row has a later failure.
fn newer(column: &str) -> String {
    format!(
        "CASE WHEN excluded.failures = 0 OR excluded.last_failure_at < h.last_failure_at THEN h.{column}
                 ELSE excluded.{column} END"
    )
}

/// SQL for a time in the format of the API.
fn instant(column: &str) -> String {
    format!(r#"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"#)
}

/// An active endpoint whose attempts have all failed, for a day or longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongFailing {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The time of its first failure after its last success; if it was activated again later, the time of that activation.
    pub since: UnixMillis,
    /// The time of its last failure.
    pub last_failure_at: UnixMillis,
    /// Its tenant's profile.
    pub profile: String,
    /// The tenant's number of days of failures after which an endpoint is disabled. 0: never; `None`: the profile's value
    /// applies.
    pub disable_after_days: Option<u32>,
}

from_row!(LongFailing { endpoint, since: "failing_since", last_failure_at, profile, disable_after_days });

impl RecordStore {
    /// Active endpoints whose attempts have all failed for a day or longer, longest failing first, at most 1,000.
    pub async fn long_failing_endpoints(&self) -> Result<Vec<LongFailing>, StoreError> {
        let sql = "SELECT h.endpoint, h.failing_since, h.last_failure_at, t.profile, t.disable_after_days
                   FROM endpoint_health h JOIN endpoints e ON e.id = h.endpoint JOIN tenants t ON t.id = e.tenant
                   WHERE h.failing AND h.failing_since <= now() - interval '1 day'
                     AND h.last_failure_at >= h.failing_since + interval '1 day'
                     AND e.status = $1 AND e.deleted_at IS NULL
                   ORDER BY h.failing_since LIMIT 1000";
        let active = EndpointStatus::Active.code();
        self.0.fetch_all(sql, &[&active]).await
    }
}
