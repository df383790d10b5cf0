//! Whether an endpoint works: since when it fails, why, and from which time on a recovery should deliver events.

use std::time::Duration;

use postrider_model::attempt::Outcome;
use postrider_model::breaker::BreakerState;
use postrider_model::delivery::EndpointStatus;
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_store::config::{EndpointHealth, LastFailure, Outage};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Error, Operations};

/// How long before an outage a recovery begins. Events are accepted before their first attempt fails.
const BEFORE_OUTAGE: Duration = Duration::from_secs(15 * 60);
/// How long after the end of an outage a recovery is suggested.
const SUGGESTED_FOR: Duration = Duration::from_secs(3 * 86_400);

/// Attempts that are in progress at the request of a recovery fail at most this long after the request.
const STILL_FAILING: Duration = Duration::from_secs(60);

/// Whether the attempts to an endpoint succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// No attempt is on record.
    Unknown,
    /// The last attempt succeeded.
    Healthy,
    /// The last 1 to 4 attempts failed.
    Unsteady,
    /// The last 5 attempts or more failed, or its breaker is open.
    Failing,
}

/// The last failed attempt of an endpoint.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Failure {
    /// When it started.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// The response's status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 503)]
    pub status_code: Option<u16>,
    /// The cause in words.
    #[schema(example = "the endpoint answers 503")]
    pub cause: String,
    /// Details of the failure from the connection or the response, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A period in which an endpoint was failing, or in which it was inactive or disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = EndpointOutage)]
pub struct OutageShown {
    /// Its start.
    pub from: Timestamp,
    /// Its end; absent while it continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Whether an endpoint works. Test calls do not count.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointHealth)]
pub struct Health {
    /// Whether its attempts succeed.
    pub state: HealthState,
    /// The number of failed attempts since the last success.
    pub failures_in_a_row: u32,
    /// The first of these failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// The last failure, also of an endpoint that has recovered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// The last period in which the endpoint was `failing`, if the period has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_outage: Option<OutageShown>,
    /// The last period in which the endpoint was inactive or disabled after it had been active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_off: Option<OutageShown>,
    /// When a recovery was last requested. This includes only recoveries of the last 7 days that cover all events and were not
    /// cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_recovery_at: Option<Timestamp>,
    /// The `since` of a recovery that covers the periods of the last 3 days in which the endpoint was `failing`, and its last
    /// period of being inactive or disabled. Absent if there is no such period, or if a recovery already covers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recover_since: Option<Timestamp>,
}

impl From<Outage> for OutageShown {
    fn from(outage: Outage) -> Self {
        Self { from: outage.from.into(), until: outage.until.map(Timestamp) }
    }
}

impl From<LastFailure> for Failure {
    fn from(failure: LastFailure) -> Self {
        Self {
            at: failure.at.into(),
            outcome: failure.outcome,
            status_code: failure.status_code,
            cause: cause(failure.outcome, failure.status_code),
            error: failure.error,
        }
    }
}

/// Returns the cause of a failure in words.
fn cause(outcome: Outcome, status_code: Option<u16>) -> String {
    let words = match outcome {
        Outcome::Success | Outcome::HttpStatus => {
            return format!(
                "the endpoint answers {}",
                status_code.map_or("nothing".to_owned(), |code| code.to_string())
            );
        }
        Outcome::Timeout => "the endpoint does not answer within its timeout",
        Outcome::ConnectFailed => "the connection to the endpoint fails",
        Outcome::DnsFailed => "the host name of the URL does not resolve",
        Outcome::TlsFailed => "the TLS connection to the endpoint fails",
        Outcome::AddressBlocked => "the URL leads to an address that is not allowed",
        Outcome::ProtocolError => "the endpoint's answer breaks off or is not HTTP",
    };
    words.to_owned()
}

impl Health {
    /// Returns the health of an endpoint with this status and this state of its breaker.
    pub(crate) fn of(found: EndpointHealth, status: EndpointStatus, breaker: BreakerState, now: UnixMillis) -> Self {
        let state = match found.failures {
            _ if breaker == BreakerState::Open || found.failing => HealthState::Failing,
            0 if found.attempted => HealthState::Healthy,
            0 => HealthState::Unknown,
            _ => HealthState::Unsteady,
        };
        let failing_since = found.first_failure_at.filter(|_| found.failures > 0);
        let since = recover_since(&found, status, state, now);
        Self {
            state,
            failures_in_a_row: found.failures,
            failing_since: failing_since.map(Timestamp),
            last_failure: found.last_failure.map(Failure::from),
            last_outage: found.failed.map(OutageShown::from),
            last_off: found.off.map(OutageShown::from),
            last_recovery_at: found.recoveries.first().map(|last| last.at.into()),
            recover_since: since.map(Timestamp),
        }
    }
}

/// Returns the time from which a recovery should deliver events: the start of the first outage to recover, minus
/// [`BEFORE_OUTAGE`].
fn recover_since(
    found: &EndpointHealth,
    status: EndpointStatus,
    state: HealthState,
    now: UnixMillis,
) -> Option<UnixMillis> {
    let failing = found.first_failure_at.filter(|_| state == HealthState::Failing && found.failures > 0);
    // No recovery is suggested while an endpoint is inactive, because its customer chose that status.
    let off = found.off.filter(|off| off.until.is_some() || status == EndpointStatus::Disabled);
    let recent = |outage: &Outage| outage.until.unwrap_or(now).until(now) < SUGGESTED_FOR;
    // An endpoint that works again often fails again soon, so the earlier outages of the last 3 days are included.
    let with_earlier = |last: Outage| {
        let first = found.failed_first.unwrap_or(last.from).max(now.minus(SUGGESTED_FOR));
        Outage { from: first.min(last.from), ..last }
    };
    let failed = found.failed.filter(recent).map(with_earlier);
    let failed = failed.filter(|outage| !is_covered(found, outage, found.last_failure.as_ref()));
    let off = off.filter(recent).filter(|outage| !is_covered(found, outage, None));
    let outages = [failed, off].into_iter().flatten().map(|outage| outage.from);
    outages.chain(failing).min().map(|first| first.minus(BEFORE_OUTAGE))
}

/// Whether a recovery covers what an endpoint did not receive in an outage. The recovery must begin before the outage. It must
/// have been requested after the outage, or so late in the outage that the recovery's own deliveries ended the outage.
fn is_covered(found: &EndpointHealth, outage: &Outage, last_failure: Option<&LastFailure>) -> bool {
    found.recoveries.iter().any(|recovery| {
        let after = outage.until.is_some_and(|until| until <= recovery.at);
        let ended_it = last_failure.is_some_and(|last| last.at <= recovery.at.plus(STILL_FAILING));
        recovery.from <= outage.from && (after || ended_it)
    })
}

impl Operations {
    /// The health of each of these endpoints, as it is stored.
    pub(crate) async fn stored_health(
        &self,
        ids: &[EndpointId],
    ) -> Result<std::collections::HashMap<EndpointId, EndpointHealth>, Error> {
        Ok(self.store.config().endpoints_health(ids).await?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use postrider_store::config::Recovery;

    use super::*;

    const NOW: UnixMillis = UnixMillis(10_000_000_000);
    const HOUR: i64 = 3_600_000;

    fn ago(hours: i64) -> UnixMillis {
        UnixMillis(NOW.0 - hours * HOUR)
    }

    fn outage(from: i64, until: Option<i64>) -> Option<Outage> {
        Some(Outage { from: ago(from), until: until.map(ago) })
    }

    #[test]
    fn the_state_follows_from_failures_and_breaker() {
        let check = |failures, failing, attempted, breaker, expected| {
            let found = EndpointHealth { failures, failing, attempted, ..EndpointHealth::default() };
            let health = Health::of(found, EndpointStatus::Active, breaker, NOW);
            assert_eq!(health.state, expected);
        };
        check(0, false, false, BreakerState::Closed, HealthState::Unknown);
        check(0, false, true, BreakerState::HalfOpen, HealthState::Healthy);
        check(2, false, true, BreakerState::Closed, HealthState::Unsteady);
        check(5, true, true, BreakerState::Closed, HealthState::Failing);
        check(3, false, true, BreakerState::Open, HealthState::Failing);
    }

    #[test]
    fn a_recovery_covers_every_recent_outage_that_none_followed() {
        let check = |found: EndpointHealth, status, expected: Option<i64>| {
            let since = Health::of(found.clone(), status, BreakerState::Closed, NOW).recover_since;
            let expected = expected.map(|hours| Timestamp(UnixMillis(ago(hours).0 - 15 * 60_000)));
            assert_eq!(since, expected, "{found:?}");
        };
        let active = EndpointStatus::Active;
        let none = EndpointHealth::default;
        let failing = EndpointHealth { failures: 9, failing: true, first_failure_at: Some(ago(5)), ..none() };
        check(none(), active, None);
        check(failing.clone(), active, Some(5));
        check(EndpointHealth { failures: 2, failing: false, ..failing.clone() }, active, None);
        // The endpoint has worked again for an hour. In the second check it was also inactive for a time.
        let failed = EndpointHealth { failed: outage(9, Some(1)), ..none() };
        check(failed.clone(), active, Some(9));
        check(EndpointHealth { off: outage(20, Some(10)), ..failed.clone() }, active, Some(20));
        check(EndpointHealth { failed: outage(90, Some(72)), ..none() }, active, None);
        // Earlier outages are included, except outages before the last 3 days.
        check(EndpointHealth { failed_first: Some(ago(30)), ..failed.clone() }, active, Some(30));
        check(EndpointHealth { failed_first: Some(ago(90)), ..failed.clone() }, active, Some(72));
        check(
            EndpointHealth { failed: outage(100, Some(1)), failed_first: Some(ago(120)), ..none() },
            active,
            Some(100),
        );
        // A recovery covers outages that began after its start and ended before its request.
        let recovered = |from, at| vec![Recovery { from: ago(from), at: ago(at) }];
        check(EndpointHealth { recoveries: recovered(10, 0), ..failed.clone() }, active, None);
        check(EndpointHealth { recoveries: recovered(8, 0), ..failed.clone() }, active, Some(9));
        check(EndpointHealth { recoveries: recovered(10, 2), ..failed.clone() }, active, Some(9));
        // Nothing failed after the recovery: its own deliveries ended the outage.
        let last = Some(LastFailure { at: ago(2), outcome: Outcome::Timeout, status_code: None, error: None });
        check(EndpointHealth { recoveries: recovered(10, 2), last_failure: last, ..failed }, active, None);
        check(EndpointHealth { recoveries: recovered(10, 2), ..failing.clone() }, active, Some(5));
        // A disabled endpoint needs a recovery; an endpoint that its customer made inactive does not.
        check(EndpointHealth { off: outage(2, None), ..none() }, EndpointStatus::Disabled, Some(2));
        check(EndpointHealth { off: outage(2, None), ..none() }, EndpointStatus::Inactive, None);
        check(EndpointHealth { off: outage(2, None), ..failing }, EndpointStatus::Disabled, Some(5));
    }
}
