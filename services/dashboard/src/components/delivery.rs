//! Deliveries as a table.

use maud::{Markup, html};
use postrider_model::attempt::Outcome;
use postrider_model::ids::{EndpointId, Generation};
use postrider_model::timestamp::Timestamp;
use postrider_operations::deliveries::{Delivery, DeliveryFilter, DeliveryPhase};
use postrider_operations::page::PageQuery;

use crate::components::Column::{Number, OptionalNumber, Text, Unnamed};
use crate::components::{ago, ago_if, badge, code, empty, head, order_caption, webhook_link, webhook_name};
use crate::failure::Answer;
use crate::format::duration;
use crate::page::{EndpointNames, Page};
use crate::several;
use crate::texts;

/// Maximum number of deliveries on the page of a webhook.
const LATEST: u32 = 10;

/// Deliveries, newest first. Without `names`, the table has no column for the webhook, because all deliveries are to the same
/// one.
pub(crate) fn delivery_table(page: &Page, deliveries: &[Delivery], names: Option<&EndpointNames>) -> Markup {
    table(page, deliveries, names, Rows::Plain, "newest first")
}

/// Deliveries in the order of the page's filter. Each row has a checkbox of the form of [`several`], if the visitor may change
/// deliveries.
pub(crate) fn selectable_deliveries(page: &Page, deliveries: &[Delivery], names: &EndpointNames) -> Markup {
    let rows = if page.can_manage() { Rows::Selectable } else { Rows::Plain };
    table(page, deliveries, Some(names), rows, order_caption(&page.visitor.query))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    Plain,
    /// With a checkbox.
    Selectable,
}

fn table(page: &Page, deliveries: &[Delivery], names: Option<&EndpointNames>, rows: Rows, order: &str) -> Markup {
    let mut columns = if rows == Rows::Selectable { vec![Unnamed("Select")] } else { Vec::new() };
    columns.extend([Text("Status"), Text("Event type")]);
    columns.extend(names.map(|_| Text("Webhook")));
    columns.extend([
        Text("Answer"),
        Number("Attempts"),
        OptionalNumber("Duration"),
        Text("Created"),
        Text("Next attempt"),
    ]);
    html! {
        table.rows.dense data-rows {
            caption.unseen { "Deliveries, " (order) }
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
        @if rows == Rows::Selectable { td data-label="Select" { (checkbox(delivery)) } }
        td data-label="Status" {
            (delivery_badge(delivery))
            @if delivery.test { " " span.tag { "test" } }
            @if matches!(delivery.generation, Generation::Replay(_)) { " " span.tag { "replay" } }
        }
        th.cut scope="row" data-label="Event type" title=(delivery.event_type) { a href=(at) { (delivery.event_type) } }
        @if let Some(names) = names {
            td.cut data-label="Webhook" title=(webhook_name(delivery.endpoint_id, names)) {
                (webhook_link(page, delivery.endpoint_id, names))
            }
        }
        td data-label="Answer" { (answer(delivery)) }
        td.number data-label="Attempts" { (delivery.attempt_count) }
        td.number.optional data-label="Duration" { (age(delivery)) }
        td data-label="Created" { (ago(delivery.created_at)) }
        td data-label="Next attempt" { (ago_if(delivery.next_attempt_at)) }
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
    let label = format!("Select the delivery of {} created {}", delivery.event_type, delivery.created_at);
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
        @if listed.data.is_empty() { (empty("No deliveries yet", html! { p { "New deliveries appear here." } })) }
        @else { (delivery_table(page, &listed.data, None)) }
    } })
}
