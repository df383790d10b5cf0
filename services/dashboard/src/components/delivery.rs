//! Deliveries as a table, and attempts in detail.

use maud::{Markup, html};
use postrider_model::attempt::Outcome;
use postrider_model::ids::{EndpointId, Generation};
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_operations::deliveries::{Attempt, Delivery, DeliveryFilter, Header};
use postrider_operations::page::PageQuery;

use crate::components::Column::{Number, Text};
use crate::components::{badge, breakable, code, empty, head, listing, time, time_if, webhook_link};
use crate::failure::Answer;
use crate::format::duration;
use crate::page::{EndpointNames, Page};
use crate::texts;

/// Holds shorter than this are not shown.
const HELD_SHOWN_MS: u64 = 100;
/// Rows on the page of a webhook.
const LATEST: u32 = 10;

/// Deliveries, newest first. Without `names` all are of one webhook, and the table has no column for it.
pub(crate) fn delivery_table(page: &Page, deliveries: &[Delivery], names: Option<&EndpointNames>) -> Markup {
    let mut columns = vec![Text("Status"), Text("Event type")];
    columns.extend(names.map(|_| Text("Webhook")));
    columns.extend([Text("Code"), Number("Attempts"), Number("Duration"), Text("Created"), Text("Next attempt")]);
    html! {
        table.rows {
            caption.unseen { "Deliveries, newest first" }
            (head(&columns))
            tbody { @for delivery in deliveries { (row(page, delivery, names)) } }
        }
    }
}

fn row(page: &Page, delivery: &Delivery, names: Option<&EndpointNames>) -> Markup {
    let at = page.to(format!("/deliveries/{}", delivery.id));
    html! { tr {
        td data-label="Status" { div {
            (badge(delivery.status.as_str()))
            @if delivery.test { " " span.tag { "test" } }
            @if matches!(delivery.generation, Generation::Replay(_)) { " " span.tag { "replay" } }
        } }
        th.long scope="row" data-label="Event type" { a href=(at) { (breakable(&delivery.event_type)) } }
        @if let Some(names) = names { td.long data-label="Webhook" { (webhook_link(page, delivery.endpoint_id, names)) } }
        td data-label="Code" { (code(delivery.status_code)) }
        td.number data-label="Attempts" { (delivery.attempt_count) }
        td.number data-label="Duration" { (age(delivery)) }
        td data-label="Created" { (time(delivery.created_at)) }
        td data-label="Next attempt" { (time_if(delivery.next_attempt_at)) }
    } }
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

/// Everything about one attempt.
pub(crate) fn attempt_detail(attempt: &Attempt) -> Markup {
    let result = if attempt.outcome == Outcome::Success { "success" } else { "failed" };
    html! {
        article.panel.attempt aria-label={ "Attempt " (attempt.number) } {
            div.attempt-head {
                h3 { "Attempt " (attempt.number) }
                (badge(result)) @if attempt.status_code.is_some() { " " (code(attempt.status_code)) }
                span.faint {
                    (texts::trigger(attempt.trigger)) ", " (time(attempt.started_at)) ", took " (duration(attempt.duration_ms))
                }
            }
            p { (texts::outcome(attempt)) }
            @if let Some(next) = attempt.next_attempt_at {
                p { (if next.0 > UnixMillis::now() { "The next attempt is due at " } else { "The next attempt was due at " }) (time(next)) "." }
            }
            (attempt_facts(attempt))
            details { summary { "Request headers" } (headers("Request headers", &attempt.request_headers)) }
            details { summary { "Response" } (response(attempt)) }
        }
    }
}

fn attempt_facts(attempt: &Attempt) -> Markup {
    html! { dl.facts {
        dt { "Sent to" } dd.long { "POST " (attempt.url) }
        @if let Some(first_byte) = attempt.timing.first_byte_ms {
            dt { "Time to first byte" } dd { (duration(first_byte)) }
            dt { "Reading the response" } dd { (duration((attempt.duration_ms - first_byte).max(0.0))) }
        }
        @if let Some(late) = attempt.timing.late_ms { dt { "Started late by" } dd { (duration(late as f64)) } }
        @if let (Some(ms @ HELD_SHOWN_MS..), Some(reason)) = (attempt.held_ms, attempt.held_reason) {
            dt { "Held back for" } dd { (duration(ms as f64)) ": " (texts::held(reason)) }
        }
        dt { "Request id" } dd { code { (attempt.send_id) } }
    } }
}

fn response(attempt: &Attempt) -> Markup {
    html! { @if attempt.status_code.is_none() { p.faint { "There was no response." } } @else {
        (headers("Response headers", &attempt.response_headers))
        @match &attempt.response_excerpt {
            Some(text) => { (listing("Response body, the first 4 KiB", text)) }
            None => { p.faint { "The response had no body." } }
        }
    } }
}

fn headers(caption: &str, headers: &[Header]) -> Markup {
    html! { @if headers.is_empty() { p.faint { "None." } } @else {
        table.headers {
            colgroup { col.header-name; col; }
            caption.unseen { (caption) }
            thead.unseen { tr { th scope="col" { "Name" } th scope="col" { "Value" } } }
            tbody { @for header in headers { tr { th scope="row" { (header.name) } td { code { (header.value) } } } } }
        }
    } }
}
