//! The delivery history, and each delivery with its attempts.

use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::delivery::DeliveryStatus;
use postrider_operations::deliveries::{Delivery, DeliveryFilter};
use postrider_operations::page::List;
use postrider_operations::{Error, FieldError};

use crate::Dashboard;
use crate::components::{
    Confirmation, WebhookOptions, action, attempt_detail, badge, choice_filter, delivery_table, empty, filter_bar,
    is_filtered, list_or_errors, listing, name_filter, options, pager, read_type, text_filter, time, time_filters,
    type_filter, webhook_link,
};
use crate::failure::Answer;
use crate::fields::{FieldReader, Fields};
use crate::format::{plural, pretty_json};
use crate::page::{EndpointNames, Id, Managed, Page};
use crate::texts::{self, Notice};

const STATUSES: [DeliveryStatus; 5] = [
    DeliveryStatus::Pending,
    DeliveryStatus::Delivered,
    DeliveryStatus::Failed,
    DeliveryStatus::Cancelled,
    DeliveryStatus::Discarded,
];

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/deliveries", get(list))
        .route("/dashboard/{tenant}/deliveries/{id}", get(show))
        .route("/dashboard/{tenant}/deliveries/{id}/retry", get(show).post(retry))
        .route("/dashboard/{tenant}/deliveries/{id}/cancel", get(ask_cancel).post(cancel))
}

/// Reads the filter in an address. Its parameters have the same names as in the API.
fn read_filter(query: &Fields) -> Result<DeliveryFilter, Error> {
    let mut reader = FieldReader::new(query);
    let status_code = reader.number("status_code");
    if status_code.is_some_and(|code: u16| !(100..=599).contains(&code)) {
        reader.take(Err::<(), _>(FieldError::new("status_code", "expected a status code from 100 to 599")));
    }
    let filter = DeliveryFilter {
        endpoint: reader.parse("endpoint_id"),
        event: reader.parse("event_id"),
        status: reader.parse("status"),
        status_code,
        event_type: read_type(query, &mut reader),
        replay: reader.parse("replay_id"),
        failed_attempts: reader.parse("failed_attempts"),
        from: reader.time("from"),
        to: reader.time("to"),
        test: reader.parse("test"),
    };
    reader.finish(filter)
}

/// `GET …/deliveries`
async fn list(page: Page) -> Answer {
    let query = &page.visitor.query;
    let page_query = query.page_query();
    let listed = async { page.operations.list_deliveries(page.caller, &read_filter(query)?, &page_query).await }.await;
    let (listed, errors) = list_or_errors(listed)?;
    let ids = listed.iter().flat_map(|listed| &listed.data).map(|delivery| delivery.endpoint_id);
    let names = page.endpoint_names(ids).await?;
    let filters = if page.visitor.live {
        html! {}
    } else {
        filters(&page).await?
    };
    let content = html! {
        h1 { "Deliveries" }
        (filters)
        (errors)
        @if let Some(listed) = &listed { (history(&page, listed, &names)) }
    };
    Ok(page.show("Deliveries", content))
}

fn history(page: &Page, listed: &List<Delivery>, names: &EndpointNames) -> Markup {
    let query = &page.visitor.query;
    let live = if query.optional("cursor").is_some() { "off" } else { "on" };
    html! {
        section #deliveries aria-label="Deliveries" data-live=(live) {
            @if !listed.data.is_empty() {
                (delivery_table(page, &listed.data, Some(names)))
            } @else if is_filtered(query) {
                (empty("No deliveries match", html! { p { a href=(page.to("/deliveries")) { "Show all" } } }))
            } @else {
                (empty("No deliveries yet", html! { p {
                    "A delivery appears here when an event matches a webhook. "
                    a href=(page.to("/webhooks")) { "Send a test" } " to see one now."
                } }))
            }
        }
        (pager(&page.visitor, listed.next_cursor.as_ref()))
    }
}

async fn filters(page: &Page) -> Answer {
    let query = &page.visitor.query;
    let chosen = query.get("endpoint_id");
    let webhooks = WebhookOptions::load(page, chosen).await?;
    let catalog = page.operations.catalog(page.caller).await?;
    let attempts = [("", "all"), ("true", "with a failed attempt"), ("false", "without failed attempts")];
    let filters = html! {
        (choice_filter("q-endpoint", "endpoint_id", "Webhook", webhooks.show(chosen, "all")))
        (name_filter("status", "Status", query, STATUSES.map(DeliveryStatus::as_str)))
        (choice_filter("q-failed", "failed_attempts", "Attempts", options(query.get("failed_attempts"), attempts)))
        div { label for="q-code" { "Code" }
            input.short #q-code type="text" inputmode="numeric" name="status_code" value=(query.get("status_code")); }
        (type_filter(query, &catalog))
        // Filters that links set. They stay until the visitor clears them.
        @for (name, label) in [("event_id", "Event id"), ("replay_id", "Replay id")] {
            @if query.is_checked(name) { (text_filter(&format!("q-{name}"), name, label, query)) }
        }
        @if let Some(test) = query.optional("test") { input type="hidden" name="test" value=(test); }
        (time_filters(query))
    };
    Ok(filter_bar(&page.visitor, "Deliveries", "Filter", filters))
}

/// `GET …/deliveries/{id}`
async fn show(page: Page, Id(id): Id) -> Answer {
    let found = page.operations.read_delivery(page.caller, &id).await?;
    let delivery = &found.delivery;
    let names = page.endpoint_names([delivery.endpoint_id]).await?;
    let live = if delivery.status.is_terminal() { "off" } else { "on" };
    let content = html! {
        div.heading {
            h1.long { "Delivery of " (delivery.event_type) }
            @if page.can_manage() { div.buttons #delivery-actions data-live=(live) { (buttons(&page, delivery)) } }
        }
        div #delivery data-live=(live) {
            p.lead { (badge(delivery.status.as_str())) " " (texts::standing(delivery)) }
            (facts(&page, delivery, &names))
            section aria-labelledby="attempts" {
                h2 #attempts { "Attempts" }
                @if found.attempts.is_empty() {
                    (empty("No attempt yet", html! { p { "An attempt appears here within a second." } }))
                }
                @for attempt in found.attempts.iter().rev() { (attempt_detail(attempt)) }
            }
        }
        section aria-labelledby="body" {
            h2 #body { "Request body" }
            @match &found.body {
                Some(body) => { (listing("Request body", &pretty_json(body))) }
                None => { p.faint { "The payload was expunged or is past the retention." } }
            }
        }
    };
    Ok(page.show(&format!("Delivery of {}", delivery.event_type), content))
}

fn buttons(page: &Page, delivery: &Delivery) -> Markup {
    let at = page.to(format!("/deliveries/{}", delivery.id));
    let pending = !delivery.status.is_terminal();
    let label = if pending { "Attempt now" } else { "Send again" };
    html! {
        @if !delivery.test { (action(&page.visitor.tokens, &format!("{at}/retry"), label, "primary")) }
        @if pending { a.button.danger href={ (at) "/cancel" } { "Cancel" } }
    }
}

fn facts(page: &Page, delivery: &Delivery, names: &EndpointNames) -> Markup {
    html! { dl.facts {
        dt { "Webhook" } dd { (webhook_link(page, delivery.endpoint_id, names)) }
        dt { "Event" } dd { @if delivery.test { code { (delivery.event_id) } " (a test)" } @else {
            a href=(page.to(format!("/events/{}", delivery.event_id))) { (delivery.event_id) } } }
        dt { "Created" } dd { (time(delivery.created_at)) }
        @if let Some(next) = delivery.next_attempt_at { dt { "Next attempt" } dd { (time(next)) } }
        @if let Some(end) = delivery.finished_at { dt { "Finished" } dd { (time(end)) } }
        @if let Some(origin) = delivery.origin_id {
            dt { "Repeats" } dd { a href=(page.to(format!("/deliveries/{origin}"))) { (origin) } }
        }
        dt { "Id" } dd { code { (delivery.id) } }
    } }
}

/// `POST …/deliveries/{id}/retry`
async fn retry(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    let accepted = page.operations.retry_delivery(page.caller, &id).await?;
    Ok(page.redirect(format!("/deliveries/{}", accepted.id), Notice::RetryRequested))
}

/// `GET …/deliveries/{id}/cancel`
async fn ask_cancel(Managed(page): Managed<Page>, Id(id): Id) -> Answer {
    let delivery = page.operations.read_delivery(page.caller, &id).await?.delivery;
    let names = page.endpoint_names([delivery.endpoint_id]).await?;
    let at = page.to(format!("/deliveries/{id}"));
    let attempts = plural(delivery.attempt_count.into(), "attempt", "attempts");
    let confirmation = Confirmation {
        title: &format!("Cancel this delivery of {}?", delivery.event_type),
        consequences: html! {
            p {
                "To " (webhook_link(&page, delivery.endpoint_id, &names)) ", created " (time(delivery.created_at)) ", "
                (attempts) " so far."
            }
            p { "There will be no further attempts. The webhook does not receive this event unless you send it again." }
        },
        action: &format!("{at}/cancel"),
        button: "Cancel delivery",
        back: &at,
    };
    Ok(confirmation.page(&page))
}

/// `POST …/deliveries/{id}/cancel`
async fn cancel(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    let notice = match page.operations.cancel_delivery(page.caller, &id).await {
        Ok(_) => Notice::DeliveryCancelled,
        Err(Error::Conflict(_)) => Notice::DeliveryAlreadyFinished,
        Err(error) => return Err(error.into()),
    };
    Ok(page.redirect(format!("/deliveries/{id}"), notice))
}
