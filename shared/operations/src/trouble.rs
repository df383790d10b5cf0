//! Shows the operator what fails and what waits in the whole deployment, with the names of endpoints and tenants.

use std::collections::HashMap;

use postrider_model::breaker::{BreakerState, BreakerStatement};
use postrider_model::delivery::EndpointStatus;
use postrider_model::ids::{DeliveryId, EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_store::trouble as stored;
use serde::Serialize;
use utoipa::ToSchema;

use crate::endpoints::{Breaker, Health};
use crate::stats::{IntervalLength, Stats, StatsQuery};
use crate::{Caller, Error, Operations};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Number of minutes of `throughput`, including the current minute.
const MINUTES: i64 = 10;
/// Maximum number of endpoints, and of tenants, that are listed.
const LISTED: u32 = 10;
/// Maximum number of breakers that are listed.
const BREAKERS_LISTED: usize = 50;

/// What fails and what waits in the whole deployment.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trouble {
    /// The attempts of all endpoints in the last ten minutes, by minute.
    pub throughput: Stats,
    /// The delivery that has waited longest for its first attempt; `null` if no delivery waits. It may wait in a queue, for the
    /// rate of its endpoint, or for the breaker.
    #[schema(required = true)]
    pub oldest_waiting: Option<OldestWaiting>,
    /// The number of active endpoints whose last 5 attempts or more failed.
    pub failing_endpoints: u64,
    /// Breakers that hold attempts back, at most 50: open breakers before half-open breakers, each sorted by `since`, oldest
    /// first.
    pub breakers: Vec<HoldingBreaker>,
    /// The time from which `endpoints` and `tenants` count attempts: the start of the previous hour.
    pub failures_from: Timestamp,
    /// The ten endpoints with the most failed attempts, in descending order of failures.
    pub endpoints: Vec<EndpointTrouble>,
    /// The ten tenants with the most failed attempts, in descending order of failures.
    pub tenants: Vec<TenantTrouble>,
}

/// An endpoint and its tenant by their names.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NamedEndpoint {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Its name.
    #[schema(example = "bounces")]
    pub endpoint_name: String,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// The tenant's name.
    #[schema(example = "acme")]
    pub tenant_name: String,
}

/// A delivery that waits for its first attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct OldestWaiting {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// When it was created.
    pub created_at: Timestamp,
    /// The endpoint of the delivery.
    #[serde(flatten)]
    pub endpoint: NamedEndpoint,
}

/// A breaker that holds the attempts of an endpoint back.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldingBreaker {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: NamedEndpoint,
    /// `open` or `half_open`.
    pub state: BreakerState,
    /// When the breaker entered this state.
    pub since: Timestamp,
}

/// An endpoint with failed attempts.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointTrouble {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: NamedEndpoint,
    /// Whether it receives events.
    pub status: EndpointStatus,
    /// Whether attempts are held back because it fails.
    pub breaker: Breaker,
    /// Since when it fails, and why.
    pub health: Health,
    /// The number of its attempts.
    pub attempts: u64,
    /// The number of its attempts that failed.
    pub failures: u64,
}

/// A tenant with failed attempts.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantTrouble {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its name.
    #[schema(example = "acme")]
    pub tenant_name: String,
    /// The number of its attempts.
    pub attempts: u64,
    /// The number of its attempts that failed.
    pub failures: u64,
    /// The number of its endpoints with a failed attempt.
    pub endpoints_with_failures: u64,
}

impl From<stored::NamedEndpoint> for NamedEndpoint {
    fn from(named: stored::NamedEndpoint) -> Self {
        let stored::NamedEndpoint { endpoint, name, tenant, tenant_name } = named;
        Self { endpoint_id: endpoint, endpoint_name: name, tenant_id: tenant, tenant_name }
    }
}

impl From<stored::FailingTenant> for TenantTrouble {
    fn from(failing: stored::FailingTenant) -> Self {
        let stored::FailingTenant { tenant, name, successes, failures, endpoints } = failing;
        let attempts = successes + failures;
        Self { tenant_id: tenant, tenant_name: name, attempts, failures, endpoints_with_failures: endpoints }
    }
}

/// Returns the breakers to list: open breakers before half-open breakers, each sorted by `since`, oldest first.
fn listed(mut breakers: Vec<BreakerStatement>) -> Vec<BreakerStatement> {
    breakers.sort_by_key(|breaker| (breaker.state != BreakerState::Open, breaker.since, breaker.endpoint));
    breakers.truncate(BREAKERS_LISTED);
    breakers
}

impl Operations {
    /// Reads what fails and what waits in the whole deployment. Operators only.
    pub async fn read_trouble(&self, caller: Caller) -> Result<Trouble, Error> {
        caller.operator()?;
        let now = UnixMillis::now();
        let minutes = UnixMillis((now.0.div_euclid(MINUTE_MS) - MINUTES + 1) * MINUTE_MS);
        let hours = UnixMillis((now.0.div_euclid(HOUR_MS) - 1) * HOUR_MS);
        let history = self.store.history();
        let by_minute = StatsQuery { by: IntervalLength::Minute, from: Some(minutes), to: None };
        let (throughput, oldest, failing, endpoints, tenants) = tokio::join!(
            self.stats_of_all(&by_minute),
            history.oldest_unattempted(),
            history.count_failing_endpoints(),
            history.failing_endpoints(hours, LISTED),
            history.failing_tenants(hours, LISTED),
        );
        let (oldest, endpoints, breakers) = (oldest?, endpoints?, listed(self.breakers.open()));
        let ids = oldest.iter().map(|oldest| oldest.endpoint);
        let ids = ids.chain(endpoints.iter().map(|failing| failing.endpoint));
        let ids: Vec<EndpointId> = ids.chain(breakers.iter().map(|breaker| breaker.endpoint)).collect();
        let (names, health) = tokio::join!(self.named(&ids), self.stored_health(&ids));
        let (names, mut health) = (names?, health?);
        // An endpoint that was deleted long ago has no name, so it is not listed.
        let endpoints = endpoints.into_iter().filter_map(|failing| {
            let stored::FailingEndpoint { endpoint, status, successes, failures } = failing;
            let breaker = Breaker::from(self.breakers.get(endpoint));
            let health = Health::of(health.remove(&endpoint).unwrap_or_default(), status, breaker.state, now);
            let named = names.get(&endpoint)?.clone();
            let attempts = successes + failures;
            Some(EndpointTrouble { endpoint: named, status, breaker, health, attempts, failures })
        });
        let breakers = breakers.into_iter().filter_map(|breaker| {
            let endpoint = names.get(&breaker.endpoint)?.clone();
            Some(HoldingBreaker { endpoint, state: breaker.state, since: breaker.since.into() })
        });
        let oldest_waiting = oldest.and_then(|oldest| {
            let endpoint = names.get(&oldest.endpoint)?.clone();
            Some(OldestWaiting { delivery_id: oldest.id, created_at: oldest.created_at.into(), endpoint })
        });
        Ok(Trouble {
            throughput: throughput?,
            oldest_waiting,
            failing_endpoints: failing?,
            breakers: breakers.collect(),
            failures_from: hours.into(),
            endpoints: endpoints.collect(),
            tenants: tenants?.into_iter().map(TenantTrouble::from).collect(),
        })
    }

    /// The names of endpoints, by id.
    async fn named(&self, ids: &[EndpointId]) -> Result<HashMap<EndpointId, NamedEndpoint>, Error> {
        let named = self.store.history().names_of_endpoints_of_all(ids).await?;
        Ok(named.into_iter().map(|named| (named.endpoint, named.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_breakers_come_first_then_the_longest() {
        let breaker = |state, since| BreakerStatement {
            endpoint: EndpointId::generate(),
            state,
            since: UnixMillis(since),
            seen_at: UnixMillis(since),
        };
        let mut all: Vec<_> = (0..60).map(|at| breaker(BreakerState::HalfOpen, at)).collect();
        all.extend([breaker(BreakerState::Open, 500), breaker(BreakerState::Open, 400)]);
        let listed: Vec<i64> = listed(all).iter().map(|breaker| breaker.since.0).collect();
        assert_eq!(listed[..4], [400, 500, 0, 1]);
        assert_eq!(listed.len(), BREAKERS_LISTED);
    }
}
