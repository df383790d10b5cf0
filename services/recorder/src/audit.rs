//! Auditing now and then: the result is stored and shown as a metric, by whichever recorder is first.

use std::time::{Duration, Instant};

use postrider_store::Store;
use postrider_store::audit::AuditOptions;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// The share of the time that auditing may take: one in so many.
const SHARE: u32 = 20;

/// Audits until `stop`.
pub(crate) async fn run(store: Store, every: Duration, stop: CancellationToken) {
    let mut pause = every;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let begun = Instant::now();
        let Some(audited) = stop.run_until_cancelled(store.audit(&AuditOptions::default())).await else { return };
        pause = every.max(begun.elapsed() * SHARE);
        match audited {
            Ok(report) => {
                metrics::audited(report.gap_count(), report.ran_at);
                if !report.conserved {
                    tracing::error!(
                        gaps = report.gap_count(),
                        "an audit found what is missing; `postrider audit` names it"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, "cannot audit now"),
        }
    }
}
