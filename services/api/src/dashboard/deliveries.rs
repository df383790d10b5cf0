//! The delivery history, and each delivery with its attempts.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Redirect;
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::delivery::DeliveryStatus;

use crate::dashboard::Dashboard;
use crate::dashboard::components::delivery::{attempt_detail, table};
use crate::dashboard::components::form::option;
use crate::dashboard::components::webhook::{WebhookOptions, webhook_link};
use crate::dashboard::components::{Confirmation, action, badge, empty, filter_errors, listing, pager, time};
use crate::dashboard::failure::Failure;
use crate::dashboard::fields::Fields;
use crate::dashboard::format::{local, pretty_json, utc};
use crate::dashboard::layout::Section;
use crate::dashboard::page::{EndpointNames, Id, Managed, Page};
use crate::dashboard::texts::{self, Notice};
use crate::deliveries::{self, Delivery, DeliveryDetail};
use crate::event_types::model::EventType;
use crate::page::List;
use crate::request::Params;
use crate::{retry, withdraw};

/// The filters of the history; names of the API.
const FILTERS: [&str; 11] = [
    "endpoint_id",
    "event_id",
    "replay_id",
    "status",
    "failed_attempts",
    "status_code",
    "type",
    "from",
    "to",
    "test",
    "cursor",
];

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

/// `GET …/deliveries`
async fn list(page: Page) -> Result<Markup, Failure> {
    let params = filter_params(&page.visitor.query, &FILTERS);
    let listed = deliveries::list(State(Arc::clone(&page.api)), page.caller, params).await;
    let (listed, problem) = match listed {
        Ok(listed) => (Some(listed.0), None),
        Err(problem) if problem.status == 422 => (None, Some(problem)),
        Err(problem) => return Err(problem.into()),
    };
    let ids = listed.iter().flat_map(|listed| &listed.data).map(|delivery| delivery.endpoint_id.as_str());
    let names = page.endpoint_names(ids).await?;
    let filters = if page.visitor.live {
        html! {}
    } else {
        filters(&page).await?
    };
    let content = html! {
        h1 { "Deliveries" }
        (filters)
        @if let Some(problem) = &problem { (filter_errors(problem)) }
        @if let Some(listed) = &listed { (history(&page, listed, &names)) }
    };
    Ok(page.show(Section::Deliveries, "Deliveries", content))
}

fn history(page: &Page, listed: &List<Delivery>, names: &EndpointNames) -> Markup {
    let query = &page.visitor.query;
    let filtered = FILTERS.iter().any(|name| query.optional(name).is_some());
    let live = if query.optional("cursor").is_some() { "off" } else { "on" };
    html! {
        section #deliveries aria-label="Deliveries" data-live=(live) {
            @if !listed.data.is_empty() {
                (table(page, &listed.data, Some(names)))
            } @else if filtered {
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

/// The filters of a page as the API takes them: times in RFC 3339, and `email.` as the pattern `email.*`.
pub(crate) fn filter_params(query: &Fields, names: &[&str]) -> Params {
    let param = |name: &&str| {
        let value = query.get(name);
        let value = match *name {
            "from" | "to" => utc(value),
            "type" if value.ends_with('.') => format!("{value}*"),
            _ => value.to_owned(),
        };
        ((*name).to_owned(), value)
    };
    Params::of(names.iter().map(param))
}

async fn filters(page: &Page) -> Result<Markup, Failure> {
    let query = &page.visitor.query;
    let chosen = query.get("endpoint_id");
    let (webhooks, catalog) = (WebhookOptions::load(page, chosen).await?, page.catalog().await?);
    Ok(html! {
        form.filter-bar method="get" action=(page.visitor.path) role="search" aria-label="Deliveries" {
            div { label for="q-endpoint" { "Webhook" }
                select #q-endpoint name="endpoint_id" { (webhooks.show(chosen, "all")) } }
            div { label for="q-status" { "Status" } select #q-status name="status" {
                option value="" { "all" }
                @for status in STATUSES { (option(status.as_str(), query.get("status"), status.as_str())) }
            } }
            div { label for="q-failed" { "Attempts" } select #q-failed name="failed_attempts" {
                option value="" { "all" }
                (option("true", query.get("failed_attempts"), "with a failed attempt"))
                (option("false", query.get("failed_attempts"), "without failed attempts"))
            } }
            div { label for="q-code" { "Code" }
                input.short #q-code type="text" inputmode="numeric" name="status_code" value=(query.get("status_code")); }
            (type_filter(query, &catalog))
            (link_filters(query))
            (time_filters(query))
            div.buttons { button type="submit" { "Filter" } a.quiet href=(page.visitor.path) { "Clear" } }
        }
    })
}

/// Filters that links set. They stay until the visitor clears them.
fn link_filters(query: &Fields) -> Markup {
    html! {
        @for (name, label) in [("event_id", "Event id"), ("replay_id", "Replay id")] {
            @if let Some(value) = query.optional(name) {
                @let id = format!("q-{name}");
                div { label for=(id) { (label) }
                    input id=(id) type="text" name=(name) value=(value) autocomplete="off" spellcheck="false"; }
            }
        }
        @if let Some(test) = query.optional("test") { input type="hidden" name="test" value=(test); }
    }
}

/// The filter by event type, with the catalog as suggestions.
pub(crate) fn type_filter(query: &Fields, catalog: &[EventType]) -> Markup {
    html! { div { label for="q-type" { "Event type" }
        input #q-type type="text" name="type" list="known-types" value=(query.get("type"))
            autocomplete="off" placeholder="such as email.*";
        datalist #known-types { @for info in catalog { option value=(info.name()) {} } }
    } }
}

/// The filters `from` and `to`.
pub(crate) fn time_filters(query: &Fields) -> Markup {
    html! { @for (name, label) in [("from", "From (UTC)"), ("to", "To (UTC)")] {
        @let id = format!("q-{name}");
        div { label for=(id) { (label) } input id=(id) type="datetime-local" name=(name) value=(local(query.get(name))); }
    } }
}

async fn read(page: &Page, id: &str) -> Result<DeliveryDetail, Failure> {
    let state = State(Arc::clone(&page.api));
    Ok(deliveries::read(state, page.caller, Params::default(), Path(id.to_owned())).await?.0)
}

/// `GET …/deliveries/{id}`
async fn show(page: Page, Id(id): Id) -> Result<Markup, Failure> {
    let found = read(&page, &id).await?;
    let delivery = &found.delivery;
    let names = page.endpoint_names([delivery.endpoint_id.as_str()]).await?;
    let live = if delivery.status == "pending" { "on" } else { "off" };
    let content = html! {
        div.heading {
            h1.long { "Delivery of " (delivery.event_type) }
            @if page.can_manage() { div.buttons #delivery-actions data-live=(live) { (buttons(&page, delivery)) } }
        }
        div #delivery data-live=(live) {
            p.lead { (badge(&delivery.status)) " " (texts::standing(delivery)) }
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
    Ok(page.show(Section::Deliveries, &format!("Delivery of {}", delivery.event_type), content))
}

fn buttons(page: &Page, delivery: &Delivery) -> Markup {
    let at = page.to(format!("/deliveries/{}", delivery.id));
    let pending = delivery.status == "pending";
    let label = if pending { "Attempt now" } else { "Send again" };
    html! {
        @if !delivery.test { (action(&page.visitor.tokens, &format!("{at}/retry"), label, "primary")) }
        @if pending { a.button.danger href={ (at) "/cancel" } { "Cancel" } }
    }
}

fn facts(page: &Page, delivery: &Delivery, names: &EndpointNames) -> Markup {
    html! { dl.facts {
        dt { "Webhook" } dd { (webhook_link(page, &delivery.endpoint_id, names)) }
        dt { "Event" } dd { @if delivery.test { code { (delivery.event_id) } " (a test)" } @else {
            a href=(page.to(format!("/events/{}", delivery.event_id))) { (delivery.event_id) } } }
        dt { "Created" } dd { (time(&delivery.created_at)) }
        @if let Some(next) = &delivery.next_attempt_at { dt { "Next attempt" } dd { (time(next)) } }
        @if let Some(end) = &delivery.finished_at { dt { "Finished" } dd { (time(end)) } }
        @if let Some(origin) = &delivery.origin_id {
            dt { "Repeats" } dd { a href=(page.to(format!("/deliveries/{origin}"))) { (origin) } }
        }
        dt { "Id" } dd { code { (delivery.id) } }
    } }
}

/// `POST …/deliveries/{id}/retry`
async fn retry(Managed(page): Managed<Page>, Id(id): Id) -> Result<Redirect, Failure> {
    let (_, accepted) = retry::retry(State(Arc::clone(&page.api)), page.caller, Params::default(), Path(id)).await?;
    Ok(page.redirect(format!("/deliveries/{}", accepted.0.id), Notice::RetryRequested))
}

/// `GET …/deliveries/{id}/cancel`
async fn ask_cancel(Managed(page): Managed<Page>, Id(id): Id) -> Result<Markup, Failure> {
    let delivery = read(&page, &id).await?.delivery;
    let names = page.endpoint_names([delivery.endpoint_id.as_str()]).await?;
    let at = page.to(format!("/deliveries/{id}"));
    let confirmation = Confirmation {
        title: &format!("Cancel this delivery of {}?", delivery.event_type),
        consequences: html! {
            p {
                "To " (webhook_link(&page, &delivery.endpoint_id, &names)) ", created " (time(&delivery.created_at)) ", "
                (delivery.attempt_count) " attempts so far."
            }
            p { "There will be no further attempts. The webhook does not receive this event unless you send it again." }
        },
        action: &format!("{at}/cancel"),
        button: "Cancel delivery",
        back: &at,
    };
    Ok(confirmation.page(&page, Section::Deliveries))
}

/// `POST …/deliveries/{id}/cancel`
async fn cancel(Managed(page): Managed<Page>, Id(id): Id) -> Result<Redirect, Failure> {
    let state = State(Arc::clone(&page.api));
    let notice = match withdraw::cancel(state, page.caller, Params::default(), Path(id.clone())).await {
        Ok(_) => Notice::DeliveryCancelled,
        Err(problem) if problem.status == 409 => Notice::DeliveryAlreadyFinished,
        Err(problem) => return Err(problem.into()),
    };
    Ok(page.redirect(format!("/deliveries/{id}"), notice))
}
