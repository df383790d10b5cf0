//! The events log: search, an event with its deliveries, and why each webhook got it or did not.

mod why;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::time::UnixMillis;

use super::Dashboard;
use super::deliveries::{refused, table, type_input};
use super::failure::Failure;
use super::layout::Section;
use super::page::Page;
use super::parts::{Question, ask, breakable, empty, listing, local, pager, pretty_json, time, with_utc};
use super::webhooks::{names, refuse_readers};
use super::words::attribute;
use crate::Api;
use crate::event_types::model::EventType;
use crate::events::EventDetail;
use crate::request::Params;
use crate::{events, withdraw};

/// Most deliveries on the page of an event.
const DELIVERIES_SHOWN: usize = 50;
/// An event that was accepted longer ago gets no further deliveries by itself.
const FRESH: Duration = Duration::from_secs(60);

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/events", get(list))
        .route("/dashboard/{tenant}/events/{id}", get(show))
        .route("/dashboard/{tenant}/events/{id}/expunge", get(ask_expunge).post(expunge))
}

/// `GET …/events`
async fn list(State(dashboard): State<Arc<Dashboard>>, page: Page) -> Result<Response, Failure> {
    let sought = page.query.given("id");
    if let Some(id) = &sought {
        let state = State(Arc::clone(&dashboard.api));
        match events::read(state, page.caller, Params::default(), Path(id.clone())).await {
            Ok(_) => return Ok(Redirect::to(&page.to(format!("/events/{id}"))).into_response()),
            Err(problem) if problem.status == 404 => {}
            Err(problem) => return Err(problem.into()),
        }
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
        @if let Some(id) = &sought { p.warning role="status" { "No event has the id " code { (id) } ", or it is older than the log." } }
        @if let Some(listed) = &listed {
            @if listed.data.is_empty() {
                @if narrowed { (empty("No events match", html! { p { a href=(page.to("/events")) { "Show all" } } })) }
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
    })
    .into_response())
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
            div { label for="q-id" { "Event id" } input #q-id type="text" name="id" value=(query.get("id")) autocomplete="off" spellcheck="false"; }
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
    let state = State(Arc::clone(&dashboard.api));
    let found = events::read(state, page.caller, Params::default(), Path(id)).await?.0;
    let deliveries = deliveries_of(&dashboard.api, &page, &found).await?;
    let event = &found.event;
    let title = format!("Event {}", event.event_type);
    if page.live {
        return Ok(page.show(Section::Events, &title, deliveries));
    }
    let why = why::section(&dashboard.api, &page, &event.id).await?;
    Ok(page.show(Section::Events, &title, html! {
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
        (deliveries)
        (why)
        section aria-labelledby="payload-title" {
            h2 #payload-title { "Payload" }
            @match &found.data {
                Some(data) => {
                    (listing("Data", &pretty_json(data.get())))
                    @if let Some(metadata) = &found.metadata { h3 { "Metadata" } (listing("Metadata", &pretty_json(metadata.get()))) }
                    @if page.can_manage() { p { a.button.danger href=(page.to(format!("/events/{}/expunge", event.id))) { "Expunge the payload" } } }
                }
                None => { p.faint { "It was expunged." } }
            }
        }
    }))
}

/// The newest deliveries of the event; they refresh until nothing more is expected.
async fn deliveries_of(api: &Arc<Api>, page: &Page, found: &EventDetail) -> Result<Markup, Failure> {
    let (all, id) = (&found.deliveries, &found.event.id);
    let shown = all.get(..DELIVERIES_SHOWN).unwrap_or(all);
    let names = names(api, page, shown.iter().map(|delivery| delivery.endpoint_id.as_str())).await?;
    let pending = all.iter().any(|delivery| delivery.status == "pending");
    let accepted = found.event.accepted_at.parse::<UnixMillis>().unwrap_or(UnixMillis(0));
    let fresh = accepted.plus(FRESH) > UnixMillis::now();
    Ok(html! {
        section #event-deliveries aria-labelledby="deliveries-title" data-live=(if pending || fresh { "on" } else { "off" }) {
            h2 #deliveries-title { "Deliveries" }
            @if all.is_empty() { (empty("No webhook got it", html! { p { "See below why." } })) }
            @else { (table(page, shown, Some(&names))) }
            @if all.len() > shown.len() {
                p { a href=(page.to(format!("/deliveries?event_id={id}"))) { "All deliveries of this event" } }
            }
        }
    })
}

/// `GET …/events/{id}/expunge`
async fn ask_expunge(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Path<(String, String)>,
) -> Result<Markup, Failure> {
    refuse_readers(&page)?;
    let state = State(Arc::clone(&dashboard.api));
    let found = events::read(state, page.caller, Params::default(), Path(id.clone())).await?.0;
    let title = format!("Expunge the payload of {}?", found.event.event_type);
    let pending = found.deliveries.iter().filter(|delivery| delivery.status == "pending").count();
    let lost = html! {
        p { "Event " code { (id) } ", accepted " (time(&found.event.accepted_at)) "." }
        ul {
            li { "Data and metadata are deleted from the log." }
            li { "The event can be neither sent again nor replayed." }
            @if pending > 0 { li { "Deliveries that still wait are discarded: " (pending) "." } }
        }
        p { "This cannot be undone." }
    };
    let (action, back) = (page.to(format!("/events/{id}/expunge")), page.to(format!("/events/{id}")));
    let question = Question { title: &title, lost, action: &action, button: "Expunge the payload", back: &back };
    Ok(page.show(Section::Events, &title, ask(&question, &page.csrf())))
}

/// `POST …/events/{id}/expunge`
async fn expunge(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Path<(String, String)>,
) -> Result<Redirect, Failure> {
    let api = Arc::clone(&dashboard.api);
    withdraw::expunge(State(api), page.caller, Params::default(), Path(id.clone())).await?;
    Ok(Redirect::to(&page.to(format!("/events/{id}?notice=expunged"))))
}
