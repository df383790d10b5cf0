//! Deliveries as a table.

use maud::{Markup, html};
use postrider_model::attempt::Outcome;
use postrider_model::ids::{EndpointId, Generation};
use postrider_model::timestamp::Timestamp;
use postrider_operations::deliveries::{Delivery, DeliveryFilter, DeliveryPhase};
use postrider_operations::page::PageQuery;

use crate::components::Column::{Number, OptionalNumber, Text, Unnamed};
use crate::components::{ago, ago_if, badge, code, empty, head, is_oldest_first, webhook_link, webhook_name};
use crate::failure::Answer;
use crate::format::duration;
use crate::language::{key, t};
use crate::page::{EndpointNames, Page};
use crate::several;
use crate::texts;

/// Maximum number of deliveries on the page of a webhook.
const LATEST: u32 = 10;

/// Deliveries, newest first. Without `names`, the table has no column for the webhook, because all deliveries are to the same
/// one.
pub(crate) fn delivery_table(page: &Page, deliveries: &[Delivery], names: Option<&EndpointNames>) -> Markup {
    table(page, deliveries, names, Rows::Plain, &t!("Deliveries, newest first"))
}

/// Deliveries in the order of the page's filter. Each row has a checkbox of the form of [`several`], if the visitor may change
/// deliveries.
pub(crate) fn selectable_deliveries(page: &Page, deliveries: &[Delivery], names: &EndpointNames) -> Markup {
    let oldest_first = is_oldest_first(&page.visitor.query);
    let caption = if oldest_first { t!("Deliveries, oldest first") } else { t!("Deliveries, newest first") };
    let rows = if page.can_manage() { Rows::Selectable } else { Rows::Plain };
    table(page, deliveries, Some(names), rows, &caption)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    Plain,
    /// With a checkbox.
    Selectable,
}

fn table(page: &Page, deliveries: &[Delivery], names: Option<&EndpointNames>, rows: Rows, caption: &str) -> Markup {
    let mut columns = if rows == Rows::Selectable { vec![Unnamed(key!("Select"))] } else { Vec::new() };
    columns.extend([Text(key!("Status")), Text(key!("Event type"))]);
    columns.extend(names.map(|_| Text(key!("{Webhook}"))));
    columns.extend([
        Text(key!("Answer")),
        Number(key!("Attempts")),
        OptionalNumber(key!("Duration")),
        Text(key!("Created")),
        Text(key!("Next attempt")),
    ]);
    html! {
        table.rows.dense data-rows {
            caption.unseen { (caption) }
            (head(&columns))
            tbody { @for delivery in deliveries { (row(page, delivery, names, rows)) } }
        }
    }
}

/// The status of a delivery as a coloured word. A pending delivery has its phase instead.
pub(crate) fn delivery_badge(delivery: &Delivery) -> Markup {
    badge(delivery.phase.map_or(delivery.status.as_str(), DeliveryPhase::as_str))
}

fn row(page: &Page, delivery: &Delivery, names: Option<&EndpointNames>, rows: Rows) -> Markup {
    let at = page.to(format!("/deliveries/{}", delivery.id));
    html! { tr {
        @if rows == Rows::Selectable { td data-label=(t!("Select")) { (checkbox(delivery)) } }
        td data-label=(t!("Status")) {
            (delivery_badge(delivery))
            @if delivery.test { " " span.tag { (t!("test")) } }
            @if matches!(delivery.generation, Generation::Replay(_)) { " " span.tag { (t!("replay")) } }
        }
        th.cut scope="row" data-label=(t!("Event type")) title=(delivery.event_type) { a href=(at) { (delivery.event_type) } }
        @if let Some(names) = names {
            td.cut data-label=(t!("{Webhook}")) title=(webhook_name(delivery.endpoint_id, names)) {
                (webhook_link(page, delivery.endpoint_id, names))
            }
        }
        td data-label=(t!("Answer")) { (answer(delivery)) }
        td.number data-label=(t!("Attempts")) { (delivery.attempt_count) }
        td.number.optional data-label=(t!("Duration")) { (age(delivery)) }
        td data-label=(t!("Created")) { (ago(delivery.created_at)) }
        td data-label=(t!("Next attempt")) { (ago_if(delivery.next_attempt_at)) }
    } }
}

/// The status code of the last attempt, or why the attempt got no answer.
fn answer(delivery: &Delivery) -> Markup {
    html! { @match delivery.outcome {
        Some(outcome) if !matches!(outcome, Outcome::Success | Outcome::HttpStatus) => {
            span.badge.bad title=(texts::outcome_name(outcome)) { (texts::outcome_word(outcome)) }
        }
        _ => (code(delivery.status_code)),
    } }
}

fn checkbox(delivery: &Delivery) -> Markup {
    let (event, created) = (&delivery.event_type, delivery.created_at);
    let label = t!("Select the delivery of {event} created {time}", event = event, time = created);
    html! { input type="checkbox" form=(several::FORM) name=(several::CHOSEN) value=(delivery.id) aria-label=(label); }
}

/// The time from a delivery's creation to its end.
fn age(delivery: &Delivery) -> String {
    let Timestamp(created) = delivery.created_at;
    delivery
        .finished_at
        .map_or("–".to_owned(), |finished| duration(created.until(finished.0).as_secs_f64() * 1_000.0))
}

/// The newest deliveries of a webhook.
pub(crate) async fn latest_deliveries(page: &Page, endpoint: EndpointId) -> Answer {
    let filter = DeliveryFilter { endpoint: Some(endpoint), ..DeliveryFilter::default() };
    let newest = PageQuery { limit: LATEST, cursor: None };
    let listed = page.operations.list_deliveries(page.caller, &filter, &newest).await?;
    Ok(html! { div #latest-deliveries data-live {
        @if listed.data.is_empty() { (empty(&t!("No deliveries yet"), html! { p { (t!("New deliveries appear here.")) } })) }
        @else { (delivery_table(page, &listed.data, None)) }
    } })
}
