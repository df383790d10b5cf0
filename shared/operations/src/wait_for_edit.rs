//! Read your own writes: the response to an edit waits until the live instances have applied the edit.

use std::future::Future;
use std::time::Duration;

use postrider_store::config::observe_edits;

use crate::Operations;

/// Maximum wait for the instances.
const WAIT_MAX: Duration = Duration::from_millis(500);

impl Operations {
    /// Runs a request and, if it edited the configuration, waits at most half a second until every live instance has applied the
    /// edit. Returns the names of the instances that did not apply it in time, separated by commas.
    pub async fn wait_for_edit<F: Future>(&self, request: F) -> (F::Output, Option<String>) {
        let (output, edited) = observe_edits(request).await;
        let Some(version) = edited else { return (output, None) };
        let lagging = self.broker.applied_versions().wait_for(version, WAIT_MAX).await;
        if lagging.is_empty() {
            return (output, None);
        }
        let lagging = lagging.join(",");
        tracing::warn!(config.version = version, lagging, "instances did not apply an edit in time");
        (output, Some(lagging))
    }
}
