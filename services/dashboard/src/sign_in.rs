//! The routes for signing in with an API key and for signing out. [`oidc`](crate::oidc) has the sign-in with an identity provider.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum_extra::extract::CookieJar;
use bytes::Bytes;
use postrider_http::problem::Problem;
use postrider_http::server::Peer;
use postrider_model::limits::SIGN_IN_BODY_BYTES_MAX;
use postrider_model::scope::Scope;
use postrider_operations::portal::Place;
use postrider_operations::{Caller, Interface};
use postrider_store::StoreError;
use postrider_store::config::KeyHash;
use secrecy::{ExposeSecret, SecretString};

use crate::cookie;
use crate::failure::Answer;
use crate::fields::Fields;
use crate::language::t;
use crate::session::{Visitor, via_dashboard};
use crate::sign_in_page::{SIGN_IN, SignInPage, safe_next};
use crate::{Dashboard, csrf, submit_once};

/// How long a session lasts.
pub(crate) const SESSION: Duration = Duration::from_secs(12 * 3_600);

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard", get(home))
        .route("/dashboard/sign-in", get(show).post(sign_in).layer(DefaultBodyLimit::max(SIGN_IN_BODY_BYTES_MAX)))
        .route("/dashboard/sign-out", post(sign_out))
}

/// `GET /dashboard`: the visitor's first page.
async fn home(visitor: Visitor) -> Redirect {
    match visitor.caller {
        Caller::Operator { .. } => Redirect::to("/dashboard/operator/tenants"),
        Caller::Tenant { tenant, .. } => Redirect::to(&format!("/dashboard/{tenant}/webhooks")),
    }
}

/// `GET /dashboard/sign-in`
async fn show(State(dashboard): State<Arc<Dashboard>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let query = Fields::of(&parts.uri);
    let next = safe_next(query.get("next"));
    match Visitor::from_request_parts(&mut parts, &dashboard).await {
        Ok(_) => Redirect::to(next).into_response(),
        Err(_) => {
            SignInPage { next, provider: dashboard.provider_label(), ..SignInPage::default() }.show().into_response()
        }
    }
}

/// `POST /dashboard/sign-in`
async fn sign_in(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Answer<Response> {
    if !csrf::is_same_origin(&headers) {
        return Err(Problem::forbidden("this form does not come from a page of this server").into());
    }
    let fields = Fields::read(&body);
    let (key, next) = (SecretString::from(fields.get("key").to_owned()), safe_next(fields.get("next")));
    let hash = KeyHash::of(key.expose_secret());
    let refuse = |status: StatusCode, error: &str| {
        let (form, provider) = (fields.get("form"), dashboard.provider_label());
        let page = SignInPage { next, form, key_error: Some(error), provider, ..SignInPage::default() };
        Ok((status, page.show()).into_response())
    };
    let Some(caller) = dashboard.operations.find_caller(hash)? else {
        dashboard.operations.count_unknown_key(Interface::SignIn, extensions.get::<Peer>().map(|peer| peer.0))?;
        let error = t!("There is no such key. Copy the whole key; a tenant's key begins with “prk_”.");
        return refuse(StatusCode::UNAUTHORIZED, &error);
    };
    let Ok(tenant) = caller.visible(Scope::Read) else {
        return refuse(StatusCode::FORBIDDEN, &t!("This key can only publish. Use a key with the scope “read”."));
    };
    let store = dashboard.store.acting_as(via_dashboard(caller).acting());
    let token = match store.sessions().open_session(hash, tenant, SESSION).await {
        Err(StoreError::Conflict(too_many)) => return refuse(StatusCode::CONFLICT, &too_many),
        opened => opened?,
    };
    Ok(enter(&dashboard, &headers, &token, (next, fields.get("form"))).await?.into_response())
}

/// The answer that opens the pages of a new session: its cookie, and a redirect to the page `next`, with the form that was
/// submitted after the last session had ended.
pub(crate) async fn enter(
    dashboard: &Dashboard,
    headers: &HeaderMap,
    token: &SecretString,
    (next, form): (&str, &str),
) -> Answer<(CookieJar, Redirect)> {
    let to = match form {
        "" => next.to_owned(),
        form => submit_once::restore(dashboard, token.expose_secret(), next, form).await?,
    };
    // The new cookie replaces the cookie of a tab, so that the session of the replaced cookie would be unreachable.
    if let Some((replaced, Place::Tab)) = cookie::session(headers, dashboard.transport(headers))
        && let Err(error) = dashboard.store.sessions().close_session(&replaced).await
    {
        tracing::warn!(%error, "cannot close the session that a sign-in replaced; it stays until it expires");
    }
    let cookie = cookie::session_cookie(token.expose_secret(), SESSION, dashboard.transport(headers));
    Ok((cookie, Redirect::to(&to)))
}

/// `POST /dashboard/sign-out`
async fn sign_out(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Answer<(CookieJar, Redirect)> {
    if let Some(token) = cookie::session_token(&headers, dashboard.transport(&headers)) {
        dashboard.store.sessions().close_session(&token).await?;
    }
    let cookie = cookie::session_cookie("", Duration::ZERO, dashboard.transport(&headers));
    Ok((cookie, Redirect::to(SIGN_IN)))
}
