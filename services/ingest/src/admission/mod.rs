//! What a request or a message may do: which tenant it acts for, how fast, and in which lane.
//!
//! [`Gate`] is the one place that admits events. It refuses while too much waits behind ingest, charges the tenant's rate, and delays
//! requests of a tenant that sends more than its share. The result is an [`Admission`], without which nothing is accepted.

pub(crate) mod backpressure;
pub(crate) mod cpu_pressure;
pub(crate) mod event_types;
pub(crate) mod fair_share;
pub(crate) mod tenant_directory;
pub(crate) mod waiting_deliveries;

use std::sync::Arc;
use std::time::Duration;

use postrider_broker::Broker;
use postrider_model::delivery::Lane;
use postrider_model::ids::TenantId;
use postrider_store::Store;
use postrider_telemetry::tasks::Tasks;

use self::backpressure::{Backpressure, QueueLimits};
use self::cpu_pressure::CpuPressure;
use self::fair_share::FairShare;
use self::tenant_directory::{TenantConfig, TenantDirectory};
use self::waiting_deliveries::WaitingDeliveries;
use crate::config::Config;
use crate::metrics;
use crate::refused::Refused;

/// Permission to publish events of one tenant.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    pub(crate) tenant: TenantConfig,
    /// The lane that the deliveries take.
    pub(crate) lane: Lane,
    /// How long the request was delayed. The delay counts towards the time in which it is answered.
    pub(crate) delayed: Duration,
}

/// Admits events.
pub(crate) struct Gate {
    pub(crate) directory: Arc<TenantDirectory>,
    backpressure: Arc<Backpressure>,
    waiting: Arc<WaitingDeliveries>,
    waiting_deliveries_max: u64,
    fair_share: FairShare,
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
        let cpu_pressure = CpuPressure::default();
        tasks.spawn("ingest.cpu_pressure", cpu_pressure.clone().watch(tasks.stop().clone()));
        let fair_share = FairShare::new(cpu_pressure, config.brake_from);
        Self { directory, backpressure, waiting, waiting_deliveries_max: config.waiting_deliveries_max, fair_share }
    }

    /// Checks that ingest accepts anything at all.
    ///
    /// # Errors
    /// Too many messages or deliveries wait.
    pub(crate) fn check_open(&self) -> Result<(), Refused> {
        self.backpressure.check()?;
        self.waiting.check_all(self.waiting_deliveries_max)
    }

    /// Admits the events of a request: charges them to the tenant's rate, and delays them if the tenant exceeds its share.
    ///
    /// # Errors
    /// The tenant is gone, or exceeds one of its limits.
    pub(crate) async fn admit_request(&self, tenant: TenantId, events: usize) -> Result<Admission, Refused> {
        let config = self.directory.config(tenant)?;
        self.waiting.check_tenant(tenant, self.directory.waiting_max(tenant))?;
        // Before the rate: refusing a flood costs nearly as much as accepting it.
        let delayed = self.fair_share.delay(tenant, events).await?;
        self.directory.charge(tenant, events).inspect_err(|_| metrics::limited())?;
        Ok(Admission { tenant: config, lane: Lane::Live, delayed })
    }

    /// The lane of a message's events. A message cannot be answered with 429: over the tenant's limits it takes the bulk lane.
    pub(crate) fn lane_of_message(&self, tenant: TenantId, events: usize) -> Lane {
        let within = self.directory.charge(tenant, events).is_ok()
            && self.waiting.check_tenant(tenant, self.directory.waiting_max(tenant)).is_ok();
        if within { Lane::Live } else { Lane::Bulk }
    }
}
