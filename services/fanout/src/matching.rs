//! Matching alone, as fan-out does it: no broker, no database, no deliveries. For benchmarks.

use std::fmt;
use std::sync::Arc;

use postrider_model::event::EventType;
use postrider_model::ids::TenantId;
use postrider_model::payload_filter::Payload;
use postrider_profiles::Profiles;
use postrider_store::feed::Changes;

use crate::index::{Index, Staged};

/// What fan-out looks events up in, with all that it remembers of the configuration.
pub struct Matcher {
    index: Index,
    known: Staged,
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher").field("version", &self.index.version()).finish_non_exhaustive()
    }
}

impl Matcher {
    /// One that knows no tenant.
    pub fn new(profiles: Arc<Profiles>) -> Self {
        Self { index: Index::new(profiles), known: Staged::default() }
    }

    /// Puts in force what the configuration feed says.
    pub fn apply(&mut self, changes: Changes) {
        self.index.apply(&mut self.known, changes);
    }

    /// How many endpoints of the tenant want this event; 0 for a tenant that is not known.
    pub fn matching(&self, tenant: TenantId, event_type: &EventType, payload: &Payload<'_>) -> usize {
        let (_, tenant) = self.index.tenant(tenant);
        tenant.map_or(0, |tenant| tenant.matching(event_type, payload).len())
    }
}
