//! `Idempotency-Key`: a POST that is sent again with the same key takes effect once, and the second request gets the first
//! response.
//!
//! The layer `once` is in front of every route of the API. Two routes handle keys themselves: publishing, which is in ingest, and
//! `POST /v1/replays`, which keeps a key as long as the replay.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use postrider_http::problem::Problem;
use postrider_model::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use postrider_operations::Error;
use postrider_store::audit_log::Actor;
use postrider_store::idempotency::{Claimed, IdempotentRequest};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::Api;
use crate::call::Auth;
use crate::request::{BODY_BYTES_MAX, too_large};

pub(crate) const KEY: &str = "idempotency-key";
/// The header that marks the response to a repeated request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The route that handles keys itself.
const REPLAYS: &str = "/v1/replays";
/// Maximum number of bytes of a stored response.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A stored response.
#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    etag: Option<String>,
    body: String,
}

/// Returns the `Idempotency-Key` of a request; `None` if the request has none.
///
/// # Errors
/// 400 if the key is empty, too long, or contains characters other than visible ASCII.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Problem::bad_request(format!(
            "Idempotency-Key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters"
        ))),
    }
}

/// Runs a request. A request that repeats an earlier one with the same key is not run: it gets the response to the earlier
/// request.
pub(crate) async fn once(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || request.uri().path() == REPLAYS || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    keyed(api, request, next).await.unwrap_or_else(Problem::into_response)
}

async fn keyed(api: Arc<Api>, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let Some(key) = key_of(&parts.headers)? else { return Err(Problem::internal()) };
    let Auth(caller) = Auth::from_request_parts(&mut parts, &api).await?;
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| too_large())?;
    let asked = Asked { caller: scope(caller.acting().actor), key, request: digest(&parts.uri.to_string(), &body) };
    let claimed = api.store.idempotency().claim_idempotency_key(&asked.as_request()).await.map_err(Error::from)?;
    let claim = match claimed {
        Claimed::Now(claim) => claim,
        Claimed::Answered(answer) => return replayed(&answer),
        Claimed::OtherRequest => {
            return Err(Problem::invalid_field(
                "Idempotency-Key",
                "the key belongs to another request of the last 24 hours; use a new key for a new request",
            ));
        }
        Claimed::Running => {
            return Err(Problem::conflict("a request with this Idempotency-Key is still being processed; retry later"));
        }
        Claimed::AnswerLost => {
            return Err(Problem::conflict(
                "the request with this Idempotency-Key took effect, but its response is lost",
            ));
        }
    };
    parts.extensions.insert(Auth(caller.with(|acting| acting.claim = Some(claim))));
    let request = Request::from_parts(parts, Body::from(body));
    // The handler runs in a separate task, because a client that disconnects must not leave a claimed key without a response.
    let answered = tokio::spawn(async move { answer(&api, &asked, claim, next.run(request).await).await });
    answered.await.map_err(|_| Problem::internal())
}

/// The request that claims a key.
struct Asked {
    caller: String,
    key: String,
    request: [u8; 32],
}

impl Asked {
    fn as_request(&self) -> IdempotentRequest<'_> {
        IdempotentRequest { caller: &self.caller, key: &self.key, request: &self.request }
    }
}

/// A text that identifies the caller. Each caller has its own idempotency keys.
fn scope(actor: Actor) -> String {
    format!("{}:{}", actor.kind(), actor.id().unwrap_or_default())
}

/// A hash of the request's target and body.
fn digest(target: &str, body: &Bytes) -> [u8; 32] {
    let length = u64::try_from(target.len()).unwrap_or(u64::MAX);
    Sha256::new().chain_update(length.to_be_bytes()).chain_update(target).chain_update(body).finalize().into()
}

/// Stores a successful response for repeated requests. Releases the key of a refused request, because a refused request changes
/// nothing.
async fn answer(api: &Api, asked: &Asked, claim: Uuid, response: Response) -> Response {
    if !response.status().is_success() {
        if let Err(error) = api.store.idempotency().release_idempotency_key(claim).await {
            tracing::debug!(%error, "cannot release an Idempotency-Key; it stays claimed until the claim expires");
        }
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, ANSWER_BYTES_MAX).await else { return Problem::internal().into_response() };
    let etag = parts.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let stored = Answer { status: parts.status.as_u16(), etag, body: String::from_utf8_lossy(&body).into_owned() };
    let stored = zeroize::Zeroizing::new(serde_json::to_vec(&stored).unwrap_or_default());
    if let Err(error) = api.store.idempotency().answer_idempotent_request(&asked.as_request(), claim, &stored).await {
        tracing::warn!(%error, "cannot store the response to a request with an Idempotency-Key");
    }
    Response::from_parts(parts, Body::from(body))
}

/// Builds the response to a repeated request from the stored response.
fn replayed(stored: &[u8]) -> Result<Response, Problem> {
    let unreadable = |error: serde_json::Error| {
        tracing::error!(line = error.line(), "cannot read a stored response");
        Problem::internal()
    };
    let Answer { status, etag, body } = serde_json::from_slice(stored).map_err(unreadable)?;
    let status = StatusCode::from_u16(status).map_err(|_| Problem::internal())?;
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(etag) = etag.and_then(|etag| HeaderValue::try_from(etag).ok()) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}
