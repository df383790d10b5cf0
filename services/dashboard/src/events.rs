//! The history of events: the search, and the page of an event with its deliveries and the decision for each webhook.

mod detail;
mod searched;
mod why;

use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_operations::Error;
use postrider_operations::event_types::EventType;
use postrider_operations::events::{Event, EventFilter, EventPage};
use postrider_operations::saved_views::SavedViewList;
use postrider_profiles::Profile;

use crate::Dashboard;
use crate::components::Column::{Text, Unnamed};
use crate::components::{
    Confirmation, RANGE, absent, ago, empty, filter_bar, head, is_filtered, is_oldest_first, kept_range,
    list_or_errors, more_filters, no_match, order_filter, pager, quick_ranges, read_times, read_type, text_filter,
    time, time_filters, type_filter,
};
use crate::failure::Answer;
use crate::fields::{FieldReader, Fields};
use crate::format::attribute;
use crate::language::{key, t, tm};
use crate::page::{Id, Managed, Page};
use crate::texts::Notice;
use crate::views;

/// The filter by a value in the payload.
const PAYLOAD: &str = "payload";

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/events", get(list))
        .route("/dashboard/{tenant}/events/{id}", get(detail::show))
        .route("/dashboard/{tenant}/events/{id}/data", get(detail::whole_data))
        .route("/dashboard/{tenant}/events/{id}/metadata", get(detail::whole_metadata))
        .route("/dashboard/{tenant}/events/{id}/expunge", get(ask_expunge).post(expunge))
}

/// Whether [`read_filter`] reads this parameter of the list's address.
pub(crate) fn is_filter(name: &str, profile: &Profile) -> bool {
    match name.strip_prefix("attributes.") {
        Some(name) => profile.attributes.contains_key(name),
        None => ["type", PAYLOAD, "from", "to", RANGE, "order"].contains(&name),
    }
}

/// Reads the filter from the query of an address. The parameters have the same names as in the API.
pub(crate) fn read_filter(query: &Fields, profile: &Profile) -> Result<EventFilter, Error> {
    let mut reader = FieldReader::new(query);
    let mut attributes = query.by_suffix("attributes.");
    attributes.retain(|name, _| profile.attributes.contains_key(name));
    let event_type = read_type(query, &mut reader);
    let (from, to) = read_times(query, &mut reader, UnixMillis::now());
    let (payload, order) = (reader.parse(PAYLOAD), reader.parse("order"));
    reader.finish(EventFilter { event_type, from, to, attributes, payload, order })
}

/// `GET …/events`
async fn list(page: Page) -> Answer {
    let query = &page.visitor.query;
    let page_query = query.page_query();
    let filter = read_filter(query, &page.profile);
    let listed = async { page.operations.list_events(page.caller, &filter?, &page_query).await }.await;
    let (listed, errors) = list_or_errors(listed)?;
    let catalog = page.operations.catalog(page.caller).await?;
    let views = views::bar(&page, SavedViewList::Events).await?;
    let content = html! {
        div.heading {
            h1 { (t!("Events")) }
            @if page.can_manage() {
                a.button href=(page.to("/replays/new")) { (t!("Replay a range")) }
                a.button.quiet href=(page.to("/erasures")) { (t!("Erase a person's data")) }
            }
        }
        (views)
        (quick_ranges(&page.visitor))
        (search(&page, &catalog))
        (errors)
        @if let Some(listed) = &listed {
            @if let Some(searched) = listed.searched { (searched::note(query, searched, listed)) }
            @if !listed.data.is_empty() { (table_form(&page, listed)) }
            @else if listed.searched.is_some() {}
            @else if is_filtered(query) { (no_match(&t!("No events match"), &page.to("/events"), listed.next_cursor.as_ref())) }
            @else { (empty(&t!("No events yet"), html! { p {
                (tm!(
                    "Publish one: {request} with a key that has the scope “publish”.",
                    request = html! { code { "POST /v1/publish" } }
                ))
            } })) }
            @if listed.searched.is_some() { (searched::pager(&page.visitor, listed.next_cursor.as_ref())) }
            @else { (pager(&page.visitor, listed.next_cursor.as_ref())) }
        }
    };
    Ok(page.show(&t!("Events"), content))
}

/// The list of events, as a form in which a visitor can choose events to replay.
fn table_form(page: &Page, listed: &EventPage) -> Markup {
    let oldest_first = is_oldest_first(&page.visitor.query);
    let caption = if oldest_first { t!("Events, oldest first") } else { t!("Events, newest first") };
    let mut columns = if page.can_manage() { vec![Unnamed(key!("Choose"))] } else { Vec::new() };
    columns.extend([key!("Event type"), key!("Accepted"), key!("Attributes"), key!("Origin"), key!("Id")].map(Text));
    html! { form method="get" action=(page.to("/replays/new")) {
        section #events aria-label=(t!("Events")) {
            table.rows.dense.events data-rows {
                caption.unseen { (caption) }
                (head(&columns))
                tbody { @for event in &listed.data { (row(page, event)) } }
            }
        }
        @if page.can_manage() { div.buttons { button type="submit" { (t!("Replay the chosen events")) } } }
    } }
}

fn row(page: &Page, event: &Event) -> Markup {
    let label = t!("Choose {event} {id}", event = event.event_type, id = event.id);
    let attributes: Vec<String> = event.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let attributes = attributes.join(", ");
    html! { tr {
        @if page.can_manage() {
            td data-label=(t!("Choose")) { input type="checkbox" name="event_id" value=(event.id) aria-label=(label); }
        }
        th.cut scope="row" data-label=(t!("Event type")) title=(event.event_type) {
            a href=(page.to(format!("/events/{}", event.id))) { (event.event_type) }
        }
        td data-label=(t!("Accepted")) { (ago(event.accepted_at)) }
        td.cut data-label=(t!("Attributes")) title=(attributes) { @if event.attributes.is_empty() { (absent()) } @else { (attributes) } }
        td translate="no" data-label=(t!("Origin")) { (event.origin.as_str()) }
        td.cut data-label=(t!("Id")) title=(event.id) { code { (event.id) } }
    } }
}

fn search(page: &Page, catalog: &[EventType]) -> Markup {
    let query = &page.visitor.query;
    let more = html! { (time_filters(query)) (order_filter(query)) };
    let filters = html! {
        (type_filter(query, catalog))
        @for name in page.profile.attributes.keys() {
            (text_filter(&format!("q-{name}"), &format!("attributes.{name}"), &attribute(name), query))
        }
        div { label for="q-payload" { (t!("Value in the payload")) }
            input #q-payload type="text" name=(PAYLOAD) value=(query.get(PAYLOAD))
                autocomplete="off" spellcheck="false" placeholder=(t!("email=jo@example.com")); }
        (more_filters(query, &["from", "to", "order"], more))
        (kept_range(query))
    };
    filter_bar(&page.visitor, &t!("Events"), &t!("Search"), filters)
}

/// `GET …/events/{id}/expunge`
async fn ask_expunge(Managed(page): Managed<Page>, Id(id): Id) -> Answer {
    let found = page.operations.read_event(page.caller, &id).await?;
    let pending = found.deliveries.iter().filter(|delivery| !delivery.status.is_terminal()).count();
    let at = page.to(format!("/events/{id}"));
    let confirmation = Confirmation {
        title: &t!("Expunge the payload of {event}?", event = found.event.event_type),
        consequences: html! {
            p { (tm!("Event {id}, accepted {time}.", id = html! { code { (id) } }, time = time(found.event.accepted_at))) }
            ul {
                li { (t!("Data and metadata are deleted from the history.")) }
                li { (t!("The event can no longer be sent again or replayed.")) }
                @if pending > 0 { li { (t!(
                    pending as u64,
                    "{count} pending delivery is discarded.",
                    "{count} pending deliveries are discarded."
                )) } }
            }
            p { (t!("This cannot be undone.")) }
        },
        action: &format!("{at}/expunge"),
        button: &t!("Expunge the payload"),
        back: &at,
    };
    Ok(confirmation.page(&page))
}

/// `POST …/events/{id}/expunge`
async fn expunge(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    page.operations.expunge_payload(page.caller, &id).await?;
    Ok(page.redirect(format!("/events/{id}"), Notice::PayloadExpunged))
}
