//! The answer to a request that gets no page: a redirect to the sign-in, or an error page.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use postrider_http::problem::Problem;
use postrider_operations::Error;
use postrider_store::StoreError;
use url::form_urlencoded;

use crate::document::{self, in_frame};
use crate::format::capitalised;
use crate::language::{english, t};
use crate::sign_in_page::{SIGN_IN, session_ended};

/// The answer of a handler: a page by default, or a failure.
pub(crate) type Answer<T = Markup> = Result<T, Failure>;

/// Why a handler returns no page.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The visitor is not signed in.
    SignIn {
        /// The path and query to continue to after sign-in.
        next: String,
    },
    /// The operation behind the page failed, or the request cannot be processed.
    Problem(Problem),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Problem(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn { .. } if in_frame() => session_ended("", "", None),
            Self::SignIn { next } => {
                let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", &next).finish();
                Redirect::to(&format!("{SIGN_IN}?{query}")).into_response()
            }
            Self::Problem(problem) => {
                let mut response = error_page(problem.status_code(), &problem.detail);
                if let Some(seconds) = problem.retry_after_seconds {
                    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                }
                response
            }
        }
    }
}

fn error_page(status: StatusCode, detail: &str) -> Response {
    let heading = match status {
        StatusCode::FORBIDDEN => t!("Not allowed"),
        StatusCode::NOT_FOUND => t!("Not found"),
        StatusCode::CONFLICT => t!("Not possible now"),
        StatusCode::PRECONDITION_FAILED => t!("This page is out of date"),
        StatusCode::TOO_MANY_REQUESTS => t!("Too many requests"),
        StatusCode::SERVICE_UNAVAILABLE => t!("Not available now"),
        status if status.is_server_error() => t!("Internal error"),
        _ => t!("The request failed"),
    };
    let content = html! {
        h1 { (heading) }
        p { (english(sentence(detail))) }
        p { a href="/dashboard" { (t!("Go to the start page")) } }
    };
    (status, document::bare(&heading, content)).into_response()
}

/// An error's detail as a sentence.
fn sentence(detail: &str) -> String {
    let end = if detail.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{end}", capitalised(detail))
}
