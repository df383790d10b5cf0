//! Failures by cause: how many attempts failed with which outcome and status code.

use postrider_model::attempt::Outcome;
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_store::failures::{FailureCause, IntervalFailures};
use postrider_store::stats::StatsOf;
use serde::Serialize;
use utoipa::ToSchema;

use crate::stats::{IntervalLength, StatsQuery};
use crate::{Caller, Error, Operations};

/// Maximum number of causes of an answer. The attempts with other causes are counted together.
const CAUSES_MAX: usize = 20;

/// The attempts that failed in a range of time, by cause, without test calls. They are counted as attempts: a delivery that fails
/// three times counts three times.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failures {
    /// The start of the range, which consists of whole intervals.
    pub from: Timestamp,
    /// The end of the range (exclusive).
    pub to: Timestamp,
    /// The length of an interval: `hour` or `day`.
    pub by: IntervalLength,
    /// The number of attempts that failed.
    pub attempts: u64,
    /// The causes, the most frequent first, at most 20.
    pub causes: Vec<Cause>,
    /// The failed attempts whose cause is not in `causes`.
    pub other: u64,
    /// The failed attempts of each interval, oldest first; intervals without failures are left out.
    pub data: Vec<FailedInterval>,
}

/// Why attempts failed, and how many.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cause {
    /// How the attempts ended.
    pub outcome: Outcome,
    /// The status code of the responses; absent without a response.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 503)]
    pub status_code: Option<u16>,
    /// The number of attempts.
    pub attempts: u64,
    /// Their share of all attempts that failed, 0 to 1.
    pub share: f64,
    /// The number of endpoints with such an attempt.
    pub endpoints: u64,
    /// When the first of them started.
    pub first_at: Timestamp,
    /// When the last of them started.
    pub last_at: Timestamp,
}

/// The failed attempts of an hour or a day.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedInterval {
    /// When it starts.
    pub at: Timestamp,
    /// The number of attempts that failed.
    pub attempts: u64,
    /// The number of attempts with each of the causes that occurred, in the order of `causes` of the answer.
    pub causes: Vec<CauseCount>,
    /// The failed attempts with other causes.
    pub other: u64,
}

/// The attempts of an interval that failed with one cause.
#[derive(Debug, Serialize, ToSchema)]
pub struct CauseCount {
    /// How the attempts ended.
    pub outcome: Outcome,
    /// The status code of the responses; absent without a response.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 503)]
    pub status_code: Option<u16>,
    /// The number of attempts.
    pub attempts: u64,
}

impl FailedInterval {
    /// The attempts of the interval that failed with this cause.
    pub fn attempts_with(&self, cause: &Cause) -> u64 {
        let same = |count: &&CauseCount| (count.outcome, count.status_code) == (cause.outcome, cause.status_code);
        self.causes.iter().find(same).map_or(0, |count| count.attempts)
    }
}

/// Groups the counts, which are sorted by time and cause, by interval.
fn intervals(counts: &[IntervalFailures], causes: &[FailureCause]) -> Vec<FailedInterval> {
    let mut intervals: Vec<FailedInterval> = Vec::new();
    for counts in counts.chunk_by(|one, next| one.at == next.at) {
        let mut interval = FailedInterval { at: Timestamp(UnixMillis(0)), attempts: 0, causes: Vec::new(), other: 0 };
        for count in counts {
            interval.at = count.at.into();
            interval.attempts += count.attempts;
            let place = count.cause.and_then(|number| usize::try_from(number).ok()?.checked_sub(1));
            match place.and_then(|place| causes.get(place)) {
                Some(FailureCause { outcome, status_code }) => interval.causes.push(CauseCount {
                    outcome: *outcome,
                    status_code: *status_code,
                    attempts: count.attempts,
                }),
                None => interval.other += count.attempts,
            }
        }
        intervals.push(interval);
    }
    intervals
}

impl Operations {
    async fn failures(&self, of: StatsOf, query: &StatsQuery) -> Result<Failures, Error> {
        if query.by == IntervalLength::Minute {
            return Err(Error::invalid("by", "failures are counted by `hour` or `day`"));
        }
        let (from, to) = query.range(UnixMillis::now())?;
        let history = self.store.history();
        let found = history.failure_causes(of, from, to).await?;
        let attempts: u64 = found.iter().map(|counts| counts.attempts).sum();
        let listed = found.get(..CAUSES_MAX).unwrap_or(&found);
        let causes: Vec<FailureCause> = listed.iter().map(|counts| counts.cause).collect();
        let counts = match causes.as_slice() {
            [] => Vec::new(),
            causes => history.failures_over_time(of, query.by, (from, to), causes).await?,
        };
        Ok(Failures {
            from: from.into(),
            to: to.into(),
            by: query.by,
            attempts,
            causes: listed
                .iter()
                .map(|counts| Cause {
                    outcome: counts.cause.outcome,
                    status_code: counts.cause.status_code,
                    attempts: counts.attempts,
                    share: counts.attempts as f64 / attempts.max(1) as f64,
                    endpoints: counts.endpoints,
                    first_at: counts.first_at.into(),
                    last_at: counts.last_at.into(),
                })
                .collect(),
            other: attempts - listed.iter().map(|counts| counts.attempts).sum::<u64>(),
            data: intervals(&counts, &causes),
        })
    }

    /// Counts the failed attempts of all endpoints of the caller's tenant by cause, including those of deleted endpoints. Requires
    /// the scope `read`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for intervals of a minute.
    pub async fn tenant_failures(&self, caller: Caller, query: &StatsQuery) -> Result<Failures, Error> {
        self.failures(StatsOf::Tenant(caller.tenant(Scope::Read)?), query).await
    }

    /// Counts the failed attempts of an endpoint by cause. Requires the scope `read`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for intervals of a minute.
    pub async fn endpoint_failures(&self, caller: Caller, id: &str, query: &StatsQuery) -> Result<Failures, Error> {
        let endpoint = self.stored_endpoint(caller, Scope::Read, id).await?;
        self.failures(StatsOf::Endpoint(endpoint.id), query).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_one_time_are_one_interval() {
        let causes = [
            FailureCause { outcome: Outcome::HttpStatus, status_code: Some(503) },
            FailureCause { outcome: Outcome::Timeout, status_code: None },
        ];
        let count = |at, cause, attempts| IntervalFailures { at: UnixMillis(at), cause, attempts };
        let counts = [count(0, Some(1), 5), count(0, None, 2), count(3_600_000, Some(2), 1)];
        let found = intervals(&counts, &causes);
        let totals: Vec<_> = found.iter().map(|one| (one.at.0.0, one.attempts, one.causes.len(), one.other)).collect();
        assert_eq!(totals, [(0, 7, 1, 2), (3_600_000, 1, 1, 0)]);
        assert_eq!(found[1].causes[0].outcome, Outcome::Timeout);
    }
}
