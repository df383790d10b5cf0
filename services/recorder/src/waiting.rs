//! Counting the deliveries that wait, every few seconds: what ingest refuses by and an operator sees.

use std::time::{Duration, Instant};

use postrider_store::Store;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// The share of the time that counting may take: one in so many.
const SHARE: u32 = 20;

/// Counts until `stop`.
pub(crate) async fn run(store: Store, every: Duration, stop: CancellationToken) {
    let mut pause = Duration::ZERO;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let begun = Instant::now();
        let counting = async {
            store.record().count_waiting().await?;
            store.history().waiting(1).await
        };
        let Some(counted) = stop.run_until_cancelled(counting).await else { return };
        pause = every.max(begun.elapsed() * SHARE);
        match counted {
            Ok(waiting) => metrics::waiting(waiting.deliveries),
            Err(error) => tracing::debug!(%error, "cannot count the deliveries that wait"),
        }
    }
}
