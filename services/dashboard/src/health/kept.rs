//! The figures of the health page, and the figures of long ranges that are kept for a few minutes.
//!
//! The figures of all webhooks over 7 or 30 days are sums over the hours of every webhook: with 1,000 webhooks more than a million rows,
//! which take about a second. Visitors of one tenant share one reading. The keys are a tenant and a range, so that the caller checks
//! before that the visitor may read the tenant.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_operations::failures::Failures;
use postrider_operations::stats::{Stats, StatsQuery};
use postrider_operations::{Error, Operations};

use super::worst::LISTED;
use crate::components::{Range, failures_query};
use crate::page::Page;

/// How long figures are kept.
const KEPT: Duration = Duration::from_secs(300);
/// Maximum number of kept figures, each of at most about 200 KB.
const KEPT_MAX: u64 = 200;

/// All that the page shows of a range.
pub(super) struct Found {
    pub(super) stats: Stats,
    pub(super) failures: Failures,
    /// The webhooks with the lowest success rates, with their successes and failures; empty for the figures of one webhook.
    pub(super) worst: Vec<(EndpointId, u64, u64)>,
    pub(super) read_at: UnixMillis,
}

/// Kept figures by tenant and range.
#[derive(Clone)]
pub(super) struct KeptFigures(Cache<(TenantId, &'static str), Arc<Found>>);

impl Default for KeptFigures {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(KEPT_MAX).time_to_live(KEPT).build())
    }
}

impl KeptFigures {
    /// The figures of a range, of one webhook if `endpoint` is not empty. Figures of all webhooks over a long range may be as old
    /// as [`KEPT`].
    pub(super) async fn read(&self, page: &Page, endpoint: &str, range: &Range) -> Result<Arc<Found>, Error> {
        if !endpoint.is_empty() || !range.is_long() {
            return read(page, endpoint, range.query()).await;
        }
        let reading = read(page, endpoint, range.query());
        let found = self.0.try_get_with((page.tenant.id, range.name), reading).await;
        found.map_err(|error: Arc<Error>| Error::clone(&error))
    }
}

/// Reads the three parts at the same time, because each scans the hours of all webhooks.
async fn read(page: &Page, endpoint: &str, query: StatsQuery) -> Result<Arc<Found>, Error> {
    let operations: &Operations = &page.operations;
    let (caller, causes) = (page.caller, failures_query(query));
    let (stats, failures, worst) = if endpoint.is_empty() {
        tokio::try_join!(
            operations.tenant_stats(caller, &query),
            operations.tenant_failures(caller, &causes),
            operations.worst_endpoints(caller, &query, LISTED)
        )?
    } else {
        let of_endpoint = tokio::try_join!(
            operations.endpoint_stats(caller, endpoint, &query),
            operations.endpoint_failures(caller, endpoint, &causes)
        )?;
        (of_endpoint.0, of_endpoint.1, Vec::new())
    };
    let worst = worst.into_iter().map(|counts| (counts.endpoint, counts.successes, counts.failures)).collect();
    Ok(Arc::new(Found { stats, failures, worst, read_at: UnixMillis::now() }))
}
