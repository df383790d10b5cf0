//! Reads JSON bodies strictly: the answer to a wrong body names the place of the mistake.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use postrider_http::problem::{Problem, check_content_encoding, read_json};
use serde::de::DeserializeOwned;

/// Maximum number of bytes of a request body.
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;

/// A JSON body. An unknown member, a missing member and a value of the wrong type are refused with a 422 that has a pointer to
/// it.
#[derive(Debug)]
pub(crate) struct StrictJson<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for StrictJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let body = body(request, state).await?;
        if !is_json {
            return Err(Problem::unsupported_media_type("send the body as application/json"));
        }
        read_json(&body).map(Self)
    }
}

/// Like [`StrictJson`], but an absent body is read as `{}`, and the content type is not checked.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = body(request, state).await?;
        let body: &[u8] = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &body };
        read_json(body).map(Self)
    }
}

async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    check_content_encoding(request.headers())?;
    Bytes::from_request(request, state).await.map_err(|_| too_large())
}

/// The refusal of a body with more than [`BODY_BYTES_MAX`] bytes.
pub(crate) fn too_large() -> Problem {
    Problem::payload_too_large(format!("a request body has at most {BODY_BYTES_MAX} bytes"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}
