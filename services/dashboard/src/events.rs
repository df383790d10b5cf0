//! The history of events: search, and an event with its deliveries and the decision for each webhook.

mod why;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_operations::Error;
use postrider_operations::event_types::EventType;
use postrider_operations::events::{Event, EventDetail, EventFilter};
use postrider_operations::page::List;

use crate::Dashboard;
use crate::components::Column::Text;
use crate::components::{
    Confirmation, absent, breakable, delivery_table, empty, filter_bar, head, is_filtered, list_or_errors, listing,
    pager, read_type, text_filter, time, time_filters, type_filter,
};
use crate::failure::Answer;
use crate::fields::FieldReader;
use crate::format::{attribute, plural, pretty_json};
use crate::page::{Id, Managed, Page};
use crate::texts::Notice;

/// Maximum number of deliveries on the page of an event.
const DELIVERIES_SHOWN: usize = 50;
/// The page of an event this old refreshes only while deliveries are pending.
const FRESH: Duration = Duration::from_secs(60);

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/events", get(list))
        .route("/dashboard/{tenant}/events/{id}", get(show))
        .route("/dashboard/{tenant}/events/{id}/expunge", get(ask_expunge).post(expunge))
}

fn read_filter(page: &Page) -> Result<EventFilter, Error> {
    let query = &page.visitor.query;
    let mut reader = FieldReader::new(query);
    let mut attributes = query.by_suffix("attributes.");
    attributes.retain(|name, _| page.profile.attributes.contains_key(name));
    let event_type = read_type(query, &mut reader);
    let filter = EventFilter { event_type, from: reader.time("from"), to: reader.time("to"), attributes };
    reader.finish(filter)
}

/// `GET …/events`
async fn list(page: Page) -> Answer<Response> {
    let query = &page.visitor.query;
    let id = query.optional("id");
    if let Some(id) = &id {
        match page.operations.read_event(page.caller, id).await {
            Ok(_) => return Ok(Redirect::to(&page.to(format!("/events/{id}"))).into_response()),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let page_query = query.page_query();
    let listed = async { page.operations.list_events(page.caller, &read_filter(&page)?, &page_query).await }.await;
    let (listed, errors) = list_or_errors(listed)?;
    let catalog = page.operations.catalog(page.caller).await?;
    let content = html! {
        div.heading {
            h1 { "Events" }
            @if page.can_manage() { a.button href=(page.to("/replays/new")) { "Replay a range" } }
        }
        (search(&page, &catalog))
        (errors)
        @if let Some(id) = &id {
            p.warning role="status" { "No event has the id " code { (id) } ", or it is past the retention." }
        }
        @if let Some(listed) = &listed {
            @if !listed.data.is_empty() { (table_form(&page, listed)) }
            @else if is_filtered(query) { (empty("No events match", html! { p { a href=(page.to("/events")) { "Show all" } } })) }
            @else { (empty("No events yet", html! { p {
                "Publish one: " code { "POST /v1/publish" } " with a key that has the scope “publish”."
            } })) }
            (pager(&page.visitor, listed.next_cursor.as_ref()))
        }
    };
    Ok(page.show("Events", content).into_response())
}

/// The list of events, as a form in which a visitor can choose events to replay.
fn table_form(page: &Page, listed: &List<Event>) -> Markup {
    let mut columns = if page.can_manage() { vec![Text("Choose")] } else { Vec::new() };
    columns.extend(["Event type", "Accepted", "Attributes", "Origin", "Id"].map(Text));
    html! { form method="get" action=(page.to("/replays/new")) {
        section #events aria-label="Events" {
            table.rows {
                caption.unseen { "Events, newest first" }
                (head(&columns))
                tbody { @for event in &listed.data { (row(page, event)) } }
            }
        }
        @if page.can_manage() { div.buttons { button type="submit" { "Replay the chosen events" } } }
    } }
}

fn row(page: &Page, event: &Event) -> Markup {
    let label = format!("Choose {} {}", event.event_type, event.id);
    html! { tr {
        @if page.can_manage() {
            td data-label="Choose" { input type="checkbox" name="event_id" value=(event.id) aria-label=(label); }
        }
        th.long scope="row" data-label="Event type" {
            a href=(page.to(format!("/events/{}", event.id))) { (breakable(&event.event_type)) }
        }
        td data-label="Accepted" { (time(event.accepted_at)) }
        td.long data-label="Attributes" {
            @if event.attributes.is_empty() { (absent()) } @else {
                div { @for (name, value) in &event.attributes { span.tag title=(name) { (value) } " " } }
            }
        }
        td data-label="Origin" { (event.origin.as_str()) }
        td.id data-label="Id" { code { (event.id) } }
    } }
}

fn search(page: &Page, catalog: &[EventType]) -> Markup {
    let query = &page.visitor.query;
    let filters = html! {
        (type_filter(query, catalog))
        (time_filters(query))
        @for name in page.profile.attributes.keys() {
            (text_filter(&format!("q-{name}"), &format!("attributes.{name}"), &attribute(name), query))
        }
        (text_filter("q-id", "id", "Event id", query))
    };
    filter_bar(&page.visitor, "Events", "Search", filters)
}

/// `GET …/events/{id}`
async fn show(page: Page, Id(id): Id) -> Answer {
    let found = page.operations.read_event(page.caller, &id).await?;
    let deliveries = deliveries_of(&page, &found).await?;
    let event = &found.event;
    let title = format!("Event {}", event.event_type);
    if page.visitor.live {
        return Ok(page.show(&title, deliveries));
    }
    let why = why::section(&page, &id).await?;
    let content = html! {
        div.heading {
            h1.long { (event.event_type) }
            @if page.can_manage() && found.data.is_some() {
                a.button.primary href=(page.to(format!("/replays/new?event_id={}", event.id))) { "Replay" }
            }
        }
        dl.facts {
            dt { "Id" } dd { code { (event.id) } }
            dt { "Occurred" } dd { (time(event.timestamp)) }
            dt { "Accepted" } dd { (time(event.accepted_at)) }
            dt { "Origin" } dd { (event.origin.as_str()) }
            @for (name, value) in &event.attributes { dt { (attribute(name)) } dd.long { (value) } }
        }
        (deliveries)
        (why)
        (payload(&page, &found))
    };
    Ok(page.show(&title, content))
}

fn payload(page: &Page, found: &EventDetail) -> Markup {
    let expunge = page.to(format!("/events/{}/expunge", found.event.id));
    html! { section aria-labelledby="payload-title" {
        h2 #payload-title { "Payload" }
        @if let Some(data) = &found.data {
            (listing("Data", &pretty_json(data.get())))
            @if let Some(metadata) = &found.metadata { h3 { "Metadata" } (listing("Metadata", &pretty_json(metadata.get()))) }
            @if page.can_manage() { p { a.button.danger href=(expunge) { "Expunge the payload" } } }
        } @else { p.faint { "The payload was expunged." } }
    } }
}

/// The newest deliveries of the event. They refresh while more can be expected.
async fn deliveries_of(page: &Page, found: &EventDetail) -> Answer {
    let (all, id) = (&found.deliveries, &found.event.id);
    let shown = all.get(..DELIVERIES_SHOWN).unwrap_or(all);
    let names = page.endpoint_names(shown.iter().map(|delivery| delivery.endpoint_id)).await?;
    let pending = all.iter().any(|delivery| !delivery.status.is_terminal());
    let fresh = found.event.accepted_at.0.plus(FRESH) > UnixMillis::now();
    let live = if pending || fresh { "on" } else { "off" };
    Ok(html! {
        section #event-deliveries aria-labelledby="deliveries-title" data-live=(live) {
            h2 #deliveries-title { "Deliveries" }
            @if all.is_empty() { (empty("No webhook received it", html! { p { "The reasons are below." } })) }
            @else { (delivery_table(page, shown, Some(&names))) }
            @if all.len() > shown.len() {
                p { a href=(page.to(format!("/deliveries?event_id={id}"))) { "All deliveries of this event" } }
            }
        }
    })
}

/// `GET …/events/{id}/expunge`
async fn ask_expunge(Managed(page): Managed<Page>, Id(id): Id) -> Answer {
    let found = page.operations.read_event(page.caller, &id).await?;
    let pending = found.deliveries.iter().filter(|delivery| !delivery.status.is_terminal()).count();
    let at = page.to(format!("/events/{id}"));
    let confirmation = Confirmation {
        title: &format!("Expunge the payload of {}?", found.event.event_type),
        consequences: html! {
            p { "Event " code { (id) } ", accepted " (time(found.event.accepted_at)) "." }
            ul {
                li { "Data and metadata are deleted from the history." }
                li { "The event can no longer be sent again or replayed." }
                @if pending > 0 { li { (plural(pending as u64, "pending delivery is", "pending deliveries are")) " discarded." } }
            }
            p { "This cannot be undone." }
        },
        action: &format!("{at}/expunge"),
        button: "Expunge the payload",
        back: &at,
    };
    Ok(confirmation.page(&page))
}

/// `POST …/events/{id}/expunge`
async fn expunge(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    page.operations.expunge_payload(page.caller, &id).await?;
    Ok(page.redirect(format!("/events/{id}"), Notice::PayloadExpunged))
}
