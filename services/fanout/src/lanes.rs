//! The lane that a delivery starts in: slow if its endpoint's breaker is open, bulk if its tenant is beyond its share or its
//! event goes to more than [`ENDPOINTS_MAX`] endpoints, otherwise the lane that ingest chose.

use std::time::Instant;

use parking_lot::Mutex;
use postrider_broker::BreakerStates;
use postrider_model::delivery::Lane;
use postrider_model::ids::EndpointId;
use postrider_wire::messages::AcceptedEvent;

use crate::tenant_shares::TenantShares;

/// Maximum number of endpoints of one event in the live lane. An event for more is a burst that would delay other events. If many
/// of its endpoints do not answer, it would also fill the budget of the live lane before their breakers open.
const ENDPOINTS_MAX: usize = 100;

/// What the choice of a lane depends on.
pub(crate) struct Lanes {
    breakers: BreakerStates,
    shares: Mutex<TenantShares>,
}

impl Lanes {
    pub(crate) fn new(breakers: BreakerStates) -> Self {
        Self { breakers, shares: Mutex::new(TenantShares::new(Instant::now())) }
    }

    /// Whether the dispatchers report an endpoint's breaker as open.
    pub(crate) fn is_broken(&self, endpoint: EndpointId) -> bool {
        self.breakers.is_open(endpoint)
    }

    /// Chooses the lane for an event with this many `deliveries` to healthy endpoints, and charges them to its tenant's share.
    pub(crate) fn of(&self, event: &AcceptedEvent, deliveries: usize) -> Lane {
        if event.lane != Lane::Live || deliveries == 0 {
            return event.lane;
        }
        if deliveries > ENDPOINTS_MAX {
            return Lane::Bulk;
        }
        let within = self.shares.lock().charge(event.tenant, deliveries, Instant::now());
        if within { Lane::Live } else { Lane::Bulk }
    }
}
