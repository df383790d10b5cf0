//! The dashboard: pages for customers and operators in a browser, under `/dashboard`.
//!
//! # What it owns
//! - The parts that all pages share: `document`, `layout`, `assets`, `brand`, `language` and `components`.
//! - The visitor: `sign_in`, `oidc`, `portal`, `session`, `cookie`, `csrf`, and `page`, which has the extractors of the handlers.
//! - Forms: `fields`, and `submit_once`, which processes each form once.
//! - A module for each subject. For a tenant: `webhooks`, `deliveries`, `several` and `matching` (changes of chosen
//!   deliveries, and of all that match a filter), `events`,
//!   `event_types`, `erasures`, `replays`, `health`, `audit_log`, `find` (the search) and `views` (saved filters). For operators: `operator`.
//!   Customers know an
//!   endpoint as a webhook, so pages call an endpoint a webhook.
//!
//! # What it promises
//! - **No separate rules.** A page calls the operations behind the HTTP API with the [`Caller`] of its session. It refuses the
//!   same requests as the API, and shows the same error text next to the field.
//! - **Text never becomes markup.** The macros of `maud` escape every text, and no markup is built from strings.
//! - **Forms work without scripts.** Scripts add the local time zone, refreshes, copy buttons, keyboard shortcuts and the search
//!   in a form's event types. Scripts and styles are files; the policy in `POLICY` forbids inline scripts and styles.
//! - **The address names the tenant**, `/dashboard/{tenant}/…`, so an operator with two tabs edits the tenant of the tab. For a
//!   visitor of another tenant, the answer is a 404.
//!
//! # What it does not do
//! The dashboard stores only sessions and the results of forms. It sends nothing to endpoints. Only the sign-in of operators makes
//! HTTP requests, to the identity provider. The `api` process serves the dashboard. The crate imports no other service.
//!
//! [`Caller`]: postrider_operations::Caller

mod assets;
mod audit_log;
mod brand;
mod components;
mod cookie;
mod csrf;
mod curl;
mod deliveries;
mod document;
mod erasures;
mod event_types;
mod events;
mod failure;
mod fields;
mod find;
mod format;
mod health;
mod language;
mod layout;
mod matching;
mod oidc;
mod operator;
mod page;
mod portal;
mod replays;
mod session;
mod several;
mod sign_in;
mod sign_in_page;
mod submit_once;
mod texts;
mod views;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{Redirect, Response};
use axum::routing::get;
use postrider_http::problem::Problem;
use postrider_oidc::Provider;
use postrider_operations::Operations;
use postrider_operations::portal::Place;
use postrider_store::Store;
use postrider_telemetry::tasks::Tasks;

use self::brand::PageBrand;
use self::cookie::Transport;
use self::document::shown_in;
use self::failure::Failure;
use self::fields::FORM_BYTES_MAX;
use self::session::Visitor;

/// The header that names the instances that did not apply an edit in time, separated by commas.
const LAGGING: HeaderName = HeaderName::from_static("postrider-lagging");
/// The content security policy of every answer under `/dashboard`. [`policy`] adds the sources of `frame-ancestors` at the end.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors";
/// The other headers of every answer under `/dashboard`.
const SECURITY: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The dependencies and settings of the dashboard, and the state of its routes.
pub struct Dashboard {
    /// The operations that pages call.
    pub operations: Arc<Operations>,
    /// Stores sessions and the results of forms.
    pub store: Store,
    /// Whether browsers reach the dashboard over https, directly or through a proxy.
    pub served_by_https: bool,
    /// Origins of the pages that may show the dashboard in a frame, as sources of a content security policy.
    pub frame_ancestors: Vec<String>,
    /// The identity provider that signs operators in, if there is one.
    pub oidc: Option<Arc<Provider>>,
}

impl Dashboard {
    /// Whether the visitor who sent a request with these headers uses https.
    fn transport(&self, headers: &HeaderMap) -> Transport {
        if self.served_by_https { Transport::Https } else { Transport::of_request(headers) }
    }

    /// The name of the identity provider.
    fn provider_label(&self) -> Option<&str> {
        self.oidc.as_deref().map(Provider::label)
    }
}

/// The state of the layers that set the place and the brand of a page.
#[derive(Clone)]
struct Frame {
    dashboard: Arc<Dashboard>,
    /// The brand of pages without a visitor.
    brand: Arc<PageBrand>,
}

impl Frame {
    async fn show<T>(&self, place: Place, work: impl Future<Output = T>) -> T {
        shown_in(place, Arc::clone(&self.brand), work).await
    }
}

/// Starts the dashboard's background task on `tasks` and returns its routes: `/`, and everything under `/dashboard`.
pub fn router(dashboard: Dashboard, tasks: &Tasks) -> Router {
    tasks.spawn("dashboard.form_results", submit_once::delete_expired(dashboard.store.clone(), tasks.stop().clone()));
    let brand = PageBrand::of_deployment(&dashboard.operations);
    let dashboard = Arc::new(dashboard);
    let frame = Frame { dashboard: Arc::clone(&dashboard), brand };
    let pages = Router::new()
        .route("/dashboard/assets/{file}", get(assets::serve))
        .merge(brand::routes())
        .merge(sign_in::routes())
        .merge(oidc::routes())
        .merge(portal::routes())
        .merge(webhooks::routes())
        .merge(deliveries::routes())
        .merge(several::routes())
        .merge(matching::routes())
        .merge(events::routes())
        .merge(find::routes())
        .merge(views::routes())
        .merge(event_types::routes())
        .merge(erasures::routes())
        .merge(replays::routes())
        .merge(health::routes())
        .merge(audit_log::routes())
        .merge(operator::routes())
        .route("/dashboard/{tenant}", get(no_such_page))
        .route("/dashboard/{tenant}/{*path}", get(no_such_page))
        // The innermost layer, because it observes only the edits of its own task, and the layer around it (`submit_once`) runs
        // the handler in another task.
        .layer(middleware::from_fn_with_state(frame.clone(), wait_for_edit))
        .layer(middleware::from_fn_with_state(Arc::clone(&dashboard), submit_once::submit_once))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(frame, add_security_headers))
        .with_state(dashboard);
    Router::new().route("/", get(|| async { Redirect::to("/dashboard") })).merge(pages)
}

/// Answers a request. After an edit, it waits until every live instance has applied the edit, but at most half a second.
async fn wait_for_edit(State(frame): State<Frame>, request: Request, next: Next) -> Response {
    let place = cookie::page_place(request.headers(), frame.dashboard.transport(request.headers()));
    let (mut response, lagging) = frame.dashboard.operations.wait_for_edit(frame.show(place, next.run(request))).await;
    // Instance names are host names and hexadecimal digits, so the header's value is valid.
    if let Some(Ok(value)) = lagging.map(HeaderValue::try_from) {
        response.headers_mut().insert(LAGGING, value);
    }
    response
}

/// The answer to an unknown address. The extractor of [`Visitor`] sets the brand of the visitor's pages.
async fn no_such_page(_: Result<Visitor, Failure>, uri: Uri) -> Failure {
    Problem::not_found(format!("there is no page {}", uri.path())).into()
}

/// Adds the security headers, and the header that keeps pages out of caches.
async fn add_security_headers(State(frame): State<Frame>, request: Request, next: Next) -> Response {
    let place = cookie::page_place(request.headers(), frame.dashboard.transport(request.headers()));
    let mut response = frame.show(place, next.run(request)).await;
    let headers = response.headers_mut();
    let ancestors = &frame.dashboard.frame_ancestors;
    if ancestors.is_empty() {
        // For browsers that do not support `frame-ancestors`. This header cannot name origins.
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    // A logo has its own policy.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert_with(|| policy(ancestors));
    for (name, value) in SECURITY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The content security policy. Pages of the origins in `frame_ancestors` may show the dashboard in a frame.
fn policy(frame_ancestors: &[String]) -> HeaderValue {
    let sources = if frame_ancestors.is_empty() { "'none'".to_owned() } else { frame_ancestors.join(" ") };
    // Settings accept only ASCII origins. Other text would not be valid in a header.
    HeaderValue::try_from(format!("{POLICY} {sources}")).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}
