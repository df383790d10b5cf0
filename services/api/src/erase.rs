//! The eraser: works on the erasures of all tenants step by step. Each API process has one.
//!
//! It runs here and not in the recorder, because the values of erasures are sealed with the master key, which recorders do not
//! have. After a crash it goes on at the last committed step, here or in another process.

use std::time::Duration;

use postrider_ledger::erase::{self, Stepped};
use postrider_store::Store;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::metrics;

/// Pause after a step, which keeps the load on the database low.
const STEP_EVERY: Duration = Duration::from_millis(50);
/// Pause if no erasure has a step to make now.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause after a failure.
const COME_BACK: Duration = Duration::from_secs(2);

/// Works on erasures until `stop`, then finishes the step in progress.
pub async fn run(store: Store, stop: CancellationToken) {
    loop {
        let wait = step(&store).instrument(tracing::info_span!("erase")).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Makes one step. Returns the pause until the next one.
async fn step(store: &Store) -> Duration {
    match erase::step(store).await {
        Ok(None) => LOOK_EVERY,
        Ok(Some(stepped)) => {
            metrics::erasure_step();
            if let Stepped::Ended(id) = stepped {
                tracing::info!(erasure.id = %id, "an erasure has ended");
            }
            STEP_EVERY
        }
        Err(error) => {
            tracing::warn!(%error, "cannot make a step of an erasure; retrying later");
            COME_BACK
        }
    }
}
