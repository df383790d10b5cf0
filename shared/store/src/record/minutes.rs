//! Counts attempts by endpoint, minute and hour, and failed attempts by endpoint, hour and cause, in the statement that inserts
//! the attempts. Lists and long ranges read the hours.

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

/// SQL that adds the attempts in `fresh`, except test calls, to their minutes and hours, and the failed ones to their causes. Rows
/// are written sorted by key, minutes before hours before causes, so that two recorders cannot deadlock.
///
/// The statement first groups attempts by bucket of latency, then puts the few groups into arrays. That is cheaper than a
/// filter over all attempts for each bucket.
pub(super) fn count(fresh: &str) -> String {
    let counts = COUNTS.map(|(column, count)| format!("{count} AS {column}")).join(",\n        ");
    let bounds = BOUNDS_US.map(|bound| bound.to_string()).join(",");
    let minutes = add("endpoint_minutes", "minute", "by_bucket");
    let hours = add("endpoint_hours", "hour", "by_bucket, (SELECT count(*) FROM minutes) AS minutes_first");
    let causes = add_causes(fresh);
    format!(
        "by_bucket AS (
    SELECT endpoint, date_bin('1 minute', started_at, '{WHOLE}') AS at,
        width_bucket(duration_us, '{{{bounds}}}'::bigint[]) AS bucket, count(*) AS attempts,
        {counts}
    FROM {fresh} WHERE trigger <> 4 GROUP BY 1, 2, 3
), minutes AS ({minutes}
    RETURNING 1
), hours AS ({hours}
    RETURNING 1
), causes AS ({causes}
)"
    )
}

/// SQL that adds the failed attempts in `fresh` to `endpoint_failures`. A batch without failures writes nothing there.
fn add_causes(fresh: &str) -> String {
    format!(
        "
    INSERT INTO endpoint_failures AS had (endpoint, hour, outcome, status_code, attempts, first_at, last_at)
    SELECT endpoint, date_bin('1 hour', started_at, '{WHOLE}'), outcome, coalesce(status_code, 0),
        count(*), min(started_at), max(started_at)
    FROM {fresh}, (SELECT count(*) FROM hours) AS hours_first
    WHERE trigger <> 4 AND outcome <> 0 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (endpoint, hour, outcome, status_code) DO UPDATE SET attempts = had.attempts + excluded.attempts,
        first_at = least(had.first_at, excluded.first_at), last_at = greatest(had.last_at, excluded.last_at)"
    )
}

/// SQL that adds the groups in `counted` to the rows of `table`, one row for each endpoint and `interval`.
fn add(table: &str, interval: &str, counted: &str) -> String {
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
    INSERT INTO {table} AS had (endpoint, {interval}, {columns}latency)
    SELECT endpoint, date_bin('1 {interval}', at, '{WHOLE}'), {totals}{latency}::integer[]
    FROM {counted} GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (endpoint, {interval}) DO UPDATE SET {added}latency = {latency_added}"
    )
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
