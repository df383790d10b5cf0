//! The page of an event: its payload, why each webhook received it or not, and its deliveries.

use std::time::Duration;

use axum::response::Response;
use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_operations::Error;
use postrider_operations::events::EventDetail;
use serde_json::value::RawValue;

use super::why;
use crate::components::{Payload, delivery_table, empty, time};
use crate::failure::Answer;
use crate::format::attribute;
use crate::language::t;
use crate::page::{Id, Page, plain_text};

/// Maximum number of deliveries on the page of an event.
const DELIVERIES_SHOWN: usize = 50;
/// If an event is older than this, its page refreshes only while deliveries are pending.
const FRESH: Duration = Duration::from_secs(60);

/// `GET …/events/{id}`
pub(super) async fn show(page: Page, Id(id): Id) -> Answer {
    let found = page.operations.read_event(page.caller, &id).await?;
    let deliveries = deliveries_of(&page, &found).await?;
    let event = &found.event;
    let title = t!("Event {event} {id}", event = event.event_type, id = event.id);
    if page.visitor.live {
        return Ok(page.show(&title, deliveries));
    }
    let why = why::section(&page, &id).await?;
    let content = html! {
        div.heading {
            h1.long { (event.event_type) }
            @if page.can_manage() && found.data.is_some() {
                a.button.primary href=(page.to(format!("/replays/new?event_id={}", event.id))) { (t!("Replay")) }
            }
        }
        dl.facts.panel {
            dt { (t!("Id")) } dd { code { (event.id) } }
            dt { (t!("Occurred")) } dd { (time(event.timestamp)) }
            dt { (t!("Accepted")) } dd { (time(event.accepted_at)) }
            @if let Some(at) = event.deliver_at { dt { (t!("Scheduled for")) } dd { (time(at)) } }
            @if let Some(at) = event.expires_at { dt { (t!("Expires")) } dd { (time(at)) } }
            dt { (t!("Origin")) } dd translate="no" { (event.origin.as_str()) }
            @for (name, value) in &event.attributes { dt { (attribute(name)) } dd.long { (value) } }
        }
        (payload(&page, &found))
        (why)
        (deliveries)
    };
    Ok(page.show(&title, content))
}

fn payload(page: &Page, found: &EventDetail) -> Markup {
    let at = page.to(format!("/events/{}", found.event.id));
    let shown = |id, label: &str, text: &RawValue, whole: &str| {
        Payload { id, label, text: text.get(), whole: &format!("{at}/{whole}") }.show(&page.visitor)
    };
    html! { section aria-labelledby="payload-title" {
        h2 #payload-title { (t!("Payload")) }
        @if let Some(data) = &found.data {
            (shown("data", &t!("Data"), data, "data"))
            @if let Some(metadata) = &found.metadata { h3 { (t!("Metadata")) } (shown("metadata", &t!("Metadata"), metadata, "metadata")) }
            @if page.can_manage() { p { a.button.danger href={ (at) "/expunge" } { (t!("Expunge the payload")) } } }
        } @else { p.faint { (t!("The payload was expunged.")) } }
    } }
}

/// `GET …/events/{id}/data`: the whole data as plain text.
pub(super) async fn whole_data(page: Page, Id(id): Id) -> Answer<Response> {
    whole(page.operations.read_event(page.caller, &id).await?.data.as_deref())
}

/// `GET …/events/{id}/metadata`: the whole metadata as plain text.
pub(super) async fn whole_metadata(page: Page, Id(id): Id) -> Answer<Response> {
    whole(page.operations.read_event(page.caller, &id).await?.metadata.as_deref())
}

fn whole(payload: Option<&RawValue>) -> Answer<Response> {
    let text = payload.ok_or(Error::NotFound("payload: it was expunged, or the event has none"))?;
    Ok(plain_text(text.get().to_owned()))
}

/// The section with the newest deliveries of the event. It refreshes while deliveries are pending, and while the event is not
/// older than [`FRESH`].
async fn deliveries_of(page: &Page, found: &EventDetail) -> Answer {
    let (all, id) = (&found.deliveries, &found.event.id);
    let shown = all.get(..DELIVERIES_SHOWN).unwrap_or(all);
    let names = page.endpoint_names(shown.iter().map(|delivery| delivery.endpoint_id)).await?;
    let pending = all.iter().any(|delivery| !delivery.status.is_terminal());
    let fresh = found.event.accepted_at.0.plus(FRESH) > UnixMillis::now();
    let live = if pending || fresh { "on" } else { "off" };
    Ok(html! {
        section #event-deliveries aria-labelledby="deliveries-title" data-live=(live) {
            h2 #deliveries-title { (t!("Deliveries")) }
            @if all.is_empty() { (empty(&t!("No {webhook} received it"), html! { p { (t!("The reasons are above.")) } })) }
            @else { (delivery_table(page, shown, Some(&names))) }
            @if all.len() > shown.len() {
                p { a href=(page.to(format!("/deliveries?event_id={id}"))) { (t!("All deliveries of this event")) } }
            }
        }
    })
}
