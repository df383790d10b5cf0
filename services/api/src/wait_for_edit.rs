//! Read your own writes: the response to an edit is sent when the live instances have applied the edit.
//!
//! This is one layer around every handler, so that no handler can forget to wait.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::Api;

/// The header that names the instances that did not apply the edit in time, separated by commas.
const LAGGING: HeaderName = HeaderName::from_static("postrider-lagging");

/// Runs a request. After an edit, it waits until every live instance has applied the edit, but at most half a second.
pub(crate) async fn wait_for_edit(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (mut response, lagging) = api.operations.wait_for_edit(next.run(request)).await;
    // Instance names are host names and hexadecimal digits, so the value is valid in a header. If it is not, only the log has the
    // names.
    if let Some(Ok(value)) = lagging.map(HeaderValue::try_from) {
        response.headers_mut().insert(LAGGING, value);
    }
    response
}
