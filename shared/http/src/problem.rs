//! Errors of the HTTP API as `application/problem+json` (RFC 9457).
//!
//! The detail of every 4xx names the wrong field and what is allowed. Every 429 and 503 has `Retry-After`. An internal cause is
//! logged where it occurs and is never part of a response.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

pub use crate::json::{read_json, syntax_error};

/// The media type of [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Maximum number of bytes of a pointer and of a detail. Both quote the request.
const POINTER_BYTES_MAX: usize = 256;
const DETAIL_BYTES_MAX: usize = 1_000;
/// Maximum number of wrong fields that a problem lists. If there are more, it contains the number of the others.
pub const ERRORS_MAX: usize = 20;

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The place of the field: a JSON pointer (RFC 6901) into the request's body, such as `/event_types/0`, or the name of a query
    /// parameter or header.
    pub pointer: String,
    /// What is wrong, and what is allowed.
    pub detail: String,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: cut(pointer.into(), POINTER_BYTES_MAX), detail: cut(detail.into(), DETAIL_BYTES_MAX) }
    }
}

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, utoipa::ToSchema)]
#[error("{status} {title}: {detail}")]
pub struct Problem {
    /// A URI for the kind of problem; `about:blank` if the status describes the kind.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The name of the kind, the same for every problem of the kind.
    pub title: Cow<'static, str>,
    /// The HTTP status code.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
    /// The wrong fields, if the problem is about fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds after which a repeat makes sense; becomes `Retry-After`.
    #[serde(skip)]
    pub retry_after_seconds: Option<u64>,
}

impl Problem {
    /// A problem with this status. Its title is the standard phrase of the status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: Cow::Borrowed("about:blank"),
            title: Cow::Borrowed(status.canonical_reason().unwrap_or("Error")),
            status: status.as_u16(),
            detail: cut(detail.into(), DETAIL_BYTES_MAX),
            errors: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// 400: the request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: the key is missing or unknown.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403: the key lacks the permission.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: the object does not exist, or it belongs to another tenant.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 405: the path exists, but not with this method.
    pub fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
    }

    /// 409: the request conflicts with the current state.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 412: the version in `If-Match` differs from the current version.
    pub fn precondition_failed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, detail)
    }

    /// 413: the request has more bytes or members than allowed.
    pub fn payload_too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 415: the route does not accept this `Content-Type`.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// 422: the request can be read, but some of its fields are wrong. The problem lists the first twenty.
    pub fn unprocessable(mut errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [] => "the request is not valid".to_owned(),
            [only] if only.pointer.is_empty() => only.detail.clone(),
            [only] => format!("{}: {}", only.pointer, only.detail),
            [first, ..] => {
                format!("{} fields are not valid, the first is {}: {}", errors.len(), first.pointer, first.detail)
            }
        };
        errors.truncate(ERRORS_MAX);
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// 422 for one field.
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::unprocessable(vec![FieldError::new(pointer, detail)])
    }

    /// 429: the caller exceeds a limit. `retry_after` is rounded up to whole seconds.
    pub fn too_many_requests(detail: impl Into<String>, retry_after: std::time::Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).with_retry_after(retry_after)
    }

    /// 503: a dependency is unavailable. The request may or may not have taken effect.
    pub fn unavailable(detail: impl Into<String>, retry_after: std::time::Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_retry_after(retry_after)
    }

    /// 500: a fault in Postrider. Logs the source location of the call; a caller that knows the cause also logs the cause.
    #[track_caller]
    pub fn internal() -> Self {
        tracing::error!(at = %std::panic::Location::caller(), "an internal error");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "an internal error; it was logged")
    }

    /// Sets `Retry-After`, rounded up to whole seconds, at least one second.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: std::time::Duration) -> Self {
        let whole = retry_after.as_secs().saturating_add(u64::from(retry_after.subsec_nanos() > 0));
        self.retry_after_seconds = Some(whole.max(1));
        self
    }

    /// The status code as a type.
    pub fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status_code();
        // A `Problem` consists of strings and integers, so serializing it cannot fail. A response with an empty body would
        // still have the status.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Truncates a text that is too long for [`Problem::detail`].
pub fn cut_detail(detail: String) -> String {
    cut(detail, DETAIL_BYTES_MAX)
}

/// Refuses a body that is compressed or otherwise encoded, because bodies are not decoded.
///
/// # Errors
/// 415 for a `Content-Encoding` other than `identity`.
pub fn check_content_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let named = encodings.map(|value| value.to_str().unwrap_or("?").trim());
    match named.filter(|name| !name.is_empty()).find(|name| !name.eq_ignore_ascii_case("identity")) {
        None => Ok(()),
        Some(name) => Err(Problem::unsupported_media_type(format!(
            "Content-Encoding {name} is not supported; send the body without compression"
        ))),
    }
}

/// Returns the first `bytes` bytes of a text, in whole characters. If the text is longer, it ends with `…`.
fn cut(mut text: String, bytes: usize) -> String {
    const CUT: &str = "…";
    if text.len() > bytes {
        let end = (0..=bytes - CUT.len()).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push_str(CUT);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_problem_is_bounded_whatever_it_is_about() {
        let long = "é".repeat(100_000);
        let field = FieldError::new(format!("/{long}"), format!("unknown field `{long}`"));
        assert!(field.pointer.starts_with("/éé") && field.pointer.ends_with("é…"), "{}", field.pointer);
        let problem = Problem::unprocessable(vec![field; 30_000]);
        assert!(problem.detail.starts_with("30000 fields are not valid, the first is /éé"), "{}", problem.detail);
        assert_eq!(problem.errors.len(), ERRORS_MAX);
        assert!(serde_json::to_vec(&problem).unwrap().len() < 32 * 1024);
        assert_eq!(Problem::unavailable("away", Duration::MAX).retry_after_seconds, Some(u64::MAX));
    }

    #[test]
    fn the_body_has_the_members_of_the_contract() {
        let problem = Problem::invalid_field("/url", "only https is allowed");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "about:blank", "title": "Unprocessable Entity", "status": 422, "detail": "/url: only https is allowed",
                "errors": [{"pointer": "/url", "detail": "only https is allowed"}],
            })
        );
        assert!(serde_json::to_value(Problem::not_found("no such endpoint")).unwrap().get("errors").is_none());
    }

    #[test]
    fn an_answer_carries_its_headers() {
        let response = Problem::unavailable("broker away", Duration::from_millis(1_200)).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
        let response = Problem::unauthorized("no such key").into_response();
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        assert_eq!(Problem::too_many_requests("slower", Duration::ZERO).retry_after_seconds, Some(1));
    }
}
