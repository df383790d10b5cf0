//! The events log: search, an event with its deliveries, and why each webhook got it or did not.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Redirect;
use axum::routing::{get, post};
use maud::{Markup, html};
use serde_json::Value;

use super::Dashboard;
use super::deliveries::{refused, table, type_input, webhook};
use super::failure::Failure;
use super::form::Form;
use super::layout::Section;
use super::page::Page;
use super::parts::{breakable, empty, listing, local, pager, pretty_json, time, with_utc};
use super::webhooks::names;
use super::words::attribute;
use crate::event_types::model::EventType;
use crate::explain::{Explanation, Reason};
use crate::request::Params;
use crate::{events, explain, withdraw};

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/events", get(list))
        .route("/dashboard/{tenant}/events/{id}", get(show))
        .route("/dashboard/{tenant}/events/{id}/expunge", post(expunge))
}

/// `GET …/events`
async fn list(State(dashboard): State<Arc<Dashboard>>, page: Page) -> Result<Markup, Failure> {
    if let Some(id) = page.query.given("id") {
        return show_one(&dashboard, &page, &id).await;
    }
    let attributes: Vec<String> = page.profile.attributes.keys().map(|name| format!("attributes.{name}")).collect();
    let mut wanted = vec!["type", "from", "to", "cursor"];
    wanted.extend(attributes.iter().map(String::as_str));
    let narrowed = wanted.iter().any(|name| page.query.given(name).is_some());
    let params = with_utc(&page.query, &wanted);
    let (listed, problem) = match events::list(State(Arc::clone(&dashboard.api)), page.caller, params).await {
        Ok(listed) => (Some(listed.0), None),
        Err(problem) if problem.status == 422 => (None, Some(problem)),
        Err(problem) => return Err(problem.into()),
    };
    let catalog = page.catalog(&dashboard.api).await?;
    Ok(page.show(Section::Events, "Events", html! {
        div.heading { h1 { "Events" } @if page.can_manage() { a.button href=(page.to("/replays/new")) { "Replay a range" } } }
        (search(&page, &catalog))
        @if let Some(problem) = &problem { (refused(problem)) }
        @if let Some(listed) = &listed {
            @if listed.data.is_empty() {
                @if narrowed { (empty("No event fits", html! { p { a href=(page.to("/events")) { "Show all" } } })) }
                @else { (empty("No events yet", html! { p { "Publish one: " code { "POST /v1/publish" } " with a key that may publish. Events stay here for the whole retention." } })) }
            } @else {
                form method="get" action=(page.to("/replays/new")) {
                    section #events aria-label="Events" {
                        table.rows {
                            caption.unseen { "Events, newest first" }
                            thead { tr {
                                @if page.can_manage() { th scope="col" { span.unseen { "Choose" } } }
                                th scope="col" { "Event type" } th scope="col" { "Accepted" } th scope="col" { "Attributes" } th scope="col" { "Origin" } th scope="col" { "Id" }
                            } }
                            tbody { @for event in &listed.data { tr {
                                @if page.can_manage() { td data-label="Choose" { input type="checkbox" name="event_id" value=(event.id) aria-label={ "Choose " (event.event_type) " " (event.id) }; } }
                                th.long scope="row" data-label="Event type" { a href=(page.to(format!("/events/{}", event.id))) { (breakable(&event.event_type)) } }
                                td data-label="Accepted" { (time(&event.accepted_at)) }
                                td.long data-label="Attributes" { @if event.attributes.is_empty() { span.faint { "–" } } @else { div { @for (name, value) in &event.attributes { span.tag title=(name) { (value) } " " } } } }
                                td data-label="Origin" { (event.origin) }
                                td.id data-label="Id" { code { (event.id) } }
                            } } }
                        }
                    }
                    @if page.can_manage() { div.buttons { button type="submit" { "Replay the chosen events" } } }
                }
            }
            (pager(&page, listed.next_cursor.as_ref()))
        }
    }))
}

fn search(page: &Page, catalog: &[EventType]) -> Markup {
    let query = &page.query;
    html! {
        form.filter-bar method="get" action=(page.to("/events")) role="search" aria-label="Events" {
            (type_input(page, catalog))
            div { label for="q-from" { "From (UTC)" } input #q-from type="datetime-local" name="from" value=(local(query.get("from"))); }
            div { label for="q-to" { "To (UTC)" } input #q-to type="datetime-local" name="to" value=(local(query.get("to"))); }
            @for name in page.profile.attributes.keys() {
                @let field = format!("attributes.{name}");
                div { label for={ "q-" (name) } { (attribute(name)) } input id={ "q-" (name) } type="text" name=(field) value=(query.get(&field)) autocomplete="off"; }
            }
            div { label for="q-id" { "Event id" } input #q-id type="text" name="id" autocomplete="off" spellcheck="false"; }
            div.buttons { button type="submit" { "Search" } a.quiet href=(page.to("/events")) { "Clear" } }
        }
    }
}

/// `GET …/events/{id}`
async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Path<(String, String)>,
) -> Result<Markup, Failure> {
    show_one(&dashboard, &page, &id).await
}

async fn show_one(dashboard: &Dashboard, page: &Page, id: &str) -> Result<Markup, Failure> {
    let api = &dashboard.api;
    let (state, path) = (|| State(Arc::clone(api)), || Path(id.to_owned()));
    let found = events::read(state(), page.caller, Params::default(), path()).await?.0;
    let explained = explain::explain(state(), page.caller, Params::default(), path()).await?.0;
    let names = names(api, page).await?;
    let event = &found.event;
    Ok(page.show(Section::Events, "Event", html! {
        div.heading {
            h1.long { (event.event_type) }
            @if page.can_manage() && found.data.is_some() { a.button.primary href=(page.to(format!("/replays/new?event_id={}", event.id))) { "Replay" } }
        }
        dl.facts {
            dt { "Id" } dd { code { (event.id) } }
            dt { "Happened" } dd { (time(&event.timestamp)) }
            dt { "Accepted" } dd { (time(&event.accepted_at)) }
            dt { "Origin" } dd { (event.origin) }
            @for (name, value) in &event.attributes { dt { (attribute(name)) } dd.long { (value) } }
        }
        section #event-deliveries aria-labelledby="deliveries-title" data-live {
            h2 #deliveries-title { "Deliveries" }
            @if found.deliveries.is_empty() { (empty("No webhook got it", html! { p { "The next table says why." } })) }
            @else { (table(page, &found.deliveries, Some(&names))) }
        }
        section #why aria-labelledby="why-title" {
            h2 #why-title { "Why it fired, or did not" }
            @if explained.data.is_empty() { (empty("There is no webhook", html! { p { a href=(page.to("/webhooks/new")) { "Add one" } } })) }
            @for explanation in &explained.data { (why(page, explanation, &names)) }
        }
        section aria-labelledby="payload-title" {
            h2 #payload-title { "Payload" }
            @match &found.data {
                Some(data) => {
                    (listing("Data", &pretty_json(data.get())))
                    @if let Some(metadata) = &found.metadata { h3 { "Metadata" } (listing("Metadata", &pretty_json(metadata.get()))) }
                    @if page.can_manage() { details { summary { "Expunge the payload" }
                        p { "Data and metadata are gone from the log for good: for an event that holds what it must not. It can be neither retried nor replayed then." }
                        form.inline method="post" action=(page.to(format!("/events/{}/expunge", event.id))) { (page.csrf()) button.danger type="submit" { "Expunge for good" } }
                    } }
                }
                None => { p.faint { "It was expunged." } }
            }
        }
    }))
}

fn why(page: &Page, explanation: &Explanation, names: &HashMap<String, String>) -> Markup {
    let (word, kind) = match explanation.matched {
        Some(true) => ("fired", "good"),
        Some(false) => ("did not fire", "bad"),
        None => ("not decided yet", "busy"),
    };
    let differs = explanation.matched.is_some_and(|matched| matched != explanation.now.matched);
    let first_failed = explanation.reasons.iter().find(|reason| !reason.passed);
    html! {
        details.why open[explanation.matched == Some(false) || differs] {
            summary {
                span class={ "badge " (kind) } { (word) } " " (webhook_name(&explanation.endpoint_id, names))
                @if let Some(reason) = first_failed { span.faint { " because of " (check_name(&reason.check)) } }
            }
            @if !explanation.reasons.is_empty() { (reasons("As it was decided then", &explanation.reasons)) }
            @if differs || explanation.reasons.is_empty() {
                p { @if explanation.now.matched { "Today it would fire." } @else { "Today it would not fire." } }
                (reasons("As it would be decided now", &explanation.now.reasons))
            }
            p { (webhook(page, &explanation.endpoint_id, names)) }
        }
    }
}

fn webhook_name<'a>(id: &'a str, names: &'a HashMap<String, String>) -> &'a str {
    names.get(id).map_or(id, String::as_str)
}

fn check_name(check: &str) -> String {
    match check.strip_prefix("filters.") {
        Some(name) => format!("the filter on {}", attribute(name).to_lowercase()),
        None => match check {
            "status" => "its status".to_owned(),
            "origin" => "where the event came from".to_owned(),
            "event_types" => "its event types".to_owned(),
            "payload_filter" => "its payload filter".to_owned(),
            other => other.replace('_', " "),
        },
    }
}

fn reasons(caption: &str, reasons: &[Reason]) -> Markup {
    html! {
        table.rows.reasons {
            caption { (caption) }
            thead { tr { th scope="col" { "Check" } th scope="col" { "Wanted" } th scope="col" { "There was" } th scope="col" { "Result" } } }
            tbody { @for reason in reasons { tr {
                th scope="row" data-label="Check" { (check_name(&reason.check)) }
                td.long data-label="Wanted" { (plain(&reason.expected)) }
                td.long data-label="There was" { (plain(&reason.actual)) }
                td data-label="Result" { span class=(if reason.passed { "badge good" } else { "badge bad" }) { (if reason.passed { "passed" } else { "failed" }) } }
            } } }
        }
    }
}

/// JSON as people read it: text without quotes, lists with commas.
fn plain(value: &Value) -> Markup {
    html! { @match value {
        Value::Null => span.faint { "nothing" },
        Value::String(text) => (text),
        Value::Number(_) | Value::Bool(_) => (value.to_string()),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            @for (index, item) in items.iter().enumerate() { @if index > 0 { ", " } (plain(item)) }
        }
        other => code { (other.to_string()) },
    } }
}

/// `POST …/events/{id}/expunge`
async fn expunge(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Path<(String, String)>,
    _form: Form,
) -> Result<Redirect, Failure> {
    let api = Arc::clone(&dashboard.api);
    withdraw::expunge(State(api), page.caller, Params::default(), Path(id.clone())).await?;
    Ok(Redirect::to(&page.to(format!("/events/{id}?notice=expunged"))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_text_and_never_as_markup() {
        assert_eq!(plain(&json!(["a", 1, "<b>"])).0, "a, 1, &lt;b&gt;");
        assert_eq!(plain(&json!({"a": "<i>"})).0, "<code>{&quot;a&quot;:&quot;&lt;i&gt;&quot;}</code>");
        assert_eq!(check_name("filters.dedicated_ip"), "the filter on dedicated ip");
    }
}
