//! Reads an endpoint from the database and prepares it for attempts.

use std::sync::Arc;

use postrider_model::ids::EndpointId;
use postrider_profiles::Profiles;
use postrider_store::Store;

use super::service::ServiceUrls;
use super::{DatabaseUnavailable, EndpointState, LoadedEndpoint, PreparedEndpoint};
use crate::metrics::Metrics;

/// Reads endpoints.
pub(crate) struct EndpointLoader {
    pub(crate) store: Store,
    pub(crate) profiles: Arc<Profiles>,
    pub(crate) services: ServiceUrls,
    pub(crate) metrics: Arc<Metrics>,
}

impl EndpointLoader {
    /// Reads one endpoint for a delivery that needs `config_version`.
    ///
    /// A failure is logged. After a failure, the cache calls this function at most once per second.
    pub(crate) async fn load(
        &self,
        id: EndpointId,
        config_version: i64,
    ) -> Result<LoadedEndpoint, DatabaseUnavailable> {
        match self.store.config().endpoint_for_dispatch(id).await {
            Ok(None) => {
                self.metrics.loads_ok.increment(1);
                Ok(LoadedEndpoint { state: EndpointState::Deleted, config_version })
            }
            Ok(Some(endpoint)) => {
                self.metrics.loads_ok.increment(1);
                let config_version = endpoint.config_version;
                let state = match PreparedEndpoint::new(endpoint, &self.profiles, &self.services) {
                    Ok(prepared) => EndpointState::Ready(Arc::new(prepared)),
                    Err(unusable) => {
                        tracing::warn!(endpoint.id = %id, reason = %unusable, "cannot attempt an endpoint; its deliveries wait");
                        EndpointState::Unusable
                    }
                };
                Ok(LoadedEndpoint { state, config_version })
            }
            Err(error) => {
                self.metrics.loads_failed.increment(1);
                if error.is_unavailable() {
                    tracing::debug!(%error, "cannot read an endpoint; its deliveries wait");
                } else {
                    tracing::warn!(%error, "cannot read an endpoint; its deliveries wait");
                }
                Err(DatabaseUnavailable)
            }
        }
    }
}
