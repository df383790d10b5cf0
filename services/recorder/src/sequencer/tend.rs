//! What the sequencer looks for regularly: lines that stand still because a message was lost, and deliveries that expired in held
//! lines.

use std::time::{Duration, Instant};

use postrider_model::delivery::DiscardReason;
use postrider_model::time::UnixMillis;

use super::{NotApplied, Sequencer};
use crate::config::ReconcileConfig;
use crate::metrics;

/// Interval of the looks.
const TEND_EVERY: Duration = Duration::from_secs(60);
/// Looks take at most 1/`SHARE` of the time.
const SHARE: u32 = 50;
/// Maximum number of times that a look takes expired deliveries.
const EXPIRY_ROUNDS_MAX: usize = 50;
/// Time after its expiry at which a delivery of a held line is discarded. The clocks of other processes may differ.
const EXPIRED_FOR: Duration = Duration::from_secs(60);

impl Sequencer {
    /// Looks regularly. A line counts as standing still when [`ReconcileConfig::attempted_after`] has passed since its run was
    /// released and since its first delivery ended: a dispatcher works on a run for a few minutes at most.
    pub(super) async fn tend_regularly(&self, config: &ReconcileConfig) {
        let every = TEND_EVERY.min(config.attempted_after);
        let mut pause = every;
        loop {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            if let Err(error) = self.tend(config.attempted_after).await {
                tracing::debug!(%error, "cannot report deliveries that expired in held lines; the reconciler ends them");
            }
            pause = every.max(began.elapsed() * SHARE);
        }
    }

    async fn tend(&self, ended_for: Duration) -> Result<(), NotApplied> {
        let (lines, now) = (self.store.lines(), UnixMillis::now());
        match lines.repair_lines(self.owner, now.minus(ended_for)).await {
            Ok(0) => {}
            Ok(repaired) => {
                metrics::repaired(repaired);
                tracing::warn!(
                    lines = repaired,
                    "lines stood still because the report of a run was lost; they continue"
                );
            }
            Err(error) => tracing::debug!(%error, "cannot repair lines; retrying later"),
        }
        // The deliveries behind those that were removed are examined in the next round.
        for _ in 0..EXPIRY_ROUNDS_MAX {
            match lines.take_expired(self.owner, now.minus(EXPIRED_FOR)).await {
                Ok(expired) if expired.is_empty() => break,
                Ok(expired) => self.discard(expired, DiscardReason::Expired).await?,
                Err(error) => {
                    tracing::debug!(%error, "cannot end what expired in held lines; retrying later");
                    break;
                }
            }
        }
        Ok(())
    }
}
