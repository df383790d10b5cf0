//! Auditing now and then: the result is stored and shown as a metric. A recorder that starts shows what the last audit found.

use std::time::{Duration, Instant};

use postrider_ledger::audit::{self, AuditOptions};
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// Auditing takes at most one part in this many of the time.
const SHARE: u32 = 20;

/// Audits until `stop`.
pub(crate) async fn run(store: Store, every: Duration, stop: CancellationToken) {
    let mut pause = match store.history().last_audit().await {
        Ok(Some(last)) => {
            metrics::audited(last.gaps(), last.unbalanced(), last.ran_at);
            every.saturating_sub(last.ran_at.until(UnixMillis::now()))
        }
        // The first audit of all, or a database that is away: it says so when it is asked.
        Ok(None) | Err(_) => Duration::ZERO,
    };
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let begun = Instant::now();
        let Some(audited) = stop.run_until_cancelled(audit::run(&store, &AuditOptions::default())).await else {
            return;
        };
        pause = every.max(begun.elapsed() * SHARE);
        match audited {
            Ok(report) => {
                let (gaps, unbalanced) = (report.gaps_total, report.unbalanced());
                metrics::audited(gaps, unbalanced, report.ran_at);
                if !report.conserved {
                    tracing::error!(gaps, unbalanced, "an audit does not add up; `postrider audit` says where");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot audit now"),
        }
    }
}
