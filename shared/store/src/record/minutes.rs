//! Counts attempts by minute, hour and day, and failed attempts by cause, in the statement that inserts the attempts. Counts by
//! endpoint serve the pages of an endpoint and lists; counts by tenant and by day serve long ranges of all endpoints of a tenant.

use std::fmt::Write as _;

use postrider_model::latency::{BOUNDS_US, BUCKETS};

/// A time at which a minute, an hour and a day start.
pub(crate) const WHOLE: &str = "2000-01-01 00:00:00+00";

/// The columns with counts, each with its aggregate over attempts. All are sums, so they can be added over minutes and endpoints.
pub(crate) const COUNTS: [(&str, &str); 13] = [
    ("successes", "count(*) FILTER (WHERE outcome = 0)"),
    ("failures", "count(*) FILTER (WHERE outcome <> 0)"),
    ("retries", "count(*) FILTER (WHERE number > 1)"),
    ("duration_us", "sum(duration_us)::bigint"),
    ("first_attempts", "count(since_accepted_ms)"),
    ("first_within_5s", "count(*) FILTER (WHERE since_accepted_ms < 5000)"),
    ("first_within_30s", "count(*) FILTER (WHERE since_accepted_ms < 30000)"),
    ("answers_2xx", "count(*) FILTER (WHERE status_code BETWEEN 200 AND 299)"),
    ("answers_3xx", "count(*) FILTER (WHERE status_code BETWEEN 300 AND 399)"),
    ("answers_4xx", "count(*) FILTER (WHERE status_code BETWEEN 400 AND 499)"),
    ("answers_5xx", "count(*) FILTER (WHERE status_code BETWEEN 500 AND 599)"),
    ("unanswered", "count(*) FILTER (WHERE status_code IS NULL)"),
    // A delivery with a failed attempt always has a failed first attempt, so this expression counts deliveries, not attempts.
    ("failed_deliveries", "count(*) FILTER (WHERE number = 1 AND outcome <> 0)"),
];

/// SQL that joins the tenant of each endpoint.
const OWNER: &str = "JOIN (SELECT id AS endpoint, tenant FROM endpoints) owner USING (endpoint)";

/// SQL that adds the attempts in `fresh`, except test calls, to the counts, and the failed ones to their causes. All recorders
/// write the tables in the same order, and the rows of a table sorted by key, so that they cannot deadlock. Rows of tenants are
/// written last, because most batches have the same, and a row stays locked until the statement ends.
///
/// The statement first groups attempts by bucket of latency, then puts the few groups into arrays. That is cheaper than a
/// filter over all attempts for each bucket.
pub(super) fn count(fresh: &str) -> String {
    let counts = COUNTS.map(|(column, count)| format!("{count} AS {column}")).join(",\n        ");
    let bounds = BOUNDS_US.map(|bound| bound.to_string()).join(",");
    let minutes = Counts { table: "endpoint_minutes", of: "endpoint", interval: "minute", element: "integer" };
    let hours = Counts { table: "endpoint_hours", of: "endpoint", interval: "hour", element: "integer" };
    let tenant_hours = Counts { table: "tenant_hours", of: "tenant", interval: "hour", element: "bigint" };
    format!(
        "by_bucket AS (
    SELECT endpoint, date_bin('1 minute', started_at, '{WHOLE}') AS at,
        width_bucket(duration_us, '{{{bounds}}}'::bigint[]) AS bucket, count(*) AS attempts,
        {counts}
    FROM {fresh} WHERE trigger <> 4 GROUP BY 1, 2, 3
), failed AS (
    SELECT endpoint, date_bin('1 hour', started_at, '{WHOLE}') AS hour, outcome, coalesce(status_code, 0) AS status_code,
        count(*) AS attempts, min(started_at) AS first_at, max(started_at) AS last_at
    FROM {fresh} WHERE trigger <> 4 AND outcome <> 0 GROUP BY 1, 2, 3, 4
), minutes AS ({}
    RETURNING 1
), hours AS ({}
    RETURNING 1
), days AS ({}
    RETURNING 1
), causes AS ({}
    RETURNING 1
), cause_days AS ({}
    RETURNING 1
), tenants AS ({}
    RETURNING 1
), tenant_causes AS ({}
)",
        minutes.add("by_bucket"),
        hours.add(&format!("by_bucket, {}", after("minutes"))),
        add_days(&format!("by_bucket, {}", after("hours"))),
        add_causes("endpoint_failures", "endpoint", &format!("failed, {}", after("days"))),
        add_cause_days(&format!("failed, {}", after("causes"))),
        // Without failures, nothing executes `days` for the sake of `cause_days`.
        tenant_hours.add(&format!("by_bucket {OWNER}, {}, {}", after("days"), after("cause_days"))),
        add_causes("tenant_failures", "tenant", &format!("failed {OWNER}, {}", after("tenants"))),
    )
}

/// SQL for a source of rows that is read after `part` of the statement was executed.
fn after(part: &str) -> String {
    format!("(SELECT count(*) FROM {part}) AS after_{part}")
}

/// SQL that adds the successes and failures in `counted` to `endpoint_days`.
fn add_days(counted: &str) -> String {
    format!(
        "
    INSERT INTO endpoint_days AS had (endpoint, day, successes, failures)
    SELECT endpoint, date_bin('1 day', at, '{WHOLE}'), sum(successes), sum(failures)
    FROM {counted} GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (endpoint, day) DO UPDATE SET successes = had.successes + excluded.successes,
        failures = had.failures + excluded.failures"
    )
}

/// SQL that adds the failed attempts in `failed` to `table`, one row for each endpoint or tenant (`of`), hour and cause. A batch
/// without failures writes nothing.
fn add_causes(table: &str, of: &str, failed: &str) -> String {
    format!(
        "
    INSERT INTO {table} AS had ({of}, hour, outcome, status_code, attempts, first_at, last_at)
    SELECT {of}, hour, outcome, status_code, sum(attempts), min(first_at), max(last_at)
    FROM {failed} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT ({of}, hour, outcome, status_code) DO UPDATE SET attempts = had.attempts + excluded.attempts,
        first_at = least(had.first_at, excluded.first_at), last_at = greatest(had.last_at, excluded.last_at)"
    )
}

/// SQL that notes the causes in `failed` in `endpoint_failure_days`.
fn add_cause_days(failed: &str) -> String {
    format!(
        "
    INSERT INTO endpoint_failure_days AS had (endpoint, day, outcome, status_code, first_at, last_at)
    SELECT endpoint, date_bin('1 day', hour, '{WHOLE}'), outcome, status_code, min(first_at), max(last_at)
    FROM {failed} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (endpoint, day, outcome, status_code) DO UPDATE SET first_at = least(had.first_at, excluded.first_at),
        last_at = greatest(had.last_at, excluded.last_at)"
    )
}

/// A table with all counts of an endpoint or a tenant in intervals of one length.
struct Counts {
    table: &'static str,
    /// The column of its key that says whose counts they are: `endpoint` or `tenant`.
    of: &'static str,
    /// The length of an interval, which is also the name of the column of its key with the interval's start.
    interval: &'static str,
    /// The type of an element of the column `latency`.
    element: &'static str,
}

impl Counts {
    /// SQL that adds the groups in `counted` to the rows of the table.
    fn add(&self, counted: &str) -> String {
        let Self { table, of, interval, element } = self;
        let (mut columns, mut totals, mut added) = (String::new(), String::new(), String::new());
        for (column, _) in COUNTS {
            let _ = write!(columns, "{column}, ");
            let _ = write!(totals, "sum({column})::bigint, ");
            let _ = write!(added, "{column} = had.{column} + excluded.{column}, ");
        }
        let latency = elements(0, |bucket| format!("coalesce(sum(attempts) FILTER (WHERE bucket = {bucket}), 0)"));
        let latency_added = elements(1, |element| format!("had.latency[{element}] + excluded.latency[{element}]"));
        format!(
            "
    INSERT INTO {table} AS had ({of}, {interval}, {columns}latency)
    SELECT {of}, date_bin('1 {interval}', at, '{WHOLE}'), {totals}{latency}::{element}[]
    FROM {counted} GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT ({of}, {interval}) DO UPDATE SET {added}latency = {latency_added}"
        )
    }
}

/// SQL for an array with one element for each bucket. `expression` gets the numbers of the buckets, from `first` on.
fn elements(first: usize, expression: impl Fn(usize) -> String) -> String {
    let mut array = String::from("ARRAY[");
    for bucket in first..first + BUCKETS {
        let comma = if bucket == first { "" } else { ", " };
        let _ = write!(array, "{comma}{}", expression(bucket));
    }
    array.push(']');
    array
}
