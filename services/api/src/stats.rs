//! `/v1/stats`, `/v1/endpoints/{id}/stats`: what attempts came to, by minute, hour or day.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use postrider_http::problem::Problem;
use postrider_model::limits::STATS_INTERVALS_MAX;
use postrider_model::time::UnixMillis;
use postrider_store::config::Scope;
use postrider_store::stats::{Stats as Counted, StatsBy, StatsOf};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::endpoints::handlers::endpoint_id;
use crate::errors::store_problem;
use crate::request::{Params, query_error};
use crate::time::shown;

/// What intervals are called, and how many there are when the caller names no range: an hour by minute, a day by hour, 30 days.
const INTERVALS: [(&str, StatsBy, i64); 3] =
    [("minute", StatsBy::Minute, 60), ("hour", StatsBy::Hour, 24), ("day", StatsBy::Day, 30)];

/// The last moment that a timestamp can name: 9999-12-31T23:59:59.999Z.
const LAST_MS: i64 = 253_402_300_799_999;

/// What attempts came to. Test calls are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stats {
    /// The range, in whole intervals.
    #[schema(format = DateTime, example = "2026-01-02T03:00:00.000Z")]
    pub(crate) from: String,
    /// Its end, exclusive.
    #[schema(format = DateTime, example = "2026-01-03T03:00:00.000Z")]
    pub(crate) to: String,
    /// `minute`, `hour` or `day`.
    #[schema(example = "hour")]
    pub(crate) by: String,
    /// Of the whole range.
    pub(crate) total: Figures,
    /// Interval by interval, oldest first; those without attempts are left out.
    pub(crate) data: Vec<Interval>,
}

/// A minute, an hour or a day.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Interval {
    /// When it began.
    #[schema(format = DateTime)]
    pub(crate) at: String,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// What the attempts of a time came to, each counted once, when it began.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Figures {
    /// Attempts.
    pub(crate) attempts: u64,
    /// Attempts a second, over the part of the time that has passed.
    pub(crate) attempts_per_second: f64,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    /// Share of attempts that succeeded, 0 to 1; `null` without attempts.
    #[schema(required = true)]
    pub(crate) success_rate: Option<f64>,
    /// Attempts that were not the first of their delivery.
    pub(crate) retries: u64,
    /// Share of attempts that were retries, 0 to 1; `null` without attempts.
    #[schema(required = true)]
    pub(crate) retry_rate: Option<f64>,
    pub(crate) status_classes: StatusClasses,
    /// How long attempts took; `null` without attempts.
    #[schema(required = true)]
    pub(crate) latency_ms: Option<LatencyMs>,
    pub(crate) promise: Promise,
}

/// Attempts by how they were answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnsweredStatusClasses)]
pub(crate) struct StatusClasses {
    #[serde(rename = "2xx")]
    pub(crate) ok: u64,
    #[serde(rename = "3xx")]
    pub(crate) redirected: u64,
    #[serde(rename = "4xx")]
    pub(crate) refused: u64,
    #[serde(rename = "5xx")]
    pub(crate) broken: u64,
    /// With another status code.
    pub(crate) other: u64,
    /// Without an answer: timeouts, refused connections and the like.
    pub(crate) none: u64,
}

/// How long attempts took, milliseconds. Percentiles come from counts in fixed buckets and are interpolated: off by less
/// than 1 ms below 1 ms, else by less than a factor of 1.67 (2 below 3 ms and above 30 s). The mean is exact.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatencyMs {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
}

/// How soon events were first attempted: from an event's acceptance to the end of its delivery's first attempt. Retries,
/// replays and test calls are apart.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Promise {
    /// First attempts.
    pub(crate) first_attempts: u64,
    /// Share that ended in less than 5 s, 0 to 1; `null` without first attempts.
    #[schema(required = true)]
    pub(crate) within_5s: Option<f64>,
    /// Share that ended in less than 30 s.
    #[schema(required = true)]
    pub(crate) within_30s: Option<f64>,
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

/// Three digits: more would pretend.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

impl Figures {
    /// Of the attempts from `from` to `to`; what lies after `now` has not passed.
    fn of(counted: &Counted, from: UnixMillis, to: UnixMillis, now: UnixMillis) -> Self {
        let attempts = counted.attempts();
        let passed = from.until(to.min(now)).as_secs_f64().max(1.0);
        let answered: u64 = counted.answers.iter().sum();
        let [ok, redirected, refused, broken] = counted.answers;
        Self {
            attempts,
            attempts_per_second: rounded(attempts as f64 / passed),
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

/// Which intervals the caller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    /// The interval's name.
    name: &'static str,
    by: StatsBy,
    from: UnixMillis,
    to: UnixMillis,
}

impl Range {
    /// Widened to whole intervals; an end that is not given follows from the other, or from `now`.
    fn of(params: &Params, now: UnixMillis) -> Result<Self, Problem> {
        let wrong = |name, detail: String| Problem::unprocessable(vec![query_error(name, detail)]);
        let asked = params.get("by").unwrap_or("hour");
        let Some((name, by, usual)) = INTERVALS.into_iter().find(|(name, ..)| *name == asked) else {
            return Err(wrong("by", "expected `minute`, `hour` or `day`".into()));
        };
        let length = by.millis();
        let before = |at: UnixMillis, intervals| UnixMillis(at.0.saturating_sub(length * intervals));
        let (from, to) = params.range()?;
        let to = to.unwrap_or_else(|| now.max(from.unwrap_or(now)).plus(std::time::Duration::from_millis(1)));
        let to = UnixMillis(to.0.saturating_add(length - 1).min(LAST_MS).div_euclid(length) * length);
        let from = from.unwrap_or_else(|| before(to, usual));
        let from = UnixMillis(from.0.div_euclid(length) * length);
        if (to.0 - from.0) / length > i64::from(STATS_INTERVALS_MAX) {
            let detail = format!(
                "a range has at most {STATS_INTERVALS_MAX} intervals: give a later `from`, or longer intervals (`by`)"
            );
            return Err(wrong("from", detail));
        }
        Ok(Self { name, by, from, to })
    }
}

impl Api {
    async fn stats(&self, of: StatsOf, params: &Params) -> Result<Json<Stats>, Problem> {
        let now = UnixMillis::now();
        let Range { name, by, from, to } = Range::of(params, now)?;
        let counted = self.store.history().stats(of, by, from, to).await.map_err(store_problem)?;
        let mut total = Counted::default();
        counted.iter().for_each(|(_, interval)| total.add(interval));
        let interval = |(at, counted): &(UnixMillis, Counted)| Interval {
            at: shown(*at),
            figures: Figures::of(counted, *at, UnixMillis(at.0 + by.millis()), now),
        };
        Ok(Json(Stats {
            from: shown(from),
            to: shown(to),
            by: name.to_owned(),
            total: Figures::of(&total, from, to, now),
            data: counted.iter().map(interval).collect(),
        }))
    }
}

/// Read a tenant's stats
///
/// Of all its endpoints, deleted ones included.
#[utoipa::path(get, operation_id = "read_stats", path = "/v1/stats", tag = "stats",
    params(("tenant" = Option<String>, Query, description = "with an operator key: whose"),
        ("by" = Option<String>, Query, description = "minute, hour (the default) or day"),
        ("from" = Option<String>, Query, description = "at or after this; absent: an hour (by minute), a day (by hour) or 30 days (by day) before `to`"),
        ("to" = Option<String>, Query, description = "before this; absent: now")),
    responses((status = 200, body = Stats), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn of_tenant(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<Stats>, Problem> {
    let params = params.only(&["by", "from", "to"], None)?;
    let tenant = caller.tenant(Scope::Read)?;
    api.stats(StatsOf::Tenant(tenant), &params).await
}

/// Read an endpoint's stats
#[utoipa::path(get, operation_id = "read_endpoint_stats", path = "/v1/endpoints/{id}/stats", tag = "stats",
    params(("id" = String, Path), ("by" = Option<String>, Query, description = "minute, hour (the default) or day"),
        ("from" = Option<String>, Query, description = "at or after this; absent: an hour (by minute), a day (by hour) or 30 days (by day) before `to`"),
        ("to" = Option<String>, Query, description = "before this; absent: now")),
    responses((status = 200, body = Stats), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn of_endpoint(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<Json<Stats>, Problem> {
    let params = params.only(&["by", "from", "to"], None)?;
    let endpoint = api.endpoint(caller.visible(Scope::Read)?, endpoint_id(&id)?).await?;
    api.stats(StatsOf::Endpoint(endpoint.id), &params).await
}
