//! Webhooks, which is what customers call their endpoints.

mod create;
mod delete;
mod detail;
mod edit;
mod form;
mod input;
mod list;
mod rotate;
mod status;
mod test;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use maud::{Markup, html};

use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::dashboard::format::count;
use crate::dashboard::page::{Page, WebhookPage};
use crate::deliveries;
use crate::endpoints::handlers;
use crate::endpoints::model::EndpointPage;
use crate::request::Params;

/// Most pending deliveries that are counted.
const PENDING_MAX: usize = 200;

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/webhooks", get(list::show))
        .route("/dashboard/{tenant}/webhooks/new", get(create::show).post(create::create))
        .route("/dashboard/{tenant}/webhooks/{id}", get(detail::show))
        .route("/dashboard/{tenant}/webhooks/{id}/edit", get(edit::show).post(edit::save))
        .route("/dashboard/{tenant}/webhooks/{id}/status", get(detail::show).post(status::set))
        .route("/dashboard/{tenant}/webhooks/{id}/delete", get(delete::ask).post(delete::delete))
        .route("/dashboard/{tenant}/webhooks/{id}/test", get(test::show).post(test::send))
        .route("/dashboard/{tenant}/webhooks/{id}/rotate", get(rotate::show).post(rotate::rotate))
}

/// A page of the tenant's endpoints, with usage and limit.
async fn endpoints(page: &Page, params: Params) -> Result<EndpointPage, Failure> {
    Ok(handlers::list(State(Arc::clone(&page.api)), page.caller, params).await?.0)
}

/// Why no webhook can be added.
fn limit_reached(usage: u32, limit: u32) -> Markup {
    html! { p.warning role="note" {
        (usage) " of " (limit) " webhooks are used, so no more can be added. "
        "Delete one, or ask the operator for a higher limit. Existing webhooks keep working."
    } }
}

/// How many deliveries to the webhook are pending, at most [`PENDING_MAX`].
async fn pending(webhook: &WebhookPage) -> Result<usize, Failure> {
    let limit = PENDING_MAX.to_string();
    let wanted = [("endpoint_id", webhook.endpoint.id.as_str()), ("status", "pending"), ("limit", &limit)];
    let params = Params::of(wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let page = &webhook.page;
    Ok(deliveries::list(State(Arc::clone(&page.api)), page.caller, params).await?.0.data.len())
}

/// The subject of a sentence about the pending deliveries, with a link: "3 pending deliveries are".
fn pending_deliveries(webhook: &WebhookPage, pending: usize) -> Markup {
    let link = webhook.page.to(format!("/deliveries?endpoint_id={}&status=pending", webhook.endpoint.id));
    html! { @match pending {
        0 => "No delivery is pending now. Deliveries that are created until then are",
        1 => { a href=(link) { "1 pending delivery" } " is" }
        PENDING_MAX.. => { a href=(link) { (PENDING_MAX) " or more pending deliveries" } " are" }
        _ => { a href=(link) { (count(pending as u64)) " pending deliveries" } " are" }
    } }
}
