//! Counts of attempts by minute, hour or day. The recorder maintains their tables `endpoint_minutes`, `endpoint_hours`,
//! `endpoint_days` and `tenant_hours`.
//!
//! # What it promises
//! A read scans minutes, hours or days in a range, never attempts. The hours and days of a tenant are read as one row an hour,
//! however many endpoints it has. Each attempt counts once, in the minute and the
//! hour in which it started. Test calls do not count. The attempts of a deleted endpoint still count for its tenant.

use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::latency::{BUCKETS, Latency};
use postrider_model::stats::IntervalLength;
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::error::StoreError;
use crate::record::{COUNTS, WHOLE};
use crate::sql::{RowExt, Ts, from_row};
use crate::store::History;

/// Which attempts to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsOf {
    /// The attempts of all endpoints of a tenant.
    Tenant(TenantId),
    /// The attempts of one endpoint.
    Endpoint(EndpointId),
    /// The attempts of all endpoints. The whole range is read, so it should be short: minutes of the last hour, or hours of the
    /// last day.
    All,
}

impl StatsOf {
    /// SQL that restricts the column `endpoint` of a table with counts by endpoint, with `$3` as the id; empty for [`StatsOf::All`].
    pub(crate) fn of_endpoints(self) -> (&'static str, Option<Uuid>) {
        match self {
            Self::Tenant(tenant) => ("AND endpoint IN (SELECT id FROM endpoints WHERE tenant = $3)", Some(tenant.0)),
            Self::Endpoint(endpoint) => ("AND endpoint = $3", Some(endpoint.0)),
            Self::All => ("", None),
        }
    }

    /// The table with the counts by hour, of the two given, and SQL that restricts its column `endpoint` or `tenant`, with `$3` as
    /// the id.
    pub(crate) fn by_hour(
        self,
        (of_endpoints, of_tenants): (&'static str, &'static str),
    ) -> (&'static str, &'static str, Option<Uuid>) {
        match self {
            Self::Tenant(tenant) => (of_tenants, "AND tenant = $3", Some(tenant.0)),
            Self::Endpoint(endpoint) => (of_endpoints, "AND endpoint = $3", Some(endpoint.0)),
            // An index of the hours of endpoints serves a range of all tenants.
            Self::All => (of_endpoints, "", None),
        }
    }
}

/// SQL for the start of an interval of one hour or one day that contains the hour `hour`. Causes of failures are not counted by
/// minute, so the interval of a minute is its hour.
pub(crate) fn interval_of_hour(length: IntervalLength) -> String {
    match length {
        IntervalLength::Minute | IntervalLength::Hour => "hour".to_owned(),
        IntervalLength::Day => format!("date_bin('1 day', hour, '{WHOLE}')"),
    }
}

/// Returns the start of the first whole day in a range, and the end of the last one. Both are `to` if the range has no whole day.
fn whole_days(from: UnixMillis, to: UnixMillis) -> (UnixMillis, UnixMillis) {
    let day = IntervalLength::Day.millis();
    let (first, end) = ((from.0 + day - 1).div_euclid(day) * day, to.0.div_euclid(day) * day);
    if first < end { (UnixMillis(first), UnixMillis(end)) } else { (to, to) }
}

/// Counts of the attempts in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Attempts that succeeded.
    pub successes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Attempts with a number above 1.
    pub retries: u64,
    /// The sum of the durations of all attempts, in microseconds.
    pub duration_us: u64,
    /// First attempts of the deliveries that fan-out created. Retries and replays do not count.
    pub first_attempts: u64,
    /// First attempts that ended less than 5 s after their event was accepted.
    pub first_within_5s: u64,
    /// First attempts that ended less than 30 s after their event was accepted.
    pub first_within_30s: u64,
    /// Responses by class of their status code: 2xx, 3xx, 4xx, 5xx.
    pub answers: [u64; 4],
    /// Attempts without a response.
    pub unanswered: u64,
    /// The histogram of the durations of attempts.
    pub latency: Latency,
}

impl Stats {
    /// The number of attempts.
    pub fn attempts(&self) -> u64 {
        self.successes + self.failures
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        self.successes += other.successes;
        self.failures += other.failures;
        self.retries += other.retries;
        self.duration_us += other.duration_us;
        self.first_attempts += other.first_attempts;
        self.first_within_5s += other.first_within_5s;
        self.first_within_30s += other.first_within_30s;
        for (count, more) in self.answers.iter_mut().zip(other.answers) {
            *count += more;
        }
        self.unanswered += other.unanswered;
        self.latency.add(&other.latency);
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        let count = |column| row.col::<u64>(column);
        let mut latency = [0; BUCKETS];
        for (count, read) in latency.iter_mut().zip(row.col::<Vec<i64>>("latency")?) {
            *count = read.cast_unsigned();
        }
        Ok(Self {
            successes: count("successes")?,
            failures: count("failures")?,
            retries: count("retries")?,
            duration_us: count("duration_us")?,
            first_attempts: count("first_attempts")?,
            first_within_5s: count("first_within_5s")?,
            first_within_30s: count("first_within_30s")?,
            answers: [count("answers_2xx")?, count("answers_3xx")?, count("answers_4xx")?, count("answers_5xx")?],
            unanswered: count("unanswered")?,
            latency: Latency::of(latency),
        })
    }
}

/// Numbers of successes and failures of an endpoint in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourlyCounts {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// When the hour started.
    pub at: UnixMillis,
    /// Attempts that succeeded.
    pub successes: u64,
    /// Attempts that failed.
    pub failures: u64,
}

from_row!(HourlyCounts { endpoint, at: "hour", successes, failures });

/// Numbers of successes and failures of an endpoint in a range of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointCounts {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Attempts that succeeded.
    pub successes: u64,
    /// Attempts that failed.
    pub failures: u64,
}

from_row!(EndpointCounts { endpoint, successes, failures });

impl History {
    /// Returns the counts of these endpoints in the hours that start at or after `from`, unordered. Leaves out hours without
    /// attempts.
    pub async fn hourly_counts(
        &self,
        endpoints: &[EndpointId],
        from: UnixMillis,
    ) -> Result<Vec<HourlyCounts>, StoreError> {
        let ids: Vec<_> = endpoints.iter().map(|endpoint| endpoint.0).collect();
        let sql =
            format!("SELECT {} FROM endpoint_hours WHERE endpoint = ANY($1) AND hour >= $2", HourlyCounts::COLUMNS);
        self.0.fetch_all(&sql, &[&ids, &Ts(from)]).await
    }

    /// Returns the tenant's endpoints with a failed attempt in the intervals that start at or after `from` and before `to`: at most
    /// `limit`, the lowest share of successes first, then the most failures. Leaves out deleted endpoints.
    pub async fn worst_endpoints(
        &self,
        tenant: TenantId,
        by: IntervalLength,
        (from, to): (UnixMillis, UnixMillis),
        limit: u32,
    ) -> Result<Vec<EndpointCounts>, StoreError> {
        let (days_from, days_to) = whole_days(from, to);
        let parts = match by {
            IntervalLength::Minute => vec![("endpoint_minutes", "minute", from, to)],
            IntervalLength::Hour | IntervalLength::Day => vec![
                ("endpoint_hours", "hour", from, days_from),
                ("endpoint_days", "day", days_from, days_to),
                ("endpoint_hours", "hour", days_to, to),
            ],
        };
        let limit = i64::from(limit);
        let times: Vec<_> = parts.iter().map(|&(_, _, from, to)| (Ts(from), Ts(to))).collect();
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&tenant.0, &limit];
        let mut counts = Vec::new();
        for ((table, start, ..), (from, to)) in parts.iter().zip(&times) {
            let first = params.len() + 1;
            counts.push(format!(
                "SELECT endpoint, successes, failures FROM {table} WHERE {start} >= ${first} AND {start} < ${}
                     AND endpoint IN (SELECT id FROM endpoints WHERE tenant = $1 AND deleted_at IS NULL)",
                first + 1
            ));
            params.extend([from as &(dyn ToSql + Sync), to]);
        }
        let sql = format!(
            "SELECT endpoint, sum(successes)::bigint AS successes, sum(failures)::bigint AS failures
             FROM ({}) counts
             GROUP BY endpoint HAVING sum(failures) > 0
             ORDER BY sum(successes)::float8 / sum(successes + failures), sum(failures) DESC, endpoint LIMIT $2",
            counts.join(" UNION ALL ")
        );
        self.0.fetch_all(&sql, &params).await
    }

    /// Returns the counts of the intervals that start at or after `from` and before `to`, oldest first. Intervals are whole
    /// minutes, hours or days in UTC. Intervals without attempts are left out. `from` must be the start of an interval.
    pub async fn stats(
        &self,
        of: StatsOf,
        by: IntervalLength,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<(UnixMillis, Stats)>, StoreError> {
        let (table, start, interval, (whose, id)) = match by {
            IntervalLength::Minute => ("endpoint_minutes", "minute", "minute".to_owned(), of.of_endpoints()),
            IntervalLength::Hour | IntervalLength::Day => {
                let (table, whose, id) = of.by_hour(("endpoint_hours", "tenant_hours"));
                (table, "hour", interval_of_hour(by), (whose, id))
            }
        };
        let sums = COUNTS.map(|(column, _)| format!("sum({column})::bigint AS {column}")).join(", ");
        let latency: [String; BUCKETS] = std::array::from_fn(|bucket| format!("sum(latency[{}])", bucket + 1));
        let sql = format!(
            "SELECT {interval} AS at, {sums}, ARRAY[{}]::bigint[] AS latency
             FROM {table} WHERE {start} >= $1 AND {start} < $2 {whose}
             GROUP BY 1 ORDER BY 1",
            latency.join(", ")
        );
        let (from, to) = (Ts(from), Ts(to));
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&from, &to];
        if let Some(id) = &id {
            params.push(id);
        }
        let rows = self.0.client().await?.query(&sql, &params).await?;
        rows.iter().map(|row| Ok((row.col("at")?, Stats::read(row)?))).collect()
    }
}
