//! Admission: decides whether events of a tenant are accepted now, and which lane their deliveries take.
//!
//! [`Gate`] is the one place that admits events. It refuses them while too much waits behind ingest, and charges the tenant's
//! rate. Its result is an [`Admission`], without which no event is accepted. It delays no request.

pub(crate) mod backpressure;
pub(crate) mod event_types;
pub(crate) mod tenant_directory;
pub(crate) mod waiting_deliveries;

use std::sync::Arc;

use postrider_broker::Broker;
use postrider_model::delivery::Lane;
use postrider_model::ids::TenantId;
use postrider_store::Store;
use postrider_telemetry::tasks::Tasks;

use self::backpressure::{Backpressure, QueueLimits};
use self::tenant_directory::{PublishingTenant, TenantDirectory};
use self::waiting_deliveries::WaitingDeliveries;
use crate::config::Config;
use crate::metrics;
use crate::refused::Refused;

/// Permission to publish events of one tenant.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    pub(crate) tenant: PublishingTenant,
    /// The lane that the deliveries take.
    pub(crate) lane: Lane,
}

/// Admits events.
pub(crate) struct Gate {
    pub(crate) directory: Arc<TenantDirectory>,
    backpressure: Arc<Backpressure>,
    waiting: Arc<WaitingDeliveries>,
    waiting_deliveries_max: u64,
}

impl Gate {
    /// Starts the tasks that keep the limits up to date.
    pub(crate) fn start(
        config: &Config,
        directory: Arc<TenantDirectory>,
        broker: Broker,
        store: Store,
        tasks: &Tasks,
    ) -> Self {
        let backpressure = Arc::new(Backpressure::default());
        let limits = QueueLimits { messages_max: config.inner_depth_max, bytes_max: config.inner_bytes_max };
        let watch = Arc::clone(&backpressure).watch(broker, store.clone(), limits);
        tasks.spawn_endless("ingest.pressure", watch);
        let waiting = Arc::new(WaitingDeliveries::default());
        tasks.spawn_endless("ingest.waiting", Arc::clone(&waiting).watch(store));
        Self { directory, backpressure, waiting, waiting_deliveries_max: config.waiting_deliveries_max }
    }

    /// Checks that ingest accepts events of any tenant now.
    ///
    /// # Errors
    /// Too many messages or deliveries wait.
    pub(crate) fn check_open(&self) -> Result<(), Refused> {
        self.backpressure.check()?;
        self.waiting.check_all(self.waiting_deliveries_max)
    }

    /// Admits the events of a request and charges them to the tenant's rate.
    ///
    /// # Errors
    /// The tenant is gone, or exceeds one of its limits.
    pub(crate) fn admit_request(&self, tenant: TenantId, events: usize) -> Result<Admission, Refused> {
        let publishing = self.directory.publishing_tenant(tenant)?;
        self.waiting.check_tenant(tenant, self.directory.waiting_max(tenant))?;
        self.directory.charge(tenant, events).inspect_err(|_| metrics::limited())?;
        Ok(Admission { tenant: publishing, lane: Lane::Live })
    }

    /// Charges a message's events, and returns their lane: over the tenant's limits the bulk lane, because no message gets a 429.
    pub(crate) fn lane_of_message(&self, tenant: TenantId, events: usize) -> Lane {
        let within = self.directory.charge(tenant, events).is_ok()
            && self.waiting.check_tenant(tenant, self.directory.waiting_max(tenant)).is_ok();
        if within { Lane::Live } else { Lane::Bulk }
    }
}
