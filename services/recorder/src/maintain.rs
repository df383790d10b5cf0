//! Keeping the days' partitions: made ahead before anything is consumed, dropped when the retention is over.

use std::time::Duration;

use postrider_model::time::UnixMillis;
use postrider_store::partitions::Maintained;
use postrider_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::metrics;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Maintains until it succeeded once; `false` when `stop` came first. When another process is at it, waits for its turn:
/// consuming may begin only when the partitions are there.
pub(crate) async fn until_done(store: &Store, retention_days: u32, stop: &CancellationToken) -> bool {
    let mut pause = FIRST_PAUSE;
    loop {
        match once(store, retention_days).await {
            Ok(maintained) if !maintained.busy => return true,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, retry_in_ms = pause.as_millis(), "cannot make partitions; consuming nothing");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

/// Maintains each hour until `stop`; a failure is tried again the next time, there are days to spare.
pub(crate) async fn hourly(store: Store, config: Config, stop: CancellationToken) {
    let mut tick = tokio::time::interval(config.maintain_every);
    tick.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = once(&store, config.retention_days).await {
            tracing::warn!(%error, "cannot maintain partitions");
        }
    }
}

async fn once(store: &Store, retention_days: u32) -> Result<Maintained, StoreError> {
    let maintained = store.maintain_partitions(UnixMillis::now().day(), retention_days).await?;
    let (created, dropped) = (maintained.created.len(), maintained.dropped.len());
    if created + dropped > 0 {
        tracing::info!(created, dropped, retention_days, "partitions maintained");
        metrics::partitions(created, dropped);
    }
    Ok(maintained)
}
