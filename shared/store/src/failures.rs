//! Counts of failed attempts by cause. The recorder maintains their tables `endpoint_failures`, `endpoint_failure_days` and
//! `tenant_failures`.
//!
//! # What it promises
//! A read scans one row for each cause that occurred in an hour of the endpoint or tenant, never attempts. To count the endpoints
//! of a cause, it scans one row for each cause, endpoint and day. Each failed attempt counts once, in the hour in which it started. Test calls do not count. The attempts of a deleted endpoint still
//! count for its tenant. Attempts that a release without this table recorded are not in it.

use postrider_model::attempt::Outcome;
use postrider_model::stats::IntervalLength;
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::error::StoreError;
use crate::record::WHOLE;
use crate::sql::{Coded, FromRow, RowExt, Ts, from_row};
use crate::stats::{StatsOf, interval_of_hour};
use crate::store::History;

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FailureCause {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The status code of the response; `None` without a response.
    pub status_code: Option<u16>,
}

/// The failed attempts with one cause in a range of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CauseCounts {
    /// The cause.
    pub cause: FailureCause,
    /// The number of attempts.
    pub attempts: u64,
    /// The number of endpoints with such an attempt.
    pub endpoints: u64,
    /// When the first of them started.
    pub first_at: UnixMillis,
    /// When the last of them started.
    pub last_at: UnixMillis,
}

impl FromRow for CauseCounts {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            cause: FailureCause { outcome: row.col("outcome")?, status_code: row.col("status_code")? },
            attempts: row.col("attempts")?,
            endpoints: row.col("endpoints")?,
            first_at: row.col("first_at")?,
            last_at: row.col("last_at")?,
        })
    }
}

/// The failed attempts with one cause, or with other causes, in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalFailures {
    /// When the interval started.
    pub at: UnixMillis,
    /// The index of the cause in the list that was asked for, from 1; `None` for all other causes together.
    pub cause: Option<u64>,
    /// The number of attempts.
    pub attempts: u64,
}

from_row!(IntervalFailures { at, cause, attempts });

/// The tables with causes by hour: of endpoints, and of tenants.
const TABLES: (&str, &str) = ("endpoint_failures", "tenant_failures");

/// SQL for the causes in the range from `$1` to `$2`, each with the number of its endpoints. `of_endpoints` restricts the endpoints.
///
/// A day's first and last failure tell whether a cause occurred in the part of the day that is in the range, unless the range
/// begins and ends on that day. The hours of such a short range are read instead.
fn endpoints_by_cause(of_endpoints: &str, from: UnixMillis, to: UnixMillis) -> String {
    let day = IntervalLength::Day.millis();
    let (table, in_range) = if from.0.div_euclid(day) == (to.0 - 1).div_euclid(day) {
        ("endpoint_failures", "hour >= $1 AND hour < $2".to_owned())
    } else {
        let first_day = format!("date_bin('1 day', $1::timestamptz, '{WHOLE}')");
        ("endpoint_failure_days", format!("day >= {first_day} AND day < $2 AND last_at >= $1 AND first_at < $2"))
    };
    format!(
        "SELECT outcome, status_code, count(DISTINCT endpoint) AS endpoints
         FROM {table} WHERE {in_range} {of_endpoints} GROUP BY outcome, status_code"
    )
}

impl History {
    /// Returns the causes of the attempts that failed in the hours that start at or after `from` and before `to`, the most frequent
    /// first.
    pub async fn failure_causes(
        &self,
        of: StatsOf,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<CauseCounts>, StoreError> {
        let (table, whose, id) = of.by_hour(TABLES);
        let (of_endpoints, _) = of.of_endpoints();
        let sql = format!(
            "SELECT outcome, nullif(status_code, 0) AS status_code, attempts, endpoints, first_at, last_at
             FROM (
                 SELECT outcome, status_code, sum(attempts)::bigint AS attempts, min(first_at) AS first_at, max(last_at) AS last_at
                 FROM {table} WHERE hour >= $1 AND hour < $2 {whose} GROUP BY outcome, status_code
             ) causes
             JOIN ({}) counted USING (outcome, status_code)
             ORDER BY attempts DESC, outcome, causes.status_code",
            endpoints_by_cause(of_endpoints, from, to)
        );
        let (from, to) = (Ts(from), Ts(to));
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&from, &to];
        params.extend(id.as_ref().map(|id| id as &(dyn ToSql + Sync)));
        self.0.fetch_all(&sql, &params).await
    }

    /// Returns the failed attempts in each hour or day that starts at or after `from` and before `to`, oldest first: those of each
    /// of these causes, and those of all other causes together. Intervals without failures are left out. Intervals of a minute are
    /// counted as hours. `from` must be the start of an interval.
    pub async fn failures_over_time(
        &self,
        of: StatsOf,
        by: IntervalLength,
        (from, to): (UnixMillis, UnixMillis),
        causes: &[FailureCause],
    ) -> Result<Vec<IntervalFailures>, StoreError> {
        let outcomes: Vec<i16> = causes.iter().map(|cause| cause.outcome.code()).collect();
        let code = |cause: &FailureCause| cause.status_code.map_or(0, |code| i16::try_from(code).unwrap_or(i16::MAX));
        let codes: Vec<i16> = causes.iter().map(code).collect();
        let (table, whose, id) = of.by_hour(TABLES);
        // The arrays are the last parameters, because the condition uses `$3`, if it has a parameter.
        let first = if id.is_some() { 4 } else { 3 };
        let sql = format!(
            "SELECT {} AS at, cause, sum(attempts)::bigint AS attempts
             FROM (SELECT hour, outcome, status_code, attempts FROM {table} WHERE hour >= $1 AND hour < $2 {whose}) f
             LEFT JOIN unnest(${first}::smallint[], ${}::smallint[]) WITH ORDINALITY AS chosen (outcome, status_code, cause)
                 USING (outcome, status_code)
             GROUP BY 1, 2 ORDER BY 1, 2",
            interval_of_hour(by),
            first + 1
        );
        let (from, to) = (Ts(from), Ts(to));
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&from, &to];
        params.extend(id.as_ref().map(|id| id as &(dyn ToSql + Sync)));
        params.extend([&outcomes as &(dyn ToSql + Sync), &codes]);
        self.0.fetch_all(&sql, &params).await
    }
}
