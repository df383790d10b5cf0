//! Counts of failed attempts by cause. The recorder maintains their table `endpoint_failures`.
//!
//! # What it promises
//! A read scans the rows of the endpoints' hours in a range: one for each cause that occurred in an hour, never attempts. Each
//! failed attempt counts once, in the hour in which it started. Test calls do not count. The attempts of a deleted endpoint still
//! count for its tenant. Attempts that a release without this table recorded are not in it.

use postrider_model::attempt::Outcome;
use postrider_model::stats::IntervalLength;
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::error::StoreError;
use crate::record::WHOLE;
use crate::sql::{Coded, FromRow, RowExt, Ts, from_row};
use crate::stats::StatsOf;
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

/// SQL for the rows of the endpoints' hours in a range. `condition` restricts the endpoints.
fn rows(columns: &str, condition: &str) -> String {
    format!("SELECT {columns} FROM endpoint_failures WHERE hour >= $1 AND hour < $2 {condition}")
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
        let (condition, id) = of.condition();
        let sql = format!(
            "SELECT outcome, nullif(status_code, 0) AS status_code, sum(attempts)::bigint AS attempts, count(*) AS endpoints,
                 min(first_at) AS first_at, max(last_at) AS last_at
             FROM ({} GROUP BY endpoint, outcome, status_code) by_endpoint
             GROUP BY outcome, status_code ORDER BY sum(attempts) DESC, outcome, status_code",
            rows(
                "outcome, status_code, sum(attempts) AS attempts, min(first_at) AS first_at, max(last_at) AS last_at",
                condition
            )
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
        let interval = match by {
            IntervalLength::Minute | IntervalLength::Hour => "hour".to_owned(),
            IntervalLength::Day => format!("date_bin('1 day', hour, '{WHOLE}')"),
        };
        let outcomes: Vec<i16> = causes.iter().map(|cause| cause.outcome.code()).collect();
        let code = |cause: &FailureCause| cause.status_code.map_or(0, |code| i16::try_from(code).unwrap_or(i16::MAX));
        let codes: Vec<i16> = causes.iter().map(code).collect();
        let (condition, id) = of.condition();
        // The arrays are the last parameters, because the condition uses `$3`, if it has a parameter.
        let first = if id.is_some() { 4 } else { 3 };
        let sql = format!(
            "SELECT {interval} AS at, cause, sum(attempts)::bigint AS attempts
             FROM ({}) f
             LEFT JOIN unnest(${first}::smallint[], ${}::smallint[]) WITH ORDINALITY AS chosen (outcome, status_code, cause)
                 USING (outcome, status_code)
             GROUP BY 1, 2 ORDER BY 1, 2",
            rows("hour, outcome, status_code, attempts", condition),
            first + 1
        );
        let (from, to) = (Ts(from), Ts(to));
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&from, &to];
        params.extend(id.as_ref().map(|id| id as &(dyn ToSql + Sync)));
        params.extend([&outcomes as &(dyn ToSql + Sync), &codes]);
        self.0.fetch_all(&sql, &params).await
    }
}
