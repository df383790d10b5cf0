//! Forms act once: POST, redirect, GET.
//!
//! Every form carries a one-time token ([`layout::csrf`](super::layout::csrf)). A POST is claimed in the database by the hash
//! of its path and its fields before its handler runs; an identical POST waits for the first one and gets its result. What a
//! handler answers is kept, sealed, for [`FORM_RESULT_KEPT`]: an address to go on to, or a page such as a new secret or a form
//! with its errors. The visitor is redirected to that page, so that reload and back read it again and repeat nothing.
//!
//! A form from a visitor whose session ended is not processed. It travels through the sign-in page, without its secrets, and is
//! shown again afterwards.
//!
//! A POST whose answer says "later" (429 or 5xx) keeps no result: the same form may be sent again.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use bytes::Bytes;
use postrider_http::problem::Problem;
use postrider_model::limits::{FORM_RESULT_BYTES_MAX, FORM_RESULT_KEPT};
use postrider_model::time::UnixMillis;
use postrider_store::forms::{Claim, FormHash};
use postrider_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::Dashboard;
use super::failure::Failure;
use super::form::{CSRF_FIELD, Fields, is_own};
use super::session::{self, SIGN_IN, Visitor};
use crate::errors::store_problem;
use crate::request::BODY_BYTES_MAX;

/// The parameter that names a kept result.
pub(super) const RESULT: &str = "result";
/// Longest wait for an identical form that is being processed. A test call takes up to 63 s.
const RUNNING_MAX: Duration = Duration::from_secs(70);
/// Pause between two looks at an identical form that is being processed.
const POLL: Duration = Duration::from_millis(100);
/// Most bytes of a form that travels through the sign-in page.
const CARRIED_BYTES_MAX: usize = 64 * 1024;
/// Fields that do not travel through the sign-in page: credentials, and what belongs to the old session.
const NOT_CARRIED: [&str; 7] = ["secret", "user_key", "api_token", "headers", "key", CSRF_FIELD, "once"];

/// Pause between two deletions of expired results.
const DELETE_EVERY: Duration = Duration::from_secs(60);

/// Deletes expired results until `stop`, so that a sealed secret is stored hardly longer than it can be read.
pub(crate) async fn delete_expired(store: Store, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(DELETE_EVERY)).await.is_some() {
        if let Err(error) = store.delete_expired_forms(UnixMillis::now()).await {
            tracing::debug!(%error, "expired results of forms were not deleted; trying again in a minute");
        }
    }
}

/// What is kept of a form.
#[derive(Serialize, Deserialize)]
enum Kept {
    /// The address that the visitor goes on to.
    To(String),
    /// The page that the form came to.
    Page { status: u16, html: String },
    /// The fields of a form that was sent without a session, URL-encoded.
    Typed(String),
}

/// What a visitor typed into a form before the session ended; the form's page shows it again.
#[derive(Clone)]
pub(super) struct Restored(pub(super) Fields);

/// The address of a page is the one that a form of this visitor led to: its notice is about that form.
#[derive(Clone)]
pub(super) struct Noticed;

/// Processes a POST once, and shows kept results. The layer of all routes.
pub(super) async fn act_once(State(dashboard): State<Arc<Dashboard>>, request: Request, next: Next) -> Response {
    let done = match *request.method() {
        Method::POST if request.uri().path() != SIGN_IN => post(dashboard, request, next).await,
        Method::GET => show(&dashboard, request, next).await,
        _ => Ok(next.run(request).await),
    };
    done.unwrap_or_else(IntoResponse::into_response)
}

async fn post(dashboard: Arc<Dashboard>, request: Request, next: Next) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let too_large = |_| Problem::payload_too_large(format!("a form has at most {BODY_BYTES_MAX} bytes"));
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(too_large)?;
    let fields = Fields::read(&body);
    let Some(token) = session::token(&parts.headers) else { return Ok(signed_out(&parts, &fields)) };
    if !bool::from(session::csrf(&token).as_bytes().ct_eq(fields.get(CSRF_FIELD).as_bytes())) {
        let detail = "this form is not from a page of your session: go back, reload, try again";
        return Err(Problem::forbidden(detail).into());
    }
    let form = hash(&parts, &body);
    let deadline = Instant::now() + RUNNING_MAX;
    loop {
        let claimed = dashboard.api.store.claim_form(&token, form, FORM_RESULT_KEPT).await;
        match claimed.map_err(store_problem)? {
            Claim::New => return Ok(process(dashboard, parts, body, next, token, form).await),
            Claim::Finished(kept) => return Ok(go_on(read(&kept), parts.uri.path(), form)),
            Claim::NoSession => return Ok(signed_out(&parts, &fields)),
            Claim::Running if Instant::now() < deadline => tokio::time::sleep(POLL).await,
            Claim::Running => {
                let detail = "the same form was sent before and is still being processed: reload this page in a minute";
                return Err(Problem::conflict(detail).into());
            }
        }
    }
}

fn hash(parts: &Parts, body: &[u8]) -> FormHash {
    let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
    FormHash(Sha256::new().chain_update(address).chain_update([0]).chain_update(body).finalize().into())
}

/// Runs the handler in a task of its own: a second click makes the browser close the first connection, which must not leave the
/// work half done.
async fn process(
    dashboard: Arc<Dashboard>,
    parts: Parts,
    body: Bytes,
    next: Next,
    token: String,
    form: FormHash,
) -> Response {
    let path = parts.uri.path().to_owned();
    let task = tokio::spawn(async move {
        let response = next.run(Request::from_parts(parts, Body::from(body))).await;
        conclude(&dashboard, &token, form, &path, response).await
    });
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a form's handler failed");
        Failure::from(Problem::internal()).into_response()
    })
}

/// Keeps what the handler answered and sends the visitor to it.
async fn conclude(dashboard: &Dashboard, token: &str, form: FormHash, path: &str, mut response: Response) -> Response {
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        log_loss(dashboard.api.store.release_form(token, form).await);
        return response;
    }
    if status.is_redirection() {
        let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or(path);
        let to = if to.contains("notice=") { format!("{to}&{RESULT}={}", hex::encode(form.0)) } else { to.to_owned() };
        if let Ok(location) = HeaderValue::try_from(&to) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        log_loss(keep(dashboard, token, form, &Kept::To(to)).await);
        return response;
    }
    let (head, body) = response.into_parts();
    let Ok(html) = to_bytes(body, usize::MAX).await else { return Failure::from(Problem::internal()).into_response() };
    let kept = if html.len() <= FORM_RESULT_BYTES_MAX {
        Kept::Page { status: status.as_u16(), html: String::from_utf8_lossy(&html).into_owned() }
    } else {
        Kept::To(path.to_owned())
    };
    let at_once = Response::from_parts(head, Body::from(html));
    match keep(dashboard, token, form, &kept).await {
        Ok(()) if matches!(kept, Kept::Page { .. }) => go_on(Some(kept), path, form),
        // A secret must not be lost because it could not be kept.
        Ok(()) => at_once,
        Err(error) => {
            log_loss(Err(error));
            at_once
        }
    }
}

fn log_loss(kept: Result<(), StoreError>) {
    if let Err(error) = kept {
        tracing::warn!(%error, "the result of a form was not kept");
    }
}

async fn keep(dashboard: &Dashboard, token: &str, form: FormHash, kept: &Kept) -> Result<(), StoreError> {
    let bytes = Zeroizing::new(serde_json::to_vec(kept).unwrap_or_default());
    dashboard.api.store.finish_form(token, form, &bytes).await
}

fn read(kept: &[u8]) -> Option<Kept> {
    serde_json::from_slice(kept).ok()
}

/// Where a visitor goes after a form.
fn go_on(kept: Option<Kept>, path: &str, form: FormHash) -> Response {
    match kept {
        Some(Kept::To(to)) => Redirect::to(&to).into_response(),
        Some(Kept::Page { .. } | Kept::Typed(_)) => Redirect::to(&result_of(path, form)).into_response(),
        None => Redirect::to(path).into_response(),
    }
}

fn result_of(path: &str, form: FormHash) -> String {
    format!("{path}?{RESULT}={}", hex::encode(form.0))
}

/// A GET: the kept page that the address names, or the page itself.
async fn show(dashboard: &Arc<Dashboard>, request: Request, next: Next) -> Result<Response, Failure> {
    let named = Fields::of(request.uri()).given(RESULT);
    let form = named.and_then(|name| <[u8; 32]>::try_from(hex::decode(name).ok()?).ok()).map(FormHash);
    let (Some(form), Some(token)) = (form, session::token(request.headers())) else {
        return Ok(next.run(request).await);
    };
    let (mut parts, body) = request.into_parts();
    // A result is worth what the visitor's key is worth now, as every page is.
    Visitor::from_request_parts(&mut parts, dashboard).await?;
    let kept = dashboard.api.store.form_result(&token, form).await.map_err(store_problem)?;
    match kept.and_then(|kept| read(&kept)) {
        Some(Kept::Page { status, html }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            return Ok((status, Html(html)).into_response());
        }
        Some(Kept::Typed(fields)) => {
            parts.extensions.insert(Restored(Fields::read(fields.as_bytes())));
        }
        Some(Kept::To(_)) => {
            parts.extensions.insert(Noticed);
        }
        None => {}
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// The sign-in page, with the form that was sent without a session.
fn signed_out(parts: &Parts, fields: &Fields) -> Response {
    let carried =
        Some(fields.without(&NOT_CARRIED)).filter(|form| form.len() <= CARRIED_BYTES_MAX && is_own(&parts.headers));
    session::session_ended(parts.uri.path(), &carried.unwrap_or_default())
}

/// Keeps a form that came through the sign-in page for a session that was just opened. Returns the address that shows it.
pub(super) async fn restore(dashboard: &Dashboard, token: &str, path: &str, form: &str) -> Result<String, StoreError> {
    let hash =
        FormHash(Sha256::new().chain_update(b"restored ").chain_update(path).chain_update(form).finalize().into());
    let _ = dashboard.api.store.claim_form(token, hash, FORM_RESULT_KEPT).await?;
    keep(dashboard, token, hash, &Kept::Typed(form.to_owned())).await?;
    Ok(result_of(path, hash))
}
