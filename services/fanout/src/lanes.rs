//! Chooses the lane in which a delivery starts. The lane is slow if the endpoint's breaker is open. It is bulk if the tenant
//! exceeds its fair share or the event matches more than [`ENDPOINTS_MAX`] endpoints. Otherwise it is the lane that ingest
//! chose.

use std::time::Instant;

use parking_lot::Mutex;
use postrider_broker::BreakerStates;
use postrider_model::delivery::Lane;
use postrider_model::ids::EndpointId;
use postrider_wire::messages::AcceptedEvent;

use crate::tenant_shares::TenantShares;

/// Maximum number of endpoints of an event whose deliveries start in the live lane. An event for more endpoints is a burst that
/// would delay other events. If many of its endpoints do not answer, the burst would also use up the budget of the live lane
/// before the breakers open.
const ENDPOINTS_MAX: usize = 100;

/// The state on which the choice of a lane depends.
pub(crate) struct Lanes {
    breakers: BreakerStates,
    shares: Mutex<TenantShares>,
}

impl Lanes {
    pub(crate) fn new(breakers: BreakerStates) -> Self {
        Self { breakers, shares: Mutex::new(TenantShares::new(Instant::now())) }
    }

    /// Whether the dispatchers report the endpoint's breaker as open or half open.
    pub(crate) fn is_broken(&self, endpoint: EndpointId) -> bool {
        self.breakers.is_open(endpoint)
    }

    /// Chooses the lane for an event with this number of `deliveries` to healthy endpoints, and charges the deliveries to the
    /// tenant's fair share.
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
