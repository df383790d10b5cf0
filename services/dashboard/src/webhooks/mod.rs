//! The pages about endpoints, which customers call webhooks.

mod delete;
mod detail;
mod form;
mod held_keys;
mod input;
mod list;
mod recover;
mod rotate;
mod save;
mod skip;
mod status;
mod test;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::delivery::DeliveryStatus;
use postrider_operations::deliveries::DeliveryFilter;
use postrider_operations::page::PageQuery;

use crate::Dashboard;
use crate::failure::Answer;
use crate::language::t;
use crate::page::WebhookPage;

/// Maximum number of pending deliveries that [`pending`] counts.
const PENDING_MAX: u32 = 200;

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/webhooks", get(list::show))
        .route("/dashboard/{tenant}/webhooks/new", get(save::show_new).post(save::create))
        .route("/dashboard/{tenant}/webhooks/{id}", get(detail::show))
        .route("/dashboard/{tenant}/webhooks/{id}/edit", get(save::show_edit).post(save::edit))
        .route("/dashboard/{tenant}/webhooks/{id}/status", get(detail::show).post(status::set))
        .route("/dashboard/{tenant}/webhooks/{id}/delete", get(delete::ask).post(delete::delete))
        .route("/dashboard/{tenant}/webhooks/{id}/test", get(test::show).post(test::send))
        .route("/dashboard/{tenant}/webhooks/{id}/recover", get(recover::show).post(recover::start))
        .route("/dashboard/{tenant}/webhooks/{id}/skip", get(skip::ask).post(skip::skip))
        .route("/dashboard/{tenant}/webhooks/{id}/held-keys", get(held_keys::show).post(held_keys::decide))
        .route("/dashboard/{tenant}/webhooks/{id}/rotate", get(rotate::show).post(rotate::rotate))
}

/// A text that explains why no webhook can be added.
fn limit_reached(usage: u32, limit: u32) -> Markup {
    html! { p.warning role="note" {
        (t!("{usage} of {limit} {webhooks} are used, so no more can be added.", usage = usage, limit = limit)) " "
        (t!("Delete one, or ask the operator for a higher limit. Existing {webhooks} keep working."))
    } }
}

/// The number of pending deliveries to the webhook, at most [`PENDING_MAX`].
async fn pending(webhook: &WebhookPage) -> Answer<u32> {
    let WebhookPage { page, endpoint, .. } = webhook;
    let status = Some(DeliveryStatus::Pending);
    let filter = DeliveryFilter { endpoint: Some(endpoint.id), status, ..DeliveryFilter::default() };
    let newest = PageQuery { limit: PENDING_MAX, cursor: None };
    let listed = page.operations.list_deliveries(page.caller, &filter, &newest).await?;
    Ok(listed.data.len().try_into().unwrap_or(PENDING_MAX))
}

/// A link to the pending deliveries, of which there is at least one.
fn pending_link(webhook: &WebhookPage, pending: u32) -> Markup {
    let link = webhook.page.to(format!("/deliveries?endpoint_id={}&status=pending", webhook.endpoint.id));
    html! { a href=(link) {
        @if pending >= PENDING_MAX { (t!("{count} or more pending deliveries", count = PENDING_MAX)) }
        @else { (t!(pending.into(), "{count} pending delivery", "{count} pending deliveries")) }
    } }
}
