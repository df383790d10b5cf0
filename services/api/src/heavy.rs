//! Work of the API that takes more than a moment: it runs off the async threads, and a tenant has few pieces of it at once.

use std::time::Duration;

use postrider_http::problem::Problem;
use postrider_model::ids::TenantId;
use postrider_model::limits::{REPLAY_DRY_RUNS_AT_ONCE, TEST_CALLS_AT_ONCE};
use postrider_telemetry::slots::{Full, Slot, Slots};

/// Pieces of one kind at once in this process, of all tenants.
const CHECKS_IN_ALL: usize = 4;
const DRY_RUNS_IN_ALL: usize = 4;
const EXPLANATIONS_IN_ALL: usize = 4;
const TEST_CALLS_IN_ALL: usize = 64;
/// Longest wait for what is over soon.
const WAIT: Duration = Duration::from_secs(2);

/// Who does how much of it now.
pub(crate) struct Heavy {
    /// Schemas that are compiled, and samples that are checked.
    schemas: Slots<TenantId>,
    explanations: Slots<TenantId>,
    dry_runs: Slots<TenantId>,
    test_calls: Slots<TenantId>,
}

impl Heavy {
    pub(crate) fn new() -> Self {
        Self {
            schemas: Slots::new(1, CHECKS_IN_ALL),
            explanations: Slots::new(1, EXPLANATIONS_IN_ALL),
            dry_runs: Slots::new(REPLAY_DRY_RUNS_AT_ONCE, DRY_RUNS_IN_ALL),
            test_calls: Slots::new(TEST_CALLS_AT_ONCE, TEST_CALLS_IN_ALL),
        }
    }

    /// Reads a tenant's schema and checks its sample.
    ///
    /// # Errors
    /// 429 while another of the tenant's is being checked, 503 while too many of all tenants' are.
    pub(crate) async fn check_schema<T: Send + 'static>(
        &self,
        tenant: TenantId,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let slot = self.schemas.enter(tenant, WAIT).await;
        off_thread(slot.map_err(|full| busy(full, "schemas", 1))?, check).await
    }

    /// Asks a tenant's filters about an event.
    ///
    /// # Errors
    /// 429 while another event of the tenant's is being explained, 503 while too many of all tenants' are.
    pub(crate) async fn explain<T: Send + 'static>(
        &self,
        tenant: TenantId,
        explain: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let slot = self.explanations.enter(tenant, WAIT).await;
        off_thread(slot.map_err(|full| busy(full, "explanations", 1))?, explain).await
    }

    /// Lets a tenant's dry run begin; it runs while the slot is held.
    ///
    /// # Errors
    /// 429 while another of the tenant's runs, 503 while too many of all tenants' do.
    pub(crate) async fn dry_run(&self, tenant: TenantId) -> Result<Slot, Problem> {
        let slot = self.dry_runs.enter(tenant, Duration::ZERO).await;
        slot.map_err(|full| busy(full, "dry runs of replays", REPLAY_DRY_RUNS_AT_ONCE))
    }

    /// Lets a tenant's test call begin; it runs while the slot is held.
    ///
    /// # Errors
    /// 429 while [`TEST_CALLS_AT_ONCE`] of the tenant's run, 503 while too many of all tenants' do.
    pub(crate) async fn test_call(&self, tenant: TenantId) -> Result<Slot, Problem> {
        let slot = self.test_calls.enter(tenant, Duration::ZERO).await;
        slot.map_err(|full| busy(full, "test calls", TEST_CALLS_AT_ONCE))
    }
}

async fn off_thread<T: Send + 'static>(slot: Slot, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let work = move || {
        let _slot = slot;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "work off the async threads failed");
        Problem::internal()
    })
}

fn busy(full: Full, what: &str, each: usize) -> Problem {
    match full {
        Full::Owner => Problem::too_many_requests(format!("{what}: at most {each} at once for a tenant"), WAIT),
        Full::Process => Problem::unavailable(format!("{what}: too many at once"), WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tenant_has_four_test_calls_and_one_dry_run_and_others_their_own() {
        let (heavy, one, other) = (Heavy::new(), TenantId::generate(), TenantId::generate());
        let mut held = Vec::new();
        for _ in 0..TEST_CALLS_AT_ONCE {
            held.push(heavy.test_call(one).await.unwrap());
        }
        let refused = heavy.test_call(one).await.unwrap_err();
        assert_eq!((refused.status, refused.detail.as_str()), (429, "test calls: at most 4 at once for a tenant"));
        assert!(heavy.test_call(other).await.is_ok());
        held.push(heavy.dry_run(one).await.unwrap());
        assert_eq!(heavy.dry_run(one).await.unwrap_err().status, 429);
        assert!(heavy.dry_run(other).await.is_ok());
        drop(held);
        assert!(heavy.dry_run(one).await.is_ok() && heavy.test_call(one).await.is_ok());
    }
}
