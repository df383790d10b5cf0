//! The dashboard: what a customer and an operator see of Postrider in a browser, under `/dashboard`.
//!
//! # What it owns
//! Pages, and how a visitor is recognised: [`session`] (sign-in, cookie, CSRF), [`once`] (forms act once), [`assets`] (the style sheet and scripts),
//! [`layout`] (what every page has), [`parts`] and [`chart`] (what many have), and a module a subject: [`webhooks`],
//! [`deliveries`], [`events`], [`replays`], [`health`] for a tenant, [`operator`] for the operator. Customers know an endpoint
//! as "a webhook", so that is what pages call it.
//!
//! # What it promises
//! - **No rules of its own.** A page asks the operations behind the HTTP API, as functions, with the [`Caller`] that its
//!   session stands for; what the API would refuse, a page refuses with the same words, beside the field.
//! - **Text is text.** Markup is escaped by the template compiler (`maud`); nothing in here writes markup from a string.
//! - **Plain forms first.** Every page works without scripts; scripts add the local time zone, refreshes, a copy button and
//!   search. There is no inline script and no inline style, and the policy in [`SECURITY`] forbids both.
//! - **A tenant's pages lie under its id**, `/dashboard/{tenant}/…`, so that an operator with two tabs edits what the address
//!   says. Another tenant's pages are 404s.
//!
//! # What it does not
//! It keeps nothing but sessions and the results of forms, sends nothing to endpoints, and makes no HTTP request, to itself neither.
//!
//! [`Caller`]: crate::auth::Caller

mod assets;
mod audit_log;
mod chart;
mod deliveries;
mod events;
mod failure;
mod form;
mod health;
mod layout;
pub(crate) mod once;
mod operator;
mod page;
mod parts;
mod replays;
mod session;
mod verify;
mod webhooks;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{Redirect, Response};
use axum::routing::get;
use postrider_http::problem::Problem;

use self::failure::Failure;
use crate::{Api, request};

/// What every answer under `/dashboard` carries.
const SECURITY: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What pages work with.
pub(crate) struct Dashboard {
    api: Arc<Api>,
}

/// `/`, and everything under `/dashboard`.
pub(crate) fn routes(api: Arc<Api>) -> Router {
    let dashboard = Arc::new(Dashboard { api });
    let pages = Router::new()
        .route("/dashboard", get(session::home))
        .route("/dashboard/assets/{file}", get(assets::serve))
        .merge(session::routes())
        .merge(webhooks::routes())
        .merge(deliveries::routes())
        .merge(events::routes())
        .merge(replays::routes())
        .merge(health::routes())
        .merge(audit_log::routes())
        .merge(operator::routes())
        .route("/dashboard/{tenant}", get(nothing_there))
        .route("/dashboard/{tenant}/{*path}", get(nothing_there))
        // Innermost: it sees the edits of its own task, and the next layer answers in another one.
        .layer(middleware::from_fn_with_state(Arc::clone(&dashboard.api), crate::edits::settle))
        .layer(middleware::from_fn_with_state(Arc::clone(&dashboard), once::act_once))
        .layer(DefaultBodyLimit::max(request::BODY_BYTES_MAX))
        .layer(middleware::from_fn(secured))
        .with_state(dashboard);
    Router::new().route("/", get(|| async { Redirect::to("/dashboard") })).merge(pages)
}

async fn nothing_there(uri: Uri) -> Failure {
    Failure::from(Problem::not_found(format!("there is no page {}", uri.path())))
}

/// Puts the headers of [`SECURITY`] on an answer, and keeps pages out of caches.
async fn secured(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
