//! Processes each form once: POST, redirect, GET.
//!
//! Every form has a one-time token ([`FormTokens`](super::csrf::FormTokens)). Before the handler of a POST runs, the POST is
//! claimed in the database by the hash of its address and its fields. An identical POST waits for the first POST and gets its
//! result. The result is an address to redirect to, or a page, such as a page with a new secret or a form with its errors. It is
//! kept, encrypted, for [`FORM_RESULT_KEPT`]. The visitor is redirected to a kept page, so that reload and back show the page
//! again and do not repeat the POST.
//!
//! A form from a visitor whose session has ended is not processed. The answer is the sign-in page, with the form's fields except
//! secrets in a hidden field. After sign-in, the visitor sees the form again.
//!
//! The result of a POST that is answered with 429 or 5xx is not kept: the same form can be sent again.

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
use postrider_operations::Error;
use postrider_operations::portal::PORTAL_PATH;
use postrider_store::forms::{Claim, FormHash};
use postrider_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::csrf::{self, CSRF_FIELD, ONCE_FIELD};
use crate::failure::{Answer, Failure};
use crate::fields::{FORM_BYTES_MAX, Fields, NOTICE, RESULT, too_large};
use crate::session::{Submitted, Visitor};
use crate::sign_in_page::{SIGN_IN, session_ended};
use crate::{Dashboard, cookie, oidc};

/// Maximum time that a POST waits for an identical form that is being processed. A test call takes up to 63 s.
const RUNNING_MAX: Duration = Duration::from_secs(70);
/// Time between two checks of an identical form that is being processed.
const POLL: Duration = Duration::from_millis(100);
/// Fields that are not copied to the sign-in page: credentials, and the tokens of the ended session.
const NOT_CARRIED: [&str; 9] =
    ["secret", "user_key", "api_token", "webhook_url", "bot_token", "headers", "key", CSRF_FIELD, ONCE_FIELD];
/// Time between two deletions of expired results.
const DELETE_EVERY: Duration = Duration::from_secs(60);

/// Deletes expired results until `stop`, so that an encrypted secret is deleted soon after it can no longer be read.
pub(crate) async fn delete_expired(store: Store, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(DELETE_EVERY)).await.is_some() {
        if let Err(error) = store.sessions().delete_expired_forms(UnixMillis::now()).await {
            tracing::debug!(%error, "cannot delete the expired results of forms; retrying in 60 s");
        }
    }
}

/// The result of a form.
#[derive(Serialize, Deserialize)]
enum Kept {
    /// The address that the visitor is redirected to.
    To(String),
    /// The page with which the handler answered.
    Page { status: u16, html: String },
    /// The fields of a form that was sent without a session, URL-encoded.
    Typed(String),
}

/// A form that is being processed: its session and its hash.
struct Submission {
    dashboard: Arc<Dashboard>,
    session: String,
    form: FormHash,
    path: String,
}

/// The layer around all routes: it processes each POST once, and shows kept results.
pub(crate) async fn submit_once(State(dashboard): State<Arc<Dashboard>>, request: Request, next: Next) -> Response {
    let done = match *request.method() {
        Method::POST if ![SIGN_IN, oidc::BEGIN, PORTAL_PATH].contains(&request.uri().path()) => {
            post(dashboard, request, next).await
        }
        Method::GET => show(&dashboard, request, next).await,
        _ => Ok(next.run(request).await),
    };
    done.unwrap_or_else(IntoResponse::into_response)
}

async fn post(dashboard: Arc<Dashboard>, request: Request, next: Next) -> Answer<Response> {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, FORM_BYTES_MAX).await.map_err(|_| too_large())?;
    let fields = Fields::read(&body);
    let Some(session) = cookie::session_token(&parts.headers, dashboard.transport(&parts.headers)) else {
        return Ok(signed_out(&dashboard, &parts, &fields));
    };
    if !csrf::is_valid(&session, fields.get(CSRF_FIELD)) {
        // Sets the brand of the visitor's pages, so that the refusal is shown in it.
        let _ = Visitor::from_request_parts(&mut parts, &dashboard).await;
        let detail = "this form does not come from a page of your session: go back, reload the page and try again";
        return Err(Problem::forbidden(detail).into());
    }
    let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
    let form = hash(&[address.as_bytes(), &[0], &body]);
    let submission = Submission { dashboard, session, form, path: parts.uri.path().to_owned() };
    let deadline = Instant::now() + RUNNING_MAX;
    loop {
        let store = &submission.dashboard.store;
        match store.sessions().claim_form(&submission.session, form, FORM_RESULT_KEPT).await? {
            Claim::New => return Ok(submission.process(parts, body, next).await),
            Claim::Finished(kept) => return Ok(submission.redirect(read(&kept))),
            Claim::NoSession => return Ok(signed_out(&submission.dashboard, &parts, &fields)),
            Claim::Running if Instant::now() < deadline => tokio::time::sleep(POLL).await,
            Claim::Running => {
                let detail = "this form is already being processed: reload this page in a minute";
                return Err(Error::Conflict(detail.to_owned()).into());
            }
        }
    }
}

fn hash(parts: &[&[u8]]) -> FormHash {
    let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
    FormHash(hash.finalize().into())
}

fn read(kept: &[u8]) -> Option<Kept> {
    serde_json::from_slice(kept).ok()
}

impl Submission {
    /// Runs the handler in its own task. On a second click, the browser closes the connection of the first click. That must not
    /// cancel the handler.
    async fn process(self, parts: Parts, body: Bytes, next: Next) -> Response {
        let task = tokio::spawn(async move {
            let response = next.run(Request::from_parts(parts, Body::from(body))).await;
            self.finish(response).await
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the handler of a form failed");
            Failure::from(Error::Internal).into_response()
        })
    }

    /// Keeps the handler's answer and redirects the visitor to it.
    async fn finish(self, mut response: Response) -> Response {
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            log_loss(self.dashboard.store.sessions().release_form(&self.session, self.form).await);
            return response;
        }
        if status.is_redirection() {
            let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or(&self.path);
            let to = if to.contains(&format!("{NOTICE}=")) {
                format!("{to}&{RESULT}={}", hex::encode(self.form.0))
            } else {
                to.to_owned()
            };
            if let Ok(location) = HeaderValue::try_from(&to) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            log_loss(self.keep(&Kept::To(to)).await);
            return response;
        }
        self.finish_page(response).await
    }

    async fn finish_page(self, response: Response) -> Response {
        let (head, body) = response.into_parts();
        let Ok(html) = to_bytes(body, usize::MAX).await else {
            return Failure::from(Error::Internal).into_response();
        };
        let kept = if html.len() <= FORM_RESULT_BYTES_MAX {
            Kept::Page { status: head.status.as_u16(), html: String::from_utf8_lossy(&html).into_owned() }
        } else {
            Kept::To(self.path.clone())
        };
        match self.keep(&kept).await {
            Ok(()) if matches!(kept, Kept::Page { .. }) => self.redirect(Some(kept)),
            // The page could not be kept. It is sent as the answer to the POST, so that a secret on the page is not lost.
            outcome => {
                log_loss(outcome);
                Response::from_parts(head, Body::from(html))
            }
        }
    }

    async fn keep(&self, kept: &Kept) -> Result<(), StoreError> {
        keep(&self.dashboard, &self.session, self.form, kept).await
    }

    /// Redirects the visitor to the result.
    fn redirect(&self, kept: Option<Kept>) -> Response {
        match kept {
            Some(Kept::To(to)) => Redirect::to(&to).into_response(),
            Some(Kept::Page { .. } | Kept::Typed(_)) => {
                Redirect::to(&result_address(&self.path, self.form)).into_response()
            }
            None => Redirect::to(&self.path).into_response(),
        }
    }
}

async fn keep(dashboard: &Dashboard, session: &str, form: FormHash, kept: &Kept) -> Result<(), StoreError> {
    let bytes = Zeroizing::new(serde_json::to_vec(kept).unwrap_or_default());
    dashboard.store.sessions().finish_form(session, form, &bytes).await
}

fn log_loss(kept: Result<(), StoreError>) {
    if let Err(error) = kept {
        tracing::warn!(%error, "cannot keep the result of a form; a reload does not show it");
    }
}

fn result_address(path: &str, form: FormHash) -> String {
    format!("{path}?{RESULT}={}", hex::encode(form.0))
}

/// Answers a GET. If the address names a kept page, the answer is that page; if not, the answer of the handler.
async fn show(dashboard: &Arc<Dashboard>, request: Request, next: Next) -> Answer<Response> {
    let named = Fields::of(request.uri()).optional(RESULT);
    let form = named.and_then(|name| <[u8; 32]>::try_from(hex::decode(name).ok()?).ok()).map(FormHash);
    let session = cookie::session_token(request.headers(), dashboard.transport(request.headers()));
    let (Some(form), Some(session)) = (form, session) else {
        return Ok(next.run(request).await);
    };
    let (mut parts, body) = request.into_parts();
    // A kept page requires a visitor who is still signed in, like every other page.
    Visitor::from_request_parts(&mut parts, dashboard).await?;
    let kept = dashboard.store.sessions().form_result(&session, form).await?;
    match kept.and_then(|kept| read(&kept)) {
        Some(Kept::Page { status, html }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            return Ok((status, Html(html)).into_response());
        }
        Some(Kept::Typed(fields)) => {
            parts.extensions.insert(Submitted::Restored(Fields::read(fields.as_bytes())));
        }
        Some(Kept::To(_)) => {
            parts.extensions.insert(Submitted::Redirected);
        }
        None => {}
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// The sign-in page. It contains the form's fields in a hidden field, unless the form comes from another site.
fn signed_out(dashboard: &Dashboard, parts: &Parts, fields: &Fields) -> Response {
    let carried = if csrf::is_same_origin(&parts.headers) { fields.without(&NOT_CARRIED) } else { String::new() };
    session_ended(parts.uri.path(), &carried, dashboard.provider_label())
}

/// Stores a form that was sent with the sign-in, as a kept result of the new session. Returns the address that shows the form.
pub(crate) async fn restore(
    dashboard: &Dashboard,
    session: &str,
    path: &str,
    form: &str,
) -> Result<String, StoreError> {
    let hash = hash(&[b"restored ", path.as_bytes(), form.as_bytes()]);
    let _ = dashboard.store.sessions().claim_form(session, hash, FORM_RESULT_KEPT).await?;
    keep(dashboard, session, hash, &Kept::Typed(form.to_owned())).await?;
    Ok(result_address(path, hash))
}
