//! What a visitor gets instead of a page.

use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use postrider_http::problem::Problem;
use url::form_urlencoded;

use super::layout;

/// Why there is no page.
pub(super) enum Failure {
    /// Nobody is signed in; afterwards the visitor goes on to this address.
    SignIn {
        /// A path and query of the dashboard.
        next: String,
    },
    /// What the operation behind it answered.
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
                Redirect::to(&format!("/dashboard/sign-in?{query}")).into_response()
            }
            Self::Problem(problem) => {
                let page = layout::bare(
                    &problem.title,
                    html! {
                        h1 { (heading(&problem)) }
                        p { (sentence(&problem.detail)) }
                        @if problem.errors.len() > 1 {
                            ul { @for error in &problem.errors { li { code { (error.pointer) } " " (error.detail) } } }
                        }
                        p { a href="/dashboard" { "Go to the start page" } }
                    },
                );
                let mut response = (problem.status_code(), page).into_response();
                if let Some(seconds) = problem.retry_after_seconds {
                    response.headers_mut().insert(axum::http::header::RETRY_AFTER, seconds.into());
                }
                response
            }
        }
    }
}

/// An error's detail as a sentence.
fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if detail.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// What went wrong, in a few words.
fn heading(problem: &Problem) -> &str {
    match problem.status {
        403 => "That is not allowed",
        404 => "There is nothing here",
        409 => "That is not possible now",
        412 => "This changed since you opened it",
        429 => "Too fast",
        503 => "Postrider cannot answer right now",
        500.. => "Something broke on our side",
        _ => "That did not work",
    }
}
