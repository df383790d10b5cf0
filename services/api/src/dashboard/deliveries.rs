//! Delivery history: what became of events, with every attempt's detail.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Redirect;
use axum::routing::get;
use maud::{Markup, html};
use postrider_http::problem::Problem;
use postrider_model::time::UnixMillis;

use super::Dashboard;
use super::failure::Failure;
use super::layout::Section;
use super::page::Page;
use super::parts::{
    Question, action, ask, badge, breakable, code, empty, headers, listing, local, pager, pretty_json, time, time_if,
    with_utc,
};
use super::webhooks::{Names, Offered, names, refuse_readers};
use super::words::{self, duration};
use crate::Api;
use crate::deliveries::{self, Attempt, Delivery};
use crate::event_types::model::EventType;
use crate::request::Params;
use crate::{retry, withdraw};

/// What a history can be narrowed by; the API's own names.
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
/// What a delivery can be.
const STATUSES: [&str; 5] = ["pending", "delivered", "failed", "cancelled", "discarded"];
/// An attempt that was held for less says nothing of it.
const HELD_SHOWN_MS: u64 = 100;
/// Rows of a webhook's own page.
const LATEST: &str = "10";

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/deliveries", get(list))
        .route("/dashboard/{tenant}/deliveries/{id}", get(show))
        .route("/dashboard/{tenant}/deliveries/{id}/retry", get(show).post(again))
        .route("/dashboard/{tenant}/deliveries/{id}/cancel", get(ask_cancel).post(cancel))
}

/// `GET …/deliveries`
async fn list(State(dashboard): State<Arc<Dashboard>>, page: Page) -> Result<Markup, Failure> {
    let api = &dashboard.api;
    let params = with_utc(&page.query, &FILTERS);
    let listed = deliveries::list(State(Arc::clone(api)), page.caller, params).await;
    let (listed, problem) = match listed {
        Ok(listed) => (Some(listed.0), None),
        Err(problem) if problem.status == 422 => (None, Some(problem)),
        Err(problem) => return Err(problem.into()),
    };
    let shown = listed.iter().flat_map(|listed| &listed.data).map(|delivery| delivery.endpoint_id.as_str());
    let names = names(api, &page, shown).await?;
    let filters = if page.live {
        html! {}
    } else {
        filters(api, &page).await?
    };
    let narrowed = FILTERS.iter().any(|name| page.query.given(name).is_some());
    Ok(page.show(Section::Deliveries, "Deliveries", html! {
        h1 { "Deliveries" }
        (filters)
        @if let Some(problem) = &problem { (refused(problem)) }
        @if let Some(listed) = &listed {
            section #deliveries aria-label="Deliveries" data-live=(if page.query.given("cursor").is_some() { "off" } else { "on" }) {
                @if listed.data.is_empty() {
                    @if narrowed { (empty("No deliveries match", html! { p { a href=(page.to("/deliveries")) { "Show all" } } })) }
                    @else { (empty("Nothing was delivered yet", html! {
                        p { "Deliveries appear here as soon as an event matches a webhook. " a href=(page.to("/webhooks")) { "Send a test" } " to see one at once." }
                    })) }
                } @else { (table(&page, &listed.data, Some(&names))) }
            }
            (pager(&page, listed.next_cursor.as_ref()))
        }
    }))
}

/// What is wrong with a list's filters.
pub(super) fn refused(problem: &Problem) -> Markup {
    html! { div.problem role="alert" { @for error in &problem.errors { p { strong { (words::attribute(&error.pointer)) ": " } (error.detail) } } } }
}

async fn filters(api: &Arc<Api>, page: &Page) -> Result<Markup, Failure> {
    let query = &page.query;
    let chosen = query.get("endpoint_id");
    let (offered, catalog) = (Offered::load(api, page, chosen).await?, page.catalog(api).await?);
    Ok(html! {
        form.filter-bar method="get" action=(page.path()) role="search" aria-label="Deliveries" {
            div { label for="q-endpoint" { "Webhook" } select #q-endpoint name="endpoint_id" {
                (offered.options(chosen, "all"))
            } }
            div { label for="q-status" { "Status" } select #q-status name="status" {
                option value="" { "all" }
                @for status in STATUSES { option value=(status) selected[query.get("status") == status] { (status) } }
            } }
            div { label for="q-failed" { "Attempts" } select #q-failed name="failed_attempts" {
                option value="" { "all" }
                option value="true" selected[query.get("failed_attempts") == "true"] { "with a failed attempt" }
                option value="false" selected[query.get("failed_attempts") == "false"] { "without failed attempts" }
            } }
            div { label for="q-code" { "Code" } input.short #q-code type="text" inputmode="numeric" name="status_code" value=(query.get("status_code")); }
            (type_input(page, &catalog))
            // Filters that links set; they stay until they are cleared.
            @for (name, label) in [("event_id", "Event id"), ("replay_id", "Replay id")] { @if let Some(value) = query.given(name) {
                div { label for={ "q-" (name) } { (label) } input id={ "q-" (name) } type="text" name=(name) value=(value) autocomplete="off" spellcheck="false"; }
            } }
            @if let Some(test) = query.given("test") { input type="hidden" name="test" value=(test); }
            div { label for="q-from" { "From (UTC)" } input #q-from type="datetime-local" name="from" value=(local(query.get("from"))); }
            div { label for="q-to" { "To (UTC)" } input #q-to type="datetime-local" name="to" value=(local(query.get("to"))); }
            div.buttons { button type="submit" { "Filter" } a.quiet href=(page.path()) { "Clear" } }
        }
    })
}

/// An event type, with the catalog to choose from.
pub(super) fn type_input(page: &Page, catalog: &[EventType]) -> Markup {
    html! { div { label for="q-type" { "Event type" }
        input #q-type type="text" name="type" list="known-types" value=(page.query.get("type")) autocomplete="off" placeholder="such as email.*";
        datalist #known-types { @for info in catalog { option value=(info.name()) {} } }
    } }
}

/// Deliveries, newest first; of one webhook alone (`names` is `None`), or of many.
pub(super) fn table(page: &Page, all: &[Delivery], names: Option<&Names>) -> Markup {
    html! {
        table.rows {
            caption.unseen { "Deliveries, newest first" }
            thead { tr {
                th scope="col" { "Status" } th scope="col" { "Event type" } @if names.is_some() { th scope="col" { "Webhook" } } th scope="col" { "Code" }
                th.number scope="col" { "Attempts" } th.number scope="col" { "Took" } th scope="col" { "Made" } th scope="col" { "Next attempt" }
            } }
            tbody { @for delivery in all { tr {
                td data-label="Status" { div { (badge(&delivery.status)) @if delivery.test { " " span.tag { "test" } } @if delivery.generation.starts_with("replay") { " " span.tag { "replay" } } } }
                th.long scope="row" data-label="Event type" { a href=(page.to(format!("/deliveries/{}", delivery.id))) { (breakable(&delivery.event_type)) } }
                @if let Some(names) = names { td.long data-label="Webhook" { (webhook(page, &delivery.endpoint_id, names)) } }
                td data-label="Code" { (code(delivery.status_code)) }
                td.number data-label="Attempts" { (delivery.attempt_count) }
                td.number data-label="Took" { (took(delivery)) }
                td data-label="Made" { (time(&delivery.created_at)) }
                td data-label="Next attempt" { (time_if(delivery.next_attempt_at.as_ref())) }
            } } }
        }
    }
}

/// A webhook by its name, with a link if it still exists.
pub(super) fn webhook(page: &Page, id: &str, names: &Names) -> Markup {
    html! { @match names.get(id) {
        Some(named) if named.deleted => span.faint title=(id) { (named.shown()) },
        Some(named) => a href=(page.to(format!("/webhooks/{id}"))) { (named.name) },
        None => span.faint { "Unknown webhook (" (id) ")" },
    } }
}

/// From a delivery's making to its end.
fn took(delivery: &Delivery) -> String {
    let parse = |text: &str| text.parse::<UnixMillis>().ok();
    match (parse(&delivery.created_at), delivery.finished_at.as_deref().and_then(parse)) {
        (Some(made), Some(finished)) => duration((finished.0 - made.0).max(0) as f64),
        _ => "–".to_owned(),
    }
}

/// The newest deliveries that fit, without the means to look further.
pub(super) async fn latest(api: &Arc<Api>, page: &Page, of: &[(&str, &str)]) -> Result<Markup, Failure> {
    let pairs = of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let params = Params::of(pairs.chain([("limit".to_owned(), LATEST.to_owned())]));
    let listed = deliveries::list(State(Arc::clone(api)), page.caller, params).await?.0;
    Ok(html! { div #latest-deliveries data-live {
        @if listed.data.is_empty() { (empty("Nothing yet", html! { p { "Deliveries appear here as they are made." } })) }
        @else { (table(page, &listed.data, None)) }
    } })
}

/// `GET …/deliveries/{id}`
async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Path<(String, String)>,
) -> Result<Markup, Failure> {
    let api = &dashboard.api;
    let found = deliveries::read(State(Arc::clone(api)), page.caller, Params::default(), Path(id.clone())).await?.0;
    let delivery = &found.delivery;
    let names = names(api, &page, [delivery.endpoint_id.as_str()]).await?;
    let at = page.to(format!("/deliveries/{id}"));
    let pending = delivery.status == "pending";
    Ok(page.show(Section::Deliveries, &format!("Delivery of {}", delivery.event_type), html! {
        div.heading {
            h1.long { "Delivery of " (delivery.event_type) }
            @if page.can_manage() { div.buttons #delivery-actions data-live=(if pending { "on" } else { "off" }) {
                @if !delivery.test { (action(&page, &format!("{at}/retry"), if pending { "Attempt now" } else { "Send again" }, "primary")) }
                @if pending { a.button.danger href={ (at) "/cancel" } { "Cancel" } }
            } }
        }
        div #delivery data-live=(if pending { "on" } else { "off" }) {
            p.lead { (badge(&delivery.status)) " " (words::standing(delivery)) }
            dl.facts {
                dt { "Webhook" } dd { (webhook(&page, &delivery.endpoint_id, &names)) }
                dt { "Event" } dd { @if delivery.test { code { (delivery.event_id) } " (a test)" } @else {
                    a href=(page.to(format!("/events/{}", delivery.event_id))) { (delivery.event_id) } } }
                dt { "Made" } dd { (time(&delivery.created_at)) }
                @if let Some(next) = &delivery.next_attempt_at { dt { "Next attempt" } dd { (time(next)) } }
                @if let Some(end) = &delivery.finished_at { dt { "Ended" } dd { (time(end)) } }
                @if let Some(origin) = &delivery.origin_id { dt { "Repeats" } dd { a href=(page.to(format!("/deliveries/{origin}"))) { (origin) } } }
                dt { "Id" } dd { code { (delivery.id) } }
            }
            section aria-labelledby="attempts" {
                h2 #attempts { "Attempts" }
                @if found.attempts.is_empty() { (empty("No attempt yet", html! { p { "It appears here within a second of being made." } })) }
                @for attempt in found.attempts.iter().rev() { (attempt_detail(attempt)) }
            }
        }
        section aria-labelledby="body" {
            h2 #body { "Body that was sent" }
            @match &found.body {
                Some(body) => { (listing("Body that was sent", &pretty_json(body))) }
                None => { p.faint { "The payload is gone from the log." } }
            }
        }
    }))
}

fn is_ahead(at: &str) -> bool {
    at.parse::<UnixMillis>().is_ok_and(|at| at > UnixMillis::now())
}

/// Everything about one attempt.
pub(super) fn attempt_detail(attempt: &Attempt) -> Markup {
    html! {
        article.panel.attempt aria-label={ "Attempt " (attempt.number) } {
            div.attempt-head {
                h3 { "Attempt " (attempt.number) }
                (badge(if attempt.outcome == "success" { "success" } else { "failed" })) @if attempt.status_code.is_some() { " " (code(attempt.status_code)) }
                span.faint { (words::trigger(&attempt.trigger)) ", " (time(&attempt.started_at)) ", took " (duration(attempt.duration_ms)) }
            }
            p { (words::outcome(attempt)) }
            @if let Some(next) = &attempt.next_attempt_at { p { (if is_ahead(next) { "The next attempt is due at " } else { "The next attempt was due at " }) (time(next)) "." } }
            dl.facts {
                dt { "Sent to" } dd.long { "POST " (attempt.url) }
                @if let Some(first_byte) = attempt.timing.first_byte_ms {
                    dt { "To the first byte" } dd { (duration(first_byte)) }
                    dt { "Reading the answer" } dd { (duration((attempt.duration_ms - first_byte).max(0.0))) }
                }
                @if let Some(late) = attempt.timing.late_ms { dt { "Began late by" } dd { (duration(late as f64)) } }
                @if let (Some(ms @ HELD_SHOWN_MS..), Some(reason)) = (attempt.held_ms, &attempt.held_reason) { dt { "Held before" } dd { (duration(ms as f64)) ": " (words::held(reason)) } }
                dt { "Request id" } dd { code { (attempt.send_id) } }
            }
            details { summary { "Request headers" } (headers("Request headers", &attempt.request_headers)) }
            details { summary { "Answer" } @if attempt.status_code.is_none() { p.faint { "There was no answer." } } @else {
                (headers("Answer's headers", &attempt.response_headers))
                @match &attempt.response_excerpt {
                    Some(text) => { (listing("Answer's body, the first 4 KiB", text)) }
                    None => { p.faint { "It had no body." } }
                }
            } }
        }
    }
}

/// `POST …/deliveries/{id}/retry`
async fn again(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Path<(String, String)>,
) -> Result<Redirect, Failure> {
    let api = Arc::clone(&dashboard.api);
    let (_, accepted) = retry::retry(State(api), page.caller, Params::default(), Path(id)).await?;
    Ok(Redirect::to(&page.to(format!("/deliveries/{}?notice=retried", accepted.0.id))))
}

/// `GET …/deliveries/{id}/cancel`
async fn ask_cancel(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Path<(String, String)>,
) -> Result<Markup, Failure> {
    refuse_readers(&page)?;
    let api = &dashboard.api;
    let found = deliveries::read(State(Arc::clone(api)), page.caller, Params::default(), Path(id.clone())).await?.0;
    let delivery = &found.delivery;
    let names = names(api, &page, [delivery.endpoint_id.as_str()]).await?;
    let title = format!("Cancel this delivery of {}?", delivery.event_type);
    let lost = html! {
        p { "To " (webhook(&page, &delivery.endpoint_id, &names)) ", created " (time(&delivery.created_at)) ", " (delivery.attempt_count) " attempts so far." }
        p { "No further attempt begins. The webhook does not get this event unless you send it again." }
    };
    let (action, back) = (page.to(format!("/deliveries/{id}/cancel")), page.to(format!("/deliveries/{id}")));
    let question = Question { title: &title, lost, action: &action, button: "Cancel delivery", back: &back };
    Ok(page.show(Section::Deliveries, &title, ask(&question, &page.csrf())))
}

/// `POST …/deliveries/{id}/cancel`
async fn cancel(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Path<(String, String)>,
) -> Result<Redirect, Failure> {
    let api = Arc::clone(&dashboard.api);
    let cancelled = withdraw::cancel(State(api), page.caller, Params::default(), Path(id.clone())).await;
    let notice = match cancelled {
        Ok(_) => "cancelled",
        Err(problem) if problem.status == 409 => "already-finished",
        Err(problem) => return Err(problem.into()),
    };
    Ok(Redirect::to(&page.to(format!("/deliveries/{id}?notice={notice}"))))
}
