//! Deliveries as a table, and attempts in detail.

use axum::extract::State;
use maud::{Markup, html};
use postrider_model::time::UnixMillis;

use crate::dashboard::components::Column::{Number, Text};
use crate::dashboard::components::webhook::webhook_link;
use crate::dashboard::components::{badge, breakable, code, empty, head, listing, time, time_if};
use crate::dashboard::failure::Failure;
use crate::dashboard::format::duration;
use crate::dashboard::page::{EndpointNames, Page};
use crate::dashboard::texts;
use crate::deliveries::{self, Attempt, Delivery, Header};
use crate::request::Params;

/// Shorter holds are not shown.
const HELD_SHOWN_MS: u64 = 100;
/// Rows on the page of a webhook.
const LATEST: &str = "10";

/// Deliveries, newest first. Without `names` they are all of one webhook, which needs no column.
pub(crate) fn table(page: &Page, deliveries: &[Delivery], names: Option<&EndpointNames>) -> Markup {
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
            (badge(&delivery.status))
            @if delivery.test { " " span.tag { "test" } }
            @if delivery.generation.starts_with("replay") { " " span.tag { "replay" } }
        } }
        th.long scope="row" data-label="Event type" { a href=(at) { (breakable(&delivery.event_type)) } }
        @if let Some(names) = names { td.long data-label="Webhook" { (webhook_link(page, &delivery.endpoint_id, names)) } }
        td data-label="Code" { (code(delivery.status_code)) }
        td.number data-label="Attempts" { (delivery.attempt_count) }
        td.number data-label="Duration" { (age(delivery)) }
        td data-label="Created" { (time(&delivery.created_at)) }
        td data-label="Next attempt" { (time_if(delivery.next_attempt_at.as_ref())) }
    } }
}

/// The time from a delivery's creation to its end.
fn age(delivery: &Delivery) -> String {
    let parse = |text: &str| text.parse::<UnixMillis>().ok();
    match (parse(&delivery.created_at), delivery.finished_at.as_deref().and_then(parse)) {
        (Some(created), Some(finished)) => duration((finished.0 - created.0).max(0) as f64),
        _ => "–".to_owned(),
    }
}

/// The newest deliveries of a webhook.
pub(crate) async fn latest(page: &Page, endpoint: &str) -> Result<Markup, Failure> {
    let params = [("endpoint_id", endpoint), ("limit", LATEST)].map(|(name, value)| (name.into(), value.into()));
    let listed = deliveries::list(State(page.api.clone()), page.caller, Params::of(params)).await?.0;
    Ok(html! { div #latest-deliveries data-live {
        @if listed.data.is_empty() { (empty("No deliveries yet", html! { p { "New deliveries appear here." } })) }
        @else { (table(page, &listed.data, None)) }
    } })
}

/// Everything about one attempt.
pub(crate) fn attempt_detail(attempt: &Attempt) -> Markup {
    let result = if attempt.outcome == "success" { "success" } else { "failed" };
    html! {
        article.panel.attempt aria-label={ "Attempt " (attempt.number) } {
            div.attempt-head {
                h3 { "Attempt " (attempt.number) }
                (badge(result)) @if attempt.status_code.is_some() { " " (code(attempt.status_code)) }
                span.faint {
                    (texts::trigger(&attempt.trigger)) ", " (time(&attempt.started_at)) ", took " (duration(attempt.duration_ms))
                }
            }
            p { (texts::outcome(attempt)) }
            @if let Some(next) = &attempt.next_attempt_at {
                p { (if is_ahead(next) { "The next attempt is due at " } else { "The next attempt was due at " }) (time(next)) "." }
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
        @if let (Some(ms @ HELD_SHOWN_MS..), Some(reason)) = (attempt.held_ms, &attempt.held_reason) {
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

fn is_ahead(at: &str) -> bool {
    at.parse::<UnixMillis>().is_ok_and(|at| at > UnixMillis::now())
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
