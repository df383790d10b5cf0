//! The answer when there is no page to show.

use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use postrider_http::problem::Problem;
use url::form_urlencoded;

use crate::dashboard::document;
use crate::dashboard::sign_in_page::SIGN_IN;

/// Why there is no page.
pub(crate) enum Failure {
    /// The visitor is not signed in.
    SignIn {
        /// The path and query to continue to after sign-in.
        next: String,
    },
    /// The operation behind the page failed.
    Problem(Box<Problem>),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn { next } => {
                let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", &next).finish();
                Redirect::to(&format!("{SIGN_IN}?{query}")).into_response()
            }
            Self::Problem(problem) => error_page(&problem),
        }
    }
}

fn error_page(problem: &Problem) -> Response {
    let content = html! {
        h1 { (heading(problem)) }
        p { (sentence(&problem.detail)) }
        @if problem.errors.len() > 1 {
            ul { @for error in &problem.errors { li { code { (error.pointer) } " " (error.detail) } } }
        }
        p { a href="/dashboard" { "Go to the start page" } }
    };
    let mut response = (problem.status_code(), document::bare(&problem.title, content)).into_response();
    if let Some(seconds) = problem.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// An error's detail as a sentence.
fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if detail.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

fn heading(problem: &Problem) -> &'static str {
    match problem.status {
        403 => "Not allowed",
        404 => "Not found",
        409 => "Not possible now",
        412 => "This page is out of date",
        429 => "Too many requests",
        503 => "Postrider is not available",
        500.. => "Internal error",
        _ => "The request failed",
    }
}
