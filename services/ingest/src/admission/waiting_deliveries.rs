//! Limits on the number of waiting deliveries, per tenant and in total. A waiting delivery may occupy the broker for up to 7
//! days.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use postrider_model::ids::TenantId;
use postrider_store::Store;
use postrider_store::waiting::Waiting as Count;

use crate::refused::Refused;

/// Interval at which the count is read. A recorder counts every 10 s.
const READ_EVERY: Duration = Duration::from_secs(3);
/// Maximum number of tenants whose counts are read. Tenants with the most waiting deliveries come first.
const TENANTS_MAX: u32 = 10_000;
/// Time after which a refused producer should try again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The last count of waiting deliveries.
#[derive(Debug, Default)]
pub(crate) struct WaitingDeliveries(RwLock<Latest>);

#[derive(Debug, Default)]
struct Latest {
    deliveries: u64,
    tenants: HashMap<TenantId, u64>,
}

impl WaitingDeliveries {
    /// Reads the count every few seconds. While the database is unavailable, the last count remains in use.
    pub(crate) async fn watch(self: Arc<Self>, store: Store) {
        let mut ticks = tokio::time::interval(READ_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match store.history().waiting(TENANTS_MAX).await {
                Ok(counted) => self.set(counted),
                Err(error) => {
                    tracing::debug!(%error, "cannot read the count of waiting deliveries; using the last one")
                }
            }
        }
    }

    fn set(&self, counted: Count) {
        let Count { deliveries, tenants, .. } = counted;
        *self.0.write() = Latest { deliveries, tenants: tenants.into_iter().collect() };
    }

    /// # Errors
    /// More than `max` deliveries of all tenants together are waiting.
    pub(crate) fn check_all(&self, max: u64) -> Result<(), Refused> {
        let waiting = self.0.read().deliveries;
        if waiting <= max {
            return Ok(());
        }
        let detail = format!(
            "limit WAITING_DELIVERIES_MAX: {waiting} deliveries of all tenants wait, at most {max} may; nothing was accepted"
        );
        Err(Refused::later(detail, RETRY_AFTER))
    }

    /// # Errors
    /// More than `max` deliveries of the tenant are waiting.
    pub(crate) fn check_tenant(&self, tenant: TenantId, max: u64) -> Result<(), Refused> {
        let waiting = self.0.read().tenants.get(&tenant).copied().unwrap_or_default();
        if waiting <= max {
            return Ok(());
        }
        let detail = format!(
            "limit waiting_deliveries: {waiting} deliveries of this tenant wait, at most {max} may; \
             mend, disable or delete the endpoints that fail, or cancel their deliveries"
        );
        Err(Refused::limited(detail, RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use postrider_http::problem::Problem;

    use super::*;

    #[test]
    fn a_tenant_over_its_limit_gets_429_and_all_tenants_503_over_the_total() {
        let (greedy, modest) = (TenantId::generate(), TenantId::generate());
        let waiting = WaitingDeliveries::default();
        waiting.check_all(0).unwrap();
        waiting.set(Count { deliveries: 120, tenants: vec![(greedy, 101), (modest, 19)], counted_at: None });
        let refused = Problem::from(waiting.check_tenant(greedy, 100).unwrap_err());
        assert_eq!((refused.status, refused.detail.contains("limit waiting_deliveries: 101")), (429, true));
        waiting.check_tenant(modest, 100).unwrap();
        waiting.check_tenant(TenantId::generate(), 100).unwrap();
        waiting.check_all(120).unwrap();
        let refused = Problem::from(waiting.check_all(119).unwrap_err());
        assert_eq!((refused.status, refused.detail.contains("WAITING_DELIVERIES_MAX")), (503, true));
        waiting.set(Count::default());
        waiting.check_tenant(greedy, 100).unwrap();
    }
}
