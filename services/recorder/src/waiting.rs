//! Counts pending deliveries every few seconds. Ingest needs the counts to enforce limits, and the counts are shown to
//! operators.

use std::time::{Duration, Instant};

use postrider_store::Store;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// Counts take at most 1/`SHARE` of the time, so the pause after a slow count is longer.
const SHARE: u32 = 20;

/// Counts pending deliveries until `stop`.
pub(crate) async fn run(store: Store, every: Duration, stop: CancellationToken) {
    let mut pause = Duration::ZERO;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let started = Instant::now();
        let counting = async {
            store.record().count_waiting().await?;
            store.history().waiting(1).await
        };
        let Some(counted) = stop.run_until_cancelled(counting).await else { return };
        pause = every.max(started.elapsed() * SHARE);
        match counted {
            Ok(waiting) => metrics::waiting(waiting.deliveries),
            Err(error) => tracing::debug!(%error, "cannot count pending deliveries; retrying later"),
        }
    }
}
