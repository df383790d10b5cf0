//! Limits heavy work for each tenant and in this process: computations, which run on blocking threads, searches in the database,
//! dry runs and test calls.

use std::time::Duration;

use postrider_model::ids::TenantId;
use postrider_model::limits::{REPLAY_DRY_RUNS_AT_ONCE, SEARCHES_AT_ONCE, TEST_CALLS_AT_ONCE};
use postrider_telemetry::slots::{Full, Slot, Slots};

use crate::error::Error;

/// Maximum number of concurrent schema checks in this process. The same limit applies to explanations, to exports and to dry
/// runs.
const IN_PROCESS: usize = 4;
const TEST_CALLS_IN_PROCESS: usize = 64;
/// Maximum number of concurrent searches in this process. Most connections of the pool remain free for other work.
const SEARCHES_IN_PROCESS: usize = 8;
/// Maximum time for which schema checks, explanations, exports and searches wait for a slot.
const WAIT: Duration = Duration::from_secs(2);

/// Slots for heavy work, by tenant.
pub(crate) struct Heavy {
    schemas: Slots<TenantId>,
    explanations: Slots<TenantId>,
    exports: Slots<TenantId>,
    dry_runs: Slots<TenantId>,
    test_calls: Slots<TenantId>,
    searches: Slots<TenantId>,
}

impl Heavy {
    pub(crate) fn new() -> Self {
        Self {
            schemas: Slots::new(1, IN_PROCESS),
            explanations: Slots::new(1, IN_PROCESS),
            exports: Slots::new(1, IN_PROCESS),
            dry_runs: Slots::new(REPLAY_DRY_RUNS_AT_ONCE, IN_PROCESS),
            test_calls: Slots::new(TEST_CALLS_AT_ONCE, TEST_CALLS_IN_PROCESS),
            searches: Slots::new(SEARCHES_AT_ONCE, SEARCHES_IN_PROCESS),
        }
    }

    /// Compiles a tenant's schema and checks its sample.
    pub(crate) async fn check_schema<T: Send + 'static>(
        &self,
        tenant: TenantId,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        holding(enter(&self.schemas, tenant, "schemas", 1, WAIT).await?, check).await
    }

    /// Evaluates a tenant's filters on an event.
    pub(crate) async fn explain<T: Send + 'static>(
        &self,
        tenant: TenantId,
        explain: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        holding(enter(&self.explanations, tenant, "explanations", 1, WAIT).await?, explain).await
    }

    /// Writes a tenant's catalog as a document.
    pub(crate) async fn export<T: Send + 'static>(
        &self,
        tenant: TenantId,
        export: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        holding(enter(&self.exports, tenant, "exports of the catalog", 1, WAIT).await?, export).await
    }

    /// A slot for a dry run of a replay.
    pub(crate) async fn dry_run(&self, tenant: TenantId) -> Result<Slot, Error> {
        enter(&self.dry_runs, tenant, "dry runs of replays", REPLAY_DRY_RUNS_AT_ONCE, Duration::ZERO).await
    }

    /// A slot for a search in the rows of a tenant, or with `None` for an operator's search in the rows of every tenant.
    pub(crate) async fn search(&self, tenant: Option<TenantId>) -> Result<Slot, Error> {
        let owner = tenant.unwrap_or(TenantId::OPERATOR);
        enter(&self.searches, owner, "searches in the history", SEARCHES_AT_ONCE, WAIT).await
    }

    /// A slot for a test call.
    pub(crate) async fn test_call(&self, tenant: TenantId) -> Result<Slot, Error> {
        enter(&self.test_calls, tenant, "test calls", TEST_CALLS_AT_ONCE, Duration::ZERO).await
    }
}

/// Runs work on a blocking thread. The work holds the slot until it ends, even if nobody waits for it any more.
async fn holding<T: Send + 'static>(slot: Slot, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    off_thread(move || {
        let _slot = slot;
        work()
    })
    .await
}

/// Runs work on a blocking thread.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a task on a blocking thread failed");
        Error::Internal
    })
}

/// Waits at most `wait` for a slot. Errors name the kind of work, `what`, and the number of slots of a tenant, `each`.
async fn enter(
    slots: &Slots<TenantId>,
    tenant: TenantId,
    what: &str,
    each: usize,
    wait: Duration,
) -> Result<Slot, Error> {
    slots.enter(tenant, wait).await.map_err(|full| match full {
        Full::Owner => Error::too_many(format!("{what}: at most {each} at once for a tenant"), WAIT),
        Full::Process => Error::unavailable(format!("{what}: too many at once")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_third_search_of_a_tenant_waits_and_is_refused_after_two_seconds() {
        let (heavy, one, other) = (Heavy::new(), Some(TenantId::generate()), Some(TenantId::generate()));
        let held = [heavy.search(one).await.unwrap(), heavy.search(one).await.unwrap()];
        let refused = heavy.search(one).await.unwrap_err();
        assert_eq!(refused.to_string(), "searches in the history: at most 2 at once for a tenant");
        assert!(heavy.search(other).await.is_ok() && heavy.search(None).await.is_ok());
        drop(held);
        assert!(heavy.search(one).await.is_ok());
    }

    #[tokio::test]
    async fn each_tenant_has_four_test_calls_and_one_dry_run_at_once() {
        let (heavy, one, other) = (Heavy::new(), TenantId::generate(), TenantId::generate());
        let mut held = Vec::new();
        for _ in 0..TEST_CALLS_AT_ONCE {
            held.push(heavy.test_call(one).await.unwrap());
        }
        let refused = heavy.test_call(one).await.unwrap_err();
        assert_eq!(refused.to_string(), "test calls: at most 4 at once for a tenant");
        assert!(heavy.test_call(other).await.is_ok());
        held.push(heavy.dry_run(one).await.unwrap());
        assert!(matches!(heavy.dry_run(one).await, Err(Error::TooMany { .. })));
        assert!(heavy.dry_run(other).await.is_ok());
        drop(held);
        assert!(heavy.dry_run(one).await.is_ok() && heavy.test_call(one).await.is_ok());
    }
}
