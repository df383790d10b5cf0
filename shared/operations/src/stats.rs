//! Stats: figures of attempts by minute, hour or day.

use std::time::Duration;

use postrider_model::filters::time;
use postrider_model::limits::STATS_INTERVALS_MAX;
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_store::stats::{Stats as Counted, StatsOf};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{Caller, Error, Operations};

pub use postrider_model::stats::IntervalLength;

/// The last time that a timestamp can represent: 9999-12-31T23:59:59.999Z.
const LAST_MS: i64 = 253_402_300_799_999;

/// Returns the number of intervals of a range without `from`: 60 minutes, 24 hours or 30 days.
fn default_count(length: IntervalLength) -> i64 {
    match length {
        IntervalLength::Minute => 60,
        IntervalLength::Hour => 24,
        IntervalLength::Day => 30,
    }
}

/// The length of the intervals, and the range of time.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct StatsQuery {
    /// The length of an interval; `hour` by default.
    #[param(value_type = Option<IntervalLength>)]
    pub by: IntervalLength,
    /// The start of the range. If absent, the range has 60 minutes, 24 hours or 30 days, depending on `by`.
    #[serde(deserialize_with = "time")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-02T00:00:00Z")]
    pub from: Option<UnixMillis>,
    /// The end of the range (exclusive); now if absent.
    #[serde(deserialize_with = "time")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-03T00:00:00Z")]
    pub to: Option<UnixMillis>,
}

impl StatsQuery {
    /// Returns the range in whole intervals. Without `from` it has the default number of intervals; without `to` it ends at
    /// `now`.
    pub(crate) fn range(self, now: UnixMillis) -> Result<(UnixMillis, UnixMillis), Error> {
        let length = self.by.millis();
        let to = self.to.unwrap_or_else(|| now.max(self.from.unwrap_or(now)).plus(Duration::from_millis(1)));
        let to = UnixMillis(to.0.saturating_add(length - 1).min(LAST_MS).div_euclid(length) * length);
        let from = self.from.unwrap_or_else(|| UnixMillis(to.0.saturating_sub(length * default_count(self.by))));
        let from = UnixMillis(from.0.div_euclid(length) * length);
        if (to.0 - from.0) / length > i64::from(STATS_INTERVALS_MAX) {
            let detail = format!(
                "a range has at most {STATS_INTERVALS_MAX} intervals: give a later `from`, or longer intervals (`by`)"
            );
            return Err(Error::invalid("from", detail));
        }
        Ok((from, to))
    }
}

/// Numbers of attempts and their durations, without test calls.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// The start of the range, which consists of whole intervals.
    pub from: Timestamp,
    /// The end of the range (exclusive).
    pub to: Timestamp,
    /// The length of an interval.
    pub by: IntervalLength,
    /// The figures of the whole range.
    pub total: Figures,
    /// Figures of each interval, oldest first; intervals without attempts are left out.
    pub data: Vec<Interval>,
}

/// A minute, an hour or a day.
#[derive(Debug, Serialize, ToSchema)]
pub struct Interval {
    /// When it starts.
    pub at: Timestamp,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Figures of the attempts that started in a range of time.
#[derive(Debug, Serialize, ToSchema)]
pub struct Figures {
    /// The number of attempts.
    pub attempts: u64,
    /// Attempts per second. For an interval that has not ended, only the time up to now counts.
    pub attempts_per_second: f64,
    /// Attempts that succeeded.
    pub successes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// The share of attempts that succeeded, 0 to 1; `null` without attempts.
    #[schema(required = true)]
    pub success_rate: Option<f64>,
    /// Attempts that were not the first of their delivery.
    pub retries: u64,
    /// The share of attempts that were retries, 0 to 1; `null` without attempts.
    #[schema(required = true)]
    pub retry_rate: Option<f64>,
    /// Attempts by the class of the response's status code.
    pub status_classes: StatusClasses,
    /// Durations of attempts; `null` without attempts.
    #[schema(required = true)]
    pub latency_ms: Option<LatencyMs>,
    /// Time until the first attempt.
    pub promise: Promise,
}

/// Attempts by the class of the response's status code.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnsweredStatusClasses)]
pub struct StatusClasses {
    /// Success.
    #[serde(rename = "2xx")]
    pub ok: u64,
    /// Redirects. Postrider does not follow them.
    #[serde(rename = "3xx")]
    pub redirected: u64,
    /// Client errors.
    #[serde(rename = "4xx")]
    pub refused: u64,
    /// Server errors.
    #[serde(rename = "5xx")]
    pub broken: u64,
    /// Other status codes.
    pub other: u64,
    /// No response, such as after a timeout or a refused connection.
    pub none: u64,
}

/// Durations of attempts in milliseconds. The mean is exact. Percentiles are interpolated from fixed buckets. Below 1 ms their
/// error is less than 1 ms. From 3 ms to 30 s it is less than a factor of 1.67, otherwise less than a factor of 2.
#[derive(Debug, Serialize, ToSchema)]
pub struct LatencyMs {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// The time from accepting an event to the end of the first attempt of its delivery. Retries, replays and test calls do not
/// count.
#[derive(Debug, Serialize, ToSchema)]
pub struct Promise {
    /// The number of first attempts.
    pub first_attempts: u64,
    /// The share of first attempts that ended within 5 s, 0 to 1; `null` without first attempts.
    #[schema(required = true)]
    pub within_5s: Option<f64>,
    /// The share of first attempts that ended within 30 s, 0 to 1; `null` without first attempts.
    #[schema(required = true)]
    pub within_30s: Option<f64>,
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn latency(counted: &Counted) -> Option<LatencyMs> {
    let percentile = |percent| Some(rounded(counted.latency.percentile(percent)?.as_secs_f64() * 1_000.0));
    Some(LatencyMs {
        mean: rounded(share(counted.duration_us, counted.attempts())? / 1_000.0),
        p50: percentile(50.0)?,
        p90: percentile(90.0)?,
        p95: percentile(95.0)?,
        p99: percentile(99.0)?,
    })
}

/// Rounds to three decimal places.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// How well attempts succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// At least 99 % of the attempts succeed.
    Good,
    /// At least 90 %, but less than 99 %, of the attempts succeed.
    Poor,
    /// Less than 90 % of the attempts succeed.
    Bad,
}

impl Figures {
    /// How well the attempts succeeded; `None` without attempts.
    pub fn quality(&self) -> Option<Quality> {
        Some(match self.success_rate? {
            rate if rate >= 0.99 => Quality::Good,
            rate if rate >= 0.9 => Quality::Poor,
            _ => Quality::Bad,
        })
    }

    /// Returns the figures of the attempts that started from `from` to `to`. If `now` is earlier than `to`, the rate is computed
    /// over the time until `now`.
    fn of(counted: &Counted, from: UnixMillis, to: UnixMillis, now: UnixMillis) -> Self {
        let attempts = counted.attempts();
        let passed = from.until(to.min(now)).as_secs_f64().max(1.0);
        let answered: u64 = counted.answers.iter().sum();
        let [ok, redirected, refused, broken] = counted.answers;
        Self {
            attempts,
            // Six places: one attempt a day is 0.000012 a second.
            attempts_per_second: (attempts as f64 / passed * 1e6).round() / 1e6,
            successes: counted.successes,
            failures: counted.failures,
            success_rate: share(counted.successes, attempts),
            retries: counted.retries,
            retry_rate: share(counted.retries, attempts),
            status_classes: StatusClasses {
                ok,
                redirected,
                refused,
                broken,
                other: attempts.saturating_sub(answered + counted.unanswered),
                none: counted.unanswered,
            },
            latency_ms: latency(counted),
            promise: Promise {
                first_attempts: counted.first_attempts,
                within_5s: share(counted.first_within_5s, counted.first_attempts),
                within_30s: share(counted.first_within_30s, counted.first_attempts),
            },
        }
    }
}

impl Operations {
    async fn stats(&self, of: StatsOf, query: &StatsQuery) -> Result<Stats, Error> {
        let (now, by) = (UnixMillis::now(), query.by);
        let (from, to) = query.range(now)?;
        let counted = self.store.history().stats(of, by, from, to).await?;
        let mut total = Counted::default();
        counted.iter().for_each(|(_, interval)| total.add(interval));
        let interval = |(at, counted): &(UnixMillis, Counted)| Interval {
            at: Timestamp(*at),
            figures: Figures::of(counted, *at, UnixMillis(at.0 + by.millis()), now),
        };
        Ok(Stats {
            from: from.into(),
            to: to.into(),
            by,
            total: Figures::of(&total, from, to, now),
            data: counted.iter().map(interval).collect(),
        })
    }

    /// Stats of all endpoints of the caller's tenant, including deleted ones. Requires the scope `read`.
    pub async fn tenant_stats(&self, caller: Caller, query: &StatsQuery) -> Result<Stats, Error> {
        self.stats(StatsOf::Tenant(caller.tenant(Scope::Read)?), query).await
    }

    /// Stats of all endpoints of all tenants. The range must be short, because all of it is read.
    pub(crate) async fn stats_of_all(&self, query: &StatsQuery) -> Result<Stats, Error> {
        self.stats(StatsOf::All, query).await
    }

    /// Stats of an endpoint. Requires the scope `read`.
    pub async fn endpoint_stats(&self, caller: Caller, id: &str, query: &StatsQuery) -> Result<Stats, Error> {
        let endpoint = self.stored_endpoint(caller, Scope::Read, id).await?;
        self.stats(StatsOf::Endpoint(endpoint.id), query).await
    }
}
