//! Sign-in of operators with an identity provider (OpenID Connect).
//!
//! The sign-in begins here, continues at the provider and returns to [`CALLBACK_PATH`]. In between, the browser keeps a
//! [`FlowCookie`]. The session of a person has the claims of the last sign-in: each request checks them against the rule for
//! operators, so that a person who is removed from the rule is signed out with the next request.

mod flow_cookie;
mod refused;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum_extra::extract::CookieJar;
use bytes::Bytes;
use maud::html;
use postrider_http::problem::Problem;
use postrider_http::server::Peer;
use postrider_model::ids::PersonId;
use postrider_model::limits::SIGN_IN_BODY_BYTES_MAX;
use postrider_oidc::{CALLBACK_PATH, Identity, Provider};
use postrider_operations::{Caller, Interface};
use postrider_store::people::Person;
use url::Url;

use self::flow_cookie::{FlowCookie, ended};
use self::refused::Refused;
use crate::failure::Answer;
use crate::fields::Fields;
use crate::session::Visitor;
use crate::sign_in::{SESSION, enter};
use crate::sign_in_page::{SignInPage, safe_next};
use crate::{Dashboard, csrf, document};

pub(crate) use self::flow_cookie::fits;

/// The address that begins a sign-in.
pub(crate) const BEGIN: &str = "/dashboard/sign-in/oidc";
/// Makes the browser open an address. The policy `form-action` of the page forbids a redirect of a form to another site.
const REFRESH: HeaderName = HeaderName::from_static("refresh");

/// Maximum number of characters of an error of the provider in the log.
const SHOWN_MAX: usize = 200;

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route(BEGIN, get(begin).post(begin_with_form).layer(DefaultBodyLimit::max(SIGN_IN_BODY_BYTES_MAX)))
        .route(CALLBACK_PATH, get(complete))
}

/// The caller of a person's session; `None` if the person is not an operator at present.
pub(crate) fn caller_of(dashboard: &Dashboard, person: &Person) -> Option<Caller> {
    let provider = dashboard.oidc.as_ref().filter(|provider| provider.issuer() == person.issuer)?;
    let admitted = provider.rule().admits(person.email.as_deref(), &person.claims);
    admitted.then(|| dashboard.operations.caller_of_person(person.id))
}

fn provider(dashboard: &Dashboard) -> Answer<Arc<Provider>> {
    let missing = || Problem::not_found("there is no sign-in with an identity provider here; sign in with a key");
    Ok(dashboard.oidc.clone().ok_or_else(missing)?)
}

/// `GET /dashboard/sign-in/oidc`: redirects to the provider.
async fn begin(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap, uri: Uri) -> Answer<Response> {
    let provider = provider(&dashboard)?;
    let query = Fields::of(&uri);
    let started = FlowCookie::begin(safe_next(query.get("next")), "");
    Ok(match address(&provider, &started).await {
        Ok(to) => {
            let cookie = CookieJar::new().add(started.cookie(dashboard.transport(&headers)));
            (cookie, Redirect::to(to.as_str())).into_response()
        }
        Err(refused) => page(&provider, &started, &refused),
    })
}

/// `POST /dashboard/sign-in/oidc`: keeps the form that was submitted after the session had ended, and continues to the provider.
async fn begin_with_form(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap, body: Bytes) -> Answer<Response> {
    let provider = provider(&dashboard)?;
    if !csrf::is_same_origin(&headers) {
        return Err(Problem::forbidden("this form does not come from a page of this server").into());
    }
    let fields = Fields::read(&body);
    let started = FlowCookie::begin(safe_next(fields.get("next")), fields.get("form"));
    Ok(match address(&provider, &started).await {
        Ok(to) => {
            let title = format!("Continue to {}", provider.label());
            let content = html! {
                h1 { (title) }
                p { a.button.primary href=(to) { "Continue" } }
            };
            let cookie = CookieJar::new().add(started.cookie(dashboard.transport(&headers)));
            let refresh = [(REFRESH, format!("0;url={to}"))];
            (cookie, refresh, document::bare(&title, content)).into_response()
        }
        Err(refused) => page(&provider, &started, &refused),
    })
}

/// The address of the provider's sign-in page.
async fn address(provider: &Provider, started: &FlowCookie) -> Result<Url, Refused> {
    provider.sign_in_url(&started.flow).await.map_err(|error| {
        tracing::warn!(%error, "cannot begin a sign-in with the identity provider");
        Refused::Failed(error)
    })
}

/// `GET /dashboard/sign-in/oidc/callback`: the provider redirects the browser here.
async fn complete(State(dashboard): State<Arc<Dashboard>>, request: Request) -> Answer<Response> {
    let provider = provider(&dashboard)?;
    let (mut parts, _) = request.into_parts();
    let query = Fields::of(&parts.uri);
    let started = FlowCookie::of(&parts.headers, dashboard.transport(&parts.headers))
        .filter(|started| started.flow.has_state(query.get("state")));
    let Some(started) = started else {
        // A visitor who returns to this address after the sign-in, through the browser's history.
        if Visitor::from_request_parts(&mut parts, &dashboard).await.is_ok() {
            return Ok(Redirect::to("/dashboard").into_response());
        }
        tracing::debug!("refused the return from the identity provider: its state is not that of the browser's cookie");
        return Ok(page(&provider, &FlowCookie::begin("/dashboard", ""), &Refused::NotStarted));
    };
    let headers = &parts.headers;
    let cookie = ended(dashboard.transport(headers));
    // A return with a code costs requests to the provider.
    if query.optional("error").is_none() {
        dashboard.operations.charge_sign_in(parts.extensions.get::<Peer>().map(|peer| peer.0))?;
    }
    let person = match identify(&provider, &started, &query).await {
        Ok(person) => person,
        Err(refused) => {
            if let Refused::NotAnOperator { id, .. } = &refused {
                // The provider has just said so, so that the sessions of an earlier sign-in end, too.
                dashboard.store.sessions().forget_person(*id).await?;
            }
            count(&dashboard, &refused, &parts.extensions)?;
            return Ok((CookieJar::new().add(cookie), page(&provider, &started, &refused)).into_response());
        }
    };
    let acting = dashboard.operations.caller_of_person(person.id).acting();
    let token = dashboard.store.acting_as(acting).sessions().open_person_session(&person, SESSION).await?;
    let (entered, redirect) = enter(&dashboard, headers, &token, (&started.next, &started.form)).await?;
    Ok((entered.add(cookie), redirect).into_response())
}

/// Asks the provider who returned, and requires an operator.
async fn identify(provider: &Provider, started: &FlowCookie, query: &Fields) -> Result<Person, Refused> {
    if let Some(error) = query.optional("error") {
        let description: String = query.get("error_description").chars().take(SHOWN_MAX).collect();
        tracing::warn!(error = ?error.chars().take(SHOWN_MAX).collect::<String>(), ?description, "the identity provider refused a sign-in");
        return Err(if error == "access_denied" { Refused::Denied } else { Refused::ProviderError });
    }
    let issuer = query.optional("iss");
    let identity = provider.identify(&started.flow, query.get("code"), issuer.as_deref()).await.map_err(|error| {
        tracing::warn!(%error, "a sign-in with the identity provider failed");
        Refused::Failed(error)
    })?;
    if !provider.rule().admits(identity.email.as_deref(), &identity.claims) {
        let Identity { issuer, subject, email, name, .. } = identity;
        tracing::warn!(?subject, ?email, "refused a sign-in: the person is not an operator");
        let id = PersonId::derive(&issuer, &subject);
        return Err(Refused::NotAnOperator { id, name, has_email: email.is_some() });
    }
    let Identity { issuer, subject, email, name, claims } = identity;
    Ok(Person { id: PersonId::derive(&issuer, &subject), issuer, subject, email, name, claims })
}

/// Counts a failed sign-in like a sign-in with an unknown key.
fn count(dashboard: &Dashboard, refused: &Refused, extensions: &Extensions) -> Answer<()> {
    if refused.counts() {
        let peer = extensions.get::<Peer>().map(|peer| peer.0);
        dashboard.operations.count_unknown_key(Interface::SignIn, peer)?;
    }
    Ok(())
}

/// The sign-in page, which says why the sign-in failed.
fn page(provider: &Provider, started: &FlowCookie, refused: &Refused) -> Response {
    let error = refused.text(provider.label());
    let page = SignInPage {
        next: &started.next,
        form: &started.form,
        provider: Some(provider.label()),
        provider_error: Some(&error),
        ..SignInPage::default()
    };
    (refused.status(), page.show()).into_response()
}
