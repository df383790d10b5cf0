//! The one place where an error of an operation becomes a problem (RFC 9457).

use axum::response::{IntoResponse, Response};
use postrider_http::problem::{FieldError, Problem};
use postrider_operations::{Error, Forbidden};

/// Why a request of the API failed.
pub(crate) struct Failure(Box<Problem>);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        problem(error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

/// The problem that answers an error.
pub(crate) fn problem(error: Error) -> Problem {
    let detail = error.to_string();
    match error {
        Error::NotFound(_) => Problem::not_found(detail),
        Error::Forbidden(Forbidden::ScopeNotHeld { index }) => {
            let mut problem = Problem::forbidden(detail.clone());
            problem.errors.push(FieldError::new(format!("/scopes/{index}"), detail));
            problem
        }
        Error::Forbidden(_) => Problem::forbidden(detail),
        Error::Conflict(_) => Problem::conflict(detail),
        Error::VersionMismatch { .. } => Problem::precondition_failed(detail),
        Error::Invalid(errors) => {
            let errors = errors.into_iter().map(|error| FieldError::new(error.pointer, error.detail));
            Problem::unprocessable(errors.collect())
        }
        Error::TooMany { retry_after, .. } => Problem::too_many_requests(detail, retry_after),
        Error::Unavailable { retry_after, .. } => Problem::unavailable(detail, retry_after),
        Error::Internal => Problem::internal(),
    }
}
