//! Read your own writes: the response to an edit waits until the live instances apply it.
//!
//! One layer around every handler, so that no handler can forget it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::Api;

/// Names the instances that did not apply the edit in time, separated by commas.
const LAGGING: HeaderName = HeaderName::from_static("postrider-lagging");

/// Runs a request. After an edit the response waits until every live instance has applied it.
pub(crate) async fn wait_for_edit(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (mut response, lagging) = api.operations.wait_for_edit(next.run(request)).await;
    // Instance names are host names and hexadecimal digits; a name that no header can hold is in the log only.
    if let Some(Ok(value)) = lagging.map(HeaderValue::try_from) {
        response.headers_mut().insert(LAGGING, value);
    }
    response
}
