//! Read your own writes: the answer to an edit waits until the live instances work with it.
//!
//! One layer around every handler of API and dashboard, so that no handler can forget it: it sees which configuration version
//! the request committed, if any. It waits for notifications, not by polling, and at most [`WAIT_MAX`]; the header [`LAGGING`] names the instances
//! that did not have the edit by then.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use postrider_store::config::observe_edits;

use crate::Api;

/// Longest wait of an answer for the instances.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(500);
/// Names the instances that did not have the edit when it was answered, separated by commas.
pub(crate) const LAGGING: HeaderName = HeaderName::from_static("postrider-lagging");

/// Answers a request; after an edit, once every live instance has applied it.
pub(crate) async fn settle(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (mut response, edited) = observe_edits(next.run(request)).await;
    let Some(version) = edited else { return response };
    let lagging = api.broker.applied_versions().wait_for(version, WAIT_MAX).await;
    if !lagging.is_empty() {
        let lagging = lagging.join(",");
        tracing::warn!(config.version = version, lagging, "instances did not apply an edit in time");
        // Instance names are host names and hex digits; one that no header can hold is left to the log.
        if let Ok(value) = HeaderValue::from_str(&lagging) {
            response.headers_mut().insert(LAGGING, value);
        }
    }
    response
}
