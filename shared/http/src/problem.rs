//! Errors of the HTTP API as `application/problem+json` (RFC 9457), and the strict reader of JSON bodies.
//!
//! Every 4xx says which field is wrong and what is allowed; every 429 and 503 says when to come back. What went wrong
//! inside is logged where it happened and never put into an answer.

mod strict;
mod words;

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// The media type of [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Most bytes of a place that is named, and of what is said about it: a request's own words are in both.
const POINTER_BYTES_MAX: usize = 256;
const DETAIL_BYTES_MAX: usize = 1_000;
/// Wrong fields that are named; of further ones the number is told.
const ERRORS_MAX: usize = 20;

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the request's body, such as `/event_types/0`; for a query parameter or a
    /// header its name.
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

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, utoipa::ToSchema)]
#[error("{status} {title}: {detail}")]
pub struct Problem {
    /// What kind of problem this is; `about:blank` when the status says it all.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The kind in words, the same for every problem of the kind.
    pub title: Cow<'static, str>,
    /// The HTTP status code.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The fields that are wrong, when fields are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds after which a repeat makes sense; becomes `Retry-After`.
    #[serde(skip)]
    pub retry_after_seconds: Option<u64>,
}

impl Problem {
    /// A problem with this status; its title is the status's own phrase.
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

    /// 401: no key, or one that nobody has.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403: the key may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: no such thing, or not the tenant's.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 405: the path exists, the method does not.
    pub fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
    }

    /// 409: it contradicts what is there.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 412: `If-Match` names a version that is not the current one.
    pub fn precondition_failed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, detail)
    }

    /// 413: more bytes or members than allowed.
    pub fn payload_too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 415: the `Content-Type` is not one that is read here.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// 422: the request can be read, its fields are wrong. The first twenty are named.
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

    /// 429: slower; `retry_after` is rounded up to whole seconds.
    pub fn too_many_requests(detail: impl Into<String>, retry_after: std::time::Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).with_retry_after(retry_after)
    }

    /// 503: something that Postrider needs is away; whether the request took effect is unknown.
    pub fn unavailable(detail: impl Into<String>, retry_after: std::time::Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_retry_after(retry_after)
    }

    /// 500: a fault of ours. The cause is logged by the caller, never told.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "an internal error; it was logged")
    }

    /// Sets `Retry-After`, rounded up to whole seconds, at least one.
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
        // A `Problem` is strings and integers: serializing it cannot fail. An empty body would still carry the status.
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

/// Refuses a body that is compressed or encoded otherwise: bodies are read as they come.
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

/// Reads a JSON body strictly: unknown members are refused, and an array is never taken for an object.
///
/// Costs one pass when the body is good; only a bad one is read again, to name the field.
///
/// # Errors
/// 400 with line and column when it is no JSON, 422 with a pointer when a field is unknown, missing or of a wrong type.
pub fn read_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    strict::from_slice(body).map_err(|error| explain::<T>(body, &error))
}

/// Why a text is not JSON, and where, in words for the people who wrote it.
pub fn syntax_error(error: &serde_json::Error) -> String {
    let text = without_place(error);
    format!("{} (line {} column {})", words::of_syntax(&text), error.line(), error.column())
}

/// Like [`read_json`], where no body at all is a request for every default.
///
/// # Errors
/// As [`read_json`].
pub fn read_json_or_default<'a, T: Deserialize<'a> + Default>(body: &'a [u8]) -> Result<T, Problem> {
    if body.is_empty() { Ok(T::default()) } else { read_json(body) }
}

/// Turns a reading error into one that names the place.
fn explain<'a, T: Deserialize<'a>>(body: &'a [u8], error: &serde_json::Error) -> Problem {
    let place = |error: &serde_json::Error| format!("line {} column {}", error.line(), error.column());
    if body.is_empty() {
        return Problem::bad_request("expected a JSON body, got none");
    }
    if !error.is_data() {
        return Problem::bad_request(format!("the body is not valid JSON: {}", syntax_error(error)));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, T>(strict::Strict(&mut reader)) {
        Err(failed) => {
            let message = without_place(failed.inner());
            let mut pointer = pointer_of(failed.path());
            // An unknown or missing field is reported at its object: point at the field itself.
            if let Some(field) = field_in(&message).map(|field| format!("/{}", escape(field)))
                && !pointer.ends_with(&field)
            {
                pointer.push_str(&field);
            }
            let at = place(failed.inner());
            Problem::unprocessable(vec![FieldError::new(pointer, format!("{} ({at})", words::of_data(&message)))])
        }
        // Read well the second time: cannot happen for one and the same input.
        Ok(_) => Problem::bad_request(format!("{} ({})", words::of_data(&without_place(error)), place(error))),
    }
}

/// At most `bytes` bytes of a text, whole characters; what was cut off shows as `…`.
fn cut(mut text: String, bytes: usize) -> String {
    const CUT: &str = "…";
    if text.len() > bytes {
        let end = (0..=bytes - CUT.len()).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push_str(CUT);
    }
    text
}

/// serde_json ends its messages with the place; ours name it once, at the end of the sentence.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// The field that serde's own words name: "unknown field `x`, expected …", "missing field `x`".
fn field_in(message: &str) -> Option<&str> {
    let rest = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start))?;
    rest.split('`').next()
}

/// A path of `serde_path_to_error` as a JSON pointer.
fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", escape(key)),
        Segment::Enum { variant } => format!("{pointer}/{}", escape(variant)),
        Segment::Unknown => pointer,
    })
}

/// RFC 6901 section 3: `~` becomes `~0`, `/` becomes `~1`.
fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
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

    #[derive(Debug, Deserialize, PartialEq, Default)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(default)]
        count: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer<'a> {
        name: &'a str,
        #[serde(default)]
        items: Vec<Inner>,
    }

    #[track_caller]
    fn check(json: &str, status: u16, pointer: Option<&str>, words: &str) {
        let problem = read_json::<Outer<'_>>(json.as_bytes()).expect_err(json);
        assert_eq!(problem.status, status, "{json}: {problem}");
        assert_eq!(problem.errors.first().map(|error| error.pointer.as_str()), pointer, "{json}: {problem}");
        assert!(problem.detail.contains(words), "{json}: {:?} lacks {words:?}", problem.detail);
    }

    #[test]
    fn a_bad_body_names_the_field_and_the_place() {
        assert_eq!(read_json::<Outer<'_>>(br#"{"name":"x"}"#).unwrap(), Outer { name: "x", items: vec![] });
        check("", 400, None, "expected a JSON body");
        check(r#"{"name": "#, 400, None, "line 1 column 9");
        check("nonsense", 400, None, "not valid JSON");
        check("{}", 422, Some("/name"), "missing field `name`");
        check(r#"{"name":"x","colour":1}"#, 422, Some("/colour"), "unknown field `colour`");
        check(r#"{"name":7}"#, 422, Some("/name"), "expected a string, got 7");
        check("{\"name\":\"x\",\n\"items\":[{},{\"count\":300}]}", 422, Some("/items/1/count"), "line 2");
        check(r#"{"name":"x","items":[{"a/b":1}]}"#, 422, Some("/items/0/a~1b"), "unknown field");
        check(r#"{"name":"x"} {}"#, 400, None, "more text follows the value");
        check("[]", 422, Some(""), "expected an object, got an array");
        check(r#"["x"]"#, 422, Some(""), "expected an object, got an array");
        check(r#"{"name":"x","items":[[3]]}"#, 422, Some("/items/0"), "expected an object, got an array");
    }

    #[test]
    fn an_absent_body_may_stand_for_defaults() {
        assert_eq!(read_json_or_default::<Inner>(b"").unwrap(), Inner::default());
        assert_eq!(read_json_or_default::<Inner>(br#"{"count":3}"#).unwrap(), Inner { count: 3 });
        assert!(read_json_or_default::<Inner>(br#"{"counts":3}"#).is_err());
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
