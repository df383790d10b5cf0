//! From the store's errors to problems.

use std::time::Duration;

use postrider_http::problem::Problem;
use postrider_store::{EditError, StoreError};

/// When to come back while the database is away.
const COME_BACK: Duration = Duration::from_secs(2);

/// What a caller is told about an error of the store. What is ours to mend is logged here and not told.
pub(crate) fn store_problem(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable(_) | StoreError::Refused(_) => {
            tracing::debug!(%error, "the database is away");
            Problem::unavailable("the database is not available", COME_BACK)
        }
        StoreError::NotFound { what } => Problem::not_found(format!("no such {what}")),
        StoreError::VersionMismatch { current } => Problem::precondition_failed(format!(
            "If-Match names another version than the current one, \"v{current}\"; read it again"
        )),
        StoreError::EndpointLimit { .. }
        | StoreError::EventTypeLimit { .. }
        | StoreError::KeyLimit { .. }
        | StoreError::EventTypeBytesLimit { .. }
        | StoreError::Conflict(_) => Problem::conflict(error.to_string()),
        StoreError::InvalidCursor => Problem::invalid_field("cursor", "not a cursor of this list"),
        error => {
            tracing::error!(%error, "the store failed");
            Problem::internal()
        }
    }
}

/// The same for an edit, which may have been refused by ourselves.
pub(crate) fn edit_problem(error: EditError<Problem>) -> Problem {
    match error {
        EditError::Store(error) => store_problem(error),
        EditError::Refused(problem) => problem,
    }
}

/// The 404 of a thing that is not there, or not the caller's.
pub(crate) fn no_such(what: &str) -> Problem {
    Problem::not_found(format!("no such {what}"))
}
