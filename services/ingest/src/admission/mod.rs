//! Admission: decides whether events of a tenant are accepted now, and chooses the lane of their deliveries.
//!
//! [`Gate`] is the only place that admits events. It refuses events while too many messages or deliveries wait behind ingest,
//! and it charges the events to the tenant's rate. Its result is an [`Admission`], which is required to accept an event. It
//! delays no requests.

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
use crate::refused::Refused;

/// Permission to publish events of one tenant.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    pub(crate) tenant: PublishingTenant,
    /// The lane of the event's deliveries.
    pub(crate) lane: Lane,
    /// What to do with events that have expired.
    pub(crate) expired: ExpiredEvents,
}

/// What ingest does with an event that has expired when it is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExpiredEvents {
    /// Refuse it: the producer waits for the answer.
    Refuse,
    /// Accept it, so that it is on record; its deliveries are discarded. A message may have waited in the queue until its event
    /// expired, which is no mistake of its producer.
    Accept,
}

/// Admits events.
pub(crate) struct Gate {
    pub(crate) directory: Arc<TenantDirectory>,
    backpressure: Arc<Backpressure>,
    waiting: Arc<WaitingDeliveries>,
    waiting_deliveries_max: u64,
}

impl Gate {
    /// Starts the tasks that measure the waiting messages and deliveries.
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

    /// Checks whether ingest accepts any events now.
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
    /// The tenant was deleted, its profile is not loaded, or it exceeds one of its limits.
    pub(crate) fn admit_request(&self, tenant: TenantId, events: usize) -> Result<Admission, Refused> {
        let publishing = self.directory.publishing_tenant(tenant)?;
        self.waiting.check_tenant(tenant, self.directory.waiting_max(tenant))?;
        self.directory.charge(tenant, events)?;
        Ok(Admission { tenant: publishing, lane: Lane::Live, expired: ExpiredEvents::Refuse })
    }

    /// Charges the events of a message to the tenant's rate, and returns their lane. It is the bulk lane if the tenant exceeds
    /// a limit, because a message cannot be refused with 429.
    pub(crate) fn lane_of_message(&self, tenant: TenantId, events: usize) -> Lane {
        let within = self.directory.charge(tenant, events).is_ok()
            && self.waiting.check_tenant(tenant, self.directory.waiting_max(tenant)).is_ok();
        if within { Lane::Live } else { Lane::Bulk }
    }
}
