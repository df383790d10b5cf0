//! Limits the changes of each tenant, because every change holds a lock for which the changes of all tenants wait.

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use postrider_model::ids::TenantId;
use postrider_model::limits::{EDITS_BURST, EDITS_PER_SECOND};

use crate::error::Error;

/// Number of budgets in memory above which budgets that are full again are removed.
const TENANTS_MAX: usize = 10_000;

/// A budget of changes for each tenant. All keys of a tenant share it.
pub(crate) struct EditBudgets(RateLimiter<TenantId, HashMapStateStore<TenantId>, DefaultClock>);

impl Default for EditBudgets {
    fn default() -> Self {
        let quota = Quota::per_second(EDITS_PER_SECOND).allow_burst(EDITS_BURST);
        Self(RateLimiter::hashmap_with_clock(quota, DefaultClock::default()))
    }
}

impl EditBudgets {
    /// Charges a change to a tenant.
    ///
    /// # Errors
    /// [`Error::TooMany`] if the tenant's budget is used up.
    pub(crate) fn charge(&self, tenant: TenantId) -> Result<(), Error> {
        if self.0.len() > TENANTS_MAX {
            self.0.retain_recent();
        }
        self.0.check_key(&tenant).map_err(|over| {
            let detail = format!("a tenant may make {EDITS_PER_SECOND} changes a second, {EDITS_BURST} at once");
            Error::too_many(detail, over.wait_time_from(DefaultClock::default().now()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_its_own_budget_of_changes() {
        let (budgets, one, other) = (EditBudgets::default(), TenantId::generate(), TenantId::generate());
        // Twice the burst exceeds the budget, even if a slow machine refills a part of it meanwhile.
        let refused = (0..2 * EDITS_BURST.get()).find_map(|_| budgets.charge(one).err());
        assert!(matches!(refused, Some(Error::TooMany { .. })), "{refused:?}");
        assert_eq!(budgets.charge(other), Ok(()));
    }
}
