//! Runs the audit periodically, and exports the result as metrics. When the recorder starts, it exports the last stored result.

use std::time::{Duration, Instant};

use postrider_ledger::audit::{self, AuditOptions};
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// Audits take at most 1/`SHARE` of the time, so the pause after a slow audit is longer.
const SHARE: u32 = 20;

/// Runs audits until `stop`.
pub(crate) async fn run(store: Store, every: Duration, stop: CancellationToken) {
    let mut pause = match store.history().last_audit().await {
        Ok(Some(last)) => {
            metrics::audited(last.gaps(), last.unbalanced(), last.ran_at);
            every.saturating_sub(last.ran_at.until(UnixMillis::now()))
        }
        // Either no audit has run yet, or the database is unavailable. An audit starts now. If the audit fails, the error is
        // logged.
        Ok(None) | Err(_) => Duration::ZERO,
    };
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let started = Instant::now();
        let Some(audited) = stop.run_until_cancelled(audit::run(&store, &AuditOptions::default())).await else {
            return;
        };
        pause = every.max(started.elapsed() * SHARE);
        match audited {
            Ok(report) => {
                let (gaps, unbalanced) = (report.gaps_total, report.unbalanced());
                metrics::audited(gaps, unbalanced, report.ran_at);
                if !report.conserved {
                    tracing::error!(
                        gaps,
                        unbalanced,
                        "the audit found missing or unbalanced rows; run `postrider audit` for details"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, "cannot audit; retrying later"),
        }
    }
}
