//! Who the visitor is: sign-in with a key, a cookie with a random token, sign-out.
//!
//! The cookie's token opens a row in `dashboard_sessions` that names the key by its hash, and each page asks anew what that key
//! may do: a deleted key is signed out with its next click. Tokens of forms are derived from the session's own, so that they
//! need no row.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use maud::{Markup, html};
use postrider_http::problem::Problem;
use postrider_model::ids::EventId;
use postrider_model::limits::SIGN_IN_BODY_BYTES_MAX;
use postrider_store::StoreError;
use postrider_store::audit_log::Via;
use postrider_store::config::{KeyHash, Scope};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::Dashboard;
use super::failure::Failure;
use super::form::{Fields, is_own};
use super::{layout, once};
use crate::auth::Caller;
use crate::errors::store_problem;
use crate::refused::Place;

/// The sign-in page, and where its form goes.
pub(super) const SIGN_IN: &str = "/dashboard/sign-in";
const COOKIE: &str = "postrider_session";
/// Its name by https. Browsers take a cookie of such a name only from https, so that a page without TLS cannot plant one.
/// (`__Host-` would ask for the path `/`; this cookie is for the dashboard alone.)
const SECURE_COOKIE: &str = "__Secure-postrider_session";
/// How long a session lasts.
const SESSION: Duration = Duration::from_secs(12 * 3_600);

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/sign-in", get(ask).post(sign_in).layer(DefaultBodyLimit::max(SIGN_IN_BODY_BYTES_MAX)))
        .route("/dashboard/sign-out", post(sign_out))
}

/// Who is signed in.
#[derive(Clone)]
pub(super) struct Visitor {
    /// What its key may do now.
    pub(super) caller: Caller,
    /// Proves that a form is from a page of this session.
    pub(super) csrf: String,
    /// The one-time token of the forms of this page.
    pub(super) once: String,
}

impl Visitor {
    /// Whether it is the operator.
    pub(super) fn is_operator(&self) -> bool {
        matches!(self.caller, Caller::Operator { .. })
    }

    /// Whether it may do more than look.
    pub(super) fn can_manage(&self) -> bool {
        self.caller.visible(Scope::Manage).is_ok()
    }
}

impl FromRequestParts<Arc<Dashboard>> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Result<Self, Failure> {
        // A form's address is a page, too.
        let next = if parts.method == Method::GET { parts.uri.to_string() } else { parts.uri.path().to_owned() };
        let stranger = || Failure::SignIn { next: next.clone() };
        let token = token(&parts.headers).ok_or_else(stranger)?;
        let api = &dashboard.api;
        let key = api.store.session(&token).await.map_err(store_problem)?.ok_or_else(stranger)?;
        match api.keys.find_hash(key, api.config.keys_fresh_for) {
            Ok(caller) => {
                Ok(Self { caller: from_here(caller), csrf: csrf(&token), once: EventId::generate().to_string() })
            }
            Err(problem) if problem.status == StatusCode::UNAUTHORIZED.as_u16() => Err(stranger()),
            Err(problem) => Err(problem.into()),
        }
    }
}

/// The token in the cookie.
pub(super) fn token(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookie| cookie.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let pairs: Vec<(&str, &str)> = pairs.filter(|(_, value)| !value.is_empty()).collect();
    let of = |wanted: &str| pairs.iter().find(|(name, _)| *name == wanted);
    of(SECURE_COOKIE).or_else(|| of(COOKIE)).map(|(_, value)| (*value).to_owned())
}

/// What the forms of a session carry: nobody can make it from outside, and it tells nothing about the token.
pub(super) fn csrf(token: &str) -> String {
    hex::encode(Sha256::new().chain_update(b"postrider form ").chain_update(token).finalize())
}

/// `GET /dashboard`: where this visitor begins.
pub(super) async fn home(visitor: Visitor) -> Redirect {
    match visitor.caller {
        Caller::Operator { .. } => Redirect::to("/dashboard/operator/tenants"),
        Caller::Tenant { tenant, .. } => Redirect::to(&format!("/dashboard/{tenant}/webhooks")),
    }
}

/// Only pages of the dashboard, and never back to sign-in: an address from a query string must not lead elsewhere.
fn safe_next(next: &str) -> &str {
    let inside = next == "/dashboard" || next.starts_with("/dashboard/");
    let harmless = !next.contains(['\\', '\r', '\n']) && !next.starts_with("/dashboard/sign-");
    if inside && harmless { next } else { "/dashboard" }
}

async fn ask(State(dashboard): State<Arc<Dashboard>>, uri: Uri, request: Request) -> Response {
    let next = Fields::of(&uri).get("next").to_owned();
    let (mut parts, _) = request.into_parts();
    match Visitor::from_request_parts(&mut parts, &dashboard).await {
        Ok(_) => Redirect::to(safe_next(&next)).into_response(),
        Err(_) => sign_in_page(safe_next(&next), "", None).into_response(),
    }
}

/// Most bytes of a form that the sign-in page carries: encoded once more (three bytes for each at most), it fits into the form of
/// the sign-in.
const CARRIED_BYTES_MAX: usize = (SIGN_IN_BODY_BYTES_MAX - 1_024) / 3;

/// The sign-in page for a visitor whose session ended, with the form that was sent (URL-encoded; empty: it is not kept, and neither is
/// one of more than [`CARRIED_BYTES_MAX`] bytes).
pub(super) fn session_ended(path: &str, form: &str) -> Response {
    let form = if form.len() <= CARRIED_BYTES_MAX { form } else { "" };
    (StatusCode::UNAUTHORIZED, sign_in_page(safe_next(path), form, None)).into_response()
}

fn sign_in_page(next: &str, form: &str, wrong: Option<&str>) -> Markup {
    layout::bare(
        "Sign in",
        html! {
            h1 { "Sign in" }
            p.lead { "See where your events went, why, and send them again." }
            @if !form.is_empty() { p.warning role="note" {
                "Your session has ended, so nothing was saved. Sign in to see your form again, with what you entered except secrets and header values."
            } }
            form.stack method="post" action=(SIGN_IN) {
                input type="hidden" name="next" value=(next);
                @if !form.is_empty() { input type="hidden" name="form" value=(form); }
                div.field {
                    label for="key" { "API key" }
                    p.hint #key-hint { "A key of your account that may read, or an operator's key. It is not stored in this browser." }
                    @if let Some(wrong) = wrong { p.error #key-error role="alert" { (wrong) } }
                    input.wide #key type="password" name="key" required autocomplete="current-password" spellcheck="false" autofocus
                        aria-invalid=[wrong.map(|_| "true")]
                        aria-describedby=(if wrong.is_some() { "key-hint key-error" } else { "key-hint" });
                }
                button.primary type="submit" { "Sign in" }
            }
        },
    )
}

async fn sign_in(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Result<Response, Failure> {
    if !is_own(&headers) {
        return Err(Problem::forbidden("this form is not from a page of this server").into());
    }
    let fields = Fields::read(&body);
    let (key, next) = (SecretString::from(fields.get("key").to_owned()), safe_next(fields.get("next")).to_owned());
    let api = &dashboard.api;
    let hash = KeyHash::of(key.expose_secret());
    let again = |status: StatusCode, wrong: &str| {
        Ok((status, sign_in_page(&next, fields.get("form"), Some(wrong))).into_response())
    };
    match api.keys.find_hash(hash, api.config.keys_fresh_for) {
        Ok(caller) if caller.visible(Scope::Read).is_err() => {
            again(StatusCode::FORBIDDEN, "This key may only publish. The dashboard takes one with the scope “read”.")
        }
        Ok(caller) => {
            let tenant = caller.visible(Scope::Read)?;
            let opened = api.store.acting_as(from_here(caller).acting()).open_session(hash, tenant, SESSION).await;
            let token = match opened {
                Err(StoreError::Conflict(full)) => return again(StatusCode::CONFLICT, &full),
                opened => opened.map_err(store_problem)?,
            };
            let to = match fields.get("form") {
                "" => next,
                form => once::restore(&dashboard, token.expose_secret(), &next, form).await.map_err(store_problem)?,
            };
            let cookie = cookie(token.expose_secret(), SESSION, is_https(&dashboard, &headers));
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response())
        }
        Err(problem) => match api.refused.judge(problem, Place::SignIn, &extensions) {
            problem if problem.status == StatusCode::UNAUTHORIZED.as_u16() => {
                again(StatusCode::UNAUTHORIZED, "No such key. Copy the whole key; a tenant's key begins with “prk_”.")
            }
            problem => Err(problem.into()),
        },
    }
}

/// The caller, as the audit log tells where the change was made.
fn from_here(caller: Caller) -> Caller {
    caller.with(|acting| acting.via = Some(Via::Dashboard))
}

async fn sign_out(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    if let Some(token) = token(&headers) {
        dashboard.api.store.close_session(&token).await.map_err(store_problem)?;
    }
    let cookie = cookie("", Duration::ZERO, is_https(&dashboard, &headers));
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/dashboard/sign-in")).into_response())
}

/// Whether the visitor came by https: by the setting, or as the proxy in front says. A client that lies about it harms only itself.
fn is_https(dashboard: &Dashboard, headers: &HeaderMap) -> bool {
    if dashboard.api.config.served_by_https {
        return true;
    }
    let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    proto.is_some_and(|proto| proto.split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("https")))
}

fn cookie(token: &str, lasts: Duration, secure: bool) -> HeaderValue {
    let (name, secure) = if secure { (SECURE_COOKIE, "; Secure") } else { (COOKIE, "") };
    let text = format!("{name}={token}; Path=/dashboard; Max-Age={}; HttpOnly; SameSite=Lax{secure}", lasts.as_secs());
    // URL-safe base64 is a header's value.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_dashboard_come_next() {
        for good in ["/dashboard", "/dashboard/ten_1/events?type=a", "/dashboard/operator/tenants"] {
            assert_eq!(safe_next(good), good);
        }
        for bad in
            ["", "//evil.example", "https://evil.example", "/dashboard/\\evil", "/dashboardx", "/dashboard/sign-out"]
        {
            assert_eq!(safe_next(bad), "/dashboard", "{bad}");
        }
    }

    #[test]
    fn the_cookie_is_closed_to_scripts_and_other_sites_and_to_plain_http_where_there_is_https() {
        let plain = cookie("abc", SESSION, false);
        assert_eq!(plain, "postrider_session=abc; Path=/dashboard; Max-Age=43200; HttpOnly; SameSite=Lax");
        let secure = cookie("abc", SESSION, true);
        assert!(
            secure.to_str().unwrap().starts_with("__Secure-postrider_session=abc; Path=/dashboard; "),
            "{secure:?}"
        );
        assert!(secure.to_str().unwrap().ends_with("; Secure"));
        let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static("a=b; postrider_session=abc"))]);
        assert_eq!(token(&headers).as_deref(), Some("abc"));
        assert_eq!(token(&HeaderMap::new()), None);
        let both = HeaderValue::from_static("postrider_session=planted; __Secure-postrider_session=own");
        assert_eq!(token(&HeaderMap::from_iter([(header::COOKIE, both)])).as_deref(), Some("own"));
    }
}
