//! The matching of fan-out without broker, database and deliveries, for benchmarks.

use std::fmt;
use std::sync::Arc;

use postrider_model::event::EventType;
use postrider_model::ids::TenantId;
use postrider_model::payload_filter::Payload;
use postrider_profiles::Profiles;
use postrider_store::feed::Changes;

use crate::index::{Index, Staged};

/// The subscriptions of all tenants.
pub struct Matcher {
    index: Index,
    staged: Staged,
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher").field("version", &self.index.version()).finish_non_exhaustive()
    }
}

impl Matcher {
    /// Creates a matcher without tenants.
    pub fn new(profiles: Arc<Profiles>) -> Self {
        Self { index: Index::new(profiles), staged: Staged::default() }
    }

    /// Applies changes of the configuration feed.
    pub fn apply(&mut self, changes: Changes) {
        self.index.apply(&mut self.staged, changes);
    }

    /// Returns the number of the tenant's endpoints that match this event, or 0 for an unknown tenant.
    pub fn matching(&self, tenant: TenantId, event_type: &EventType, payload: &Payload<'_>) -> usize {
        self.index.tenant(tenant).tenant.map_or(0, |tenant| tenant.matching(event_type, payload).len())
    }
}
