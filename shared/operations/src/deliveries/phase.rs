//! Determines what pending deliveries wait for. The breaker or the rate of an endpoint may hold its deliveries back.

use std::collections::HashSet;

use postrider_model::breaker::BreakerState;
use postrider_model::delivery::HeldReason;
use postrider_model::delivery_phase::DeliveryPhase;
use postrider_model::filters::DeliveryFilter;
use postrider_model::ids::{DeliveryId, EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::history::DeliveryRow;

use super::Delivery;
use crate::{Error, Operations};

impl Operations {
    /// Converts rows to deliveries as answers show them.
    pub(crate) async fn show_deliveries(&self, rows: Vec<DeliveryRow>) -> Result<Vec<Delivery>, Error> {
        let now = UnixMillis::now();
        let overdue =
            |row: &&DeliveryRow| !row.status.is_terminal() && DeliveryPhase::is_overdue(row.next_attempt_at, now);
        let attempted = rows.iter().filter(|row| row.set_aside_bytes.is_none());
        let overdue: HashSet<EndpointId> = attempted.filter(overdue).map(|row| row.delivery.endpoint).collect();
        let overdue: Vec<EndpointId> = overdue.into_iter().collect();
        let rated = if overdue.is_empty() { Vec::new() } else { self.rated(None, Some(&overdue)).await? };
        let holds = |endpoint: EndpointId| match self.breakers.get(endpoint) {
            Some(breaker) if breaker.state != BreakerState::Closed => Some(HeldReason::Breaker),
            _ => rated.contains(&endpoint).then_some(HeldReason::Rate),
        };
        let pending: Vec<DeliveryId> =
            rows.iter().filter(|row| !row.status.is_terminal()).map(|row| row.delivery.id).collect();
        let waiting =
            if pending.is_empty() { Vec::new() } else { self.store.lines().waiting_for_turn(&pending).await? };
        let in_line: HashSet<DeliveryId> = waiting.into_iter().map(|(id, _)| id).collect();
        let view = |row: DeliveryRow| {
            let (holds, is_in_line) = (holds(row.delivery.endpoint), in_line.contains(&row.delivery.id));
            let delivery = Delivery::new(row, holds, now);
            if is_in_line { delivery.in_line() } else { delivery }
        };
        Ok(rows.into_iter().map(view).collect())
    }

    /// Returns the filter with the endpoints that may hold deliveries back. They distinguish the phases `held` and `waiting`.
    pub(super) async fn with_holding(
        &self,
        tenant: Option<TenantId>,
        filter: &DeliveryFilter,
    ) -> Result<DeliveryFilter, Error> {
        let mut filter = filter.clone();
        if matches!(filter.phase, Some(DeliveryPhase::Held | DeliveryPhase::Waiting)) {
            filter.holding = self.rated(tenant, None).await?;
            filter.holding.extend(self.breakers.open().iter().map(|breaker| breaker.endpoint));
        }
        Ok(filter)
    }

    /// Returns the endpoints with a limited rate: only those of `tenant` and only those in `ids`, if these are given.
    async fn rated(&self, tenant: Option<TenantId>, ids: Option<&[EndpointId]>) -> Result<Vec<EndpointId>, Error> {
        let rated = self.profiles.iter().filter(|profile| profile.rate_per_second.is_some());
        let profiles: Vec<String> = rated.map(|profile| profile.name.to_string()).collect();
        Ok(self.store.config().rate_limited_endpoints(tenant, ids, &profiles).await?)
    }
}
