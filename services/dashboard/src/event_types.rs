//! The catalog: the event types, what endpoints receive for each type, and downloads for code generators.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use maud::{Markup, html};
use postrider_operations::event_types::{CatalogFormat, EventType, SampledEventType, Source};

use crate::Dashboard;
use crate::components::Column::Text;
use crate::components::{empty, filter_bar, head, listing, text_filter};
use crate::failure::Answer;
use crate::format::{duration, path_segment, pretty_json};
use crate::language::{key, t, tm};
use crate::page::Page;

/// Maximum number of webhooks that the page of an event type offers for a test.
const TESTED_MAX: u32 = 50;

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/event-types", get(list))
        .route("/dashboard/{tenant}/event-types/{name}", get(show))
        .route("/dashboard/{tenant}/catalog/openapi.json", get(openapi))
        .route("/dashboard/{tenant}/catalog/asyncapi.json", get(asyncapi))
}

/// `GET …/event-types`
async fn list(page: Page) -> Answer {
    let mut types = page.operations.catalog(page.caller).await?;
    let total = types.len();
    let query = &page.visitor.query;
    let wanted = query.optional("q").map(|wanted| wanted.to_lowercase());
    if let Some(wanted) = &wanted {
        types.retain(|of| [&of.name, &of.description].into_iter().any(|text| text.to_lowercase().contains(wanted)));
    }
    let content = html! {
        h1 { (t!("Event types")) }
        p { (t!(total as u64, "{count} event type that a {webhook} can receive.", "{count} event types that a {webhook} can receive.")) }
        (filter_bar(&page.visitor, &t!("Event types"), &t!("Search"), text_filter("q-text", "q", &t!("Name or description"), query)))
        @if types.is_empty() { (empty(&if wanted.is_some() { t!("No event types match") } else { t!("No event types yet") }, html! {})) }
        @else { (table(&page, &types)) }
        (downloads(&page))
    };
    Ok(page.show(&t!("Event types"), content))
}

fn table(page: &Page, types: &[EventType]) -> Markup {
    let address = |name: &str| page.to(format!("/event-types/{}", path_segment(name)));
    html! { table.rows data-rows {
        caption.unseen { (t!("Event types by name")) }
        (head(&[key!("Name"), key!("Description"), key!("In the body")].map(Text)))
        tbody { @for of in types { tr {
            th.long scope="row" data-label=(t!("Name")) {
                a href=(address(&of.name)) { (of.name) }
                @if of.source == Source::Tenant { " " span.tag { (t!("custom")) } }
            }
            td.long data-label=(t!("Description")) { (of.description) }
            td.long data-label=(t!("In the body")) { code { (of.wire_name.as_deref().unwrap_or(&of.name)) } }
        } } }
    } }
}

fn downloads(page: &Page) -> Markup {
    html! { section aria-labelledby="downloads" {
        h2 #downloads { (t!("For code generators")) }
        // The links need no attribute `download`, because the answers are attachments. With it, the browser would not tell the
        // server that the page is in a frame.
        p { (tm!(
            "All event types with their schemas and samples, as {openapi} and as {asyncapi}.",
            openapi = html! { a href=(page.to("/catalog/openapi.json")) { "OpenAPI 3.1 (webhooks)" } },
            asyncapi = html! { a href=(page.to("/catalog/asyncapi.json")) { "AsyncAPI 3.0" } }
        )) }
    } }
}

/// `GET …/event-types/{name}`
async fn show(page: Page, Path((_, name)): Path<(String, String)>) -> Answer {
    let SampledEventType { event_type, body } = page.operations.sample_event_type(page.caller, &name).await?;
    let content = html! {
        h1 { (event_type.name) }
        @if !event_type.description.is_empty() { p { (event_type.description) } }
        @if event_type.wire_name.is_some() || event_type.ttl_seconds.is_some() { dl.facts {
            @if let Some(wire_name) = &event_type.wire_name { dt { (t!("In the body")) } dd { code { (wire_name) } } }
            @if let Some(ttl) = event_type.ttl_seconds { dt { (t!("Expires after")) } dd { (duration(f64::from(ttl) * 1_000.0)) } }
        } }
        p { a href=(page.to(format!("/deliveries?type={}", path_segment(&event_type.name)))) { (t!("Deliveries of this type")) } }
        section aria-labelledby="body" {
            h2 #body { (t!("What your {endpoint} receives")) }
            @match &body {
                Some(body) => (listing(&t!("Sample body"), &pretty_json(body))),
                None => p { (t!("This event type has no sample.")) },
            }
        }
        @if let Some(schema) = &event_type.schema { section aria-labelledby="schema" {
            h2 #schema { (t!("JSON Schema of the data")) }
            (listing(&t!("JSON Schema"), &pretty_json(schema.get())))
        } }
        @if page.can_manage() { (send_as_test(&page, &event_type).await?) }
    };
    Ok(page.show(&event_type.name, content))
}

/// Links to the test page of each webhook, with this event type chosen.
async fn send_as_test(page: &Page, event_type: &EventType) -> Answer {
    let webhooks = page.operations.endpoint_names(page.caller, TESTED_MAX).await?;
    let test = |id| page.to(format!("/webhooks/{id}/test?event_type={}", path_segment(&event_type.name)));
    Ok(html! { section aria-labelledby="send" {
        h2 #send { (t!("Send as a test")) }
        @if webhooks.is_empty() {
            p { (t!("There is no {webhook} yet.")) " " a href=(page.to("/webhooks/new")) { (t!("Add a {webhook}")) } }
        } @else {
            ul { @for (id, name) in &webhooks { li { a href=(test(id)) { (t!("Test {name}", name = name)) } } } }
            @if webhooks.len() == TESTED_MAX as usize { p.faint { (t!("These are the newest {number} {webhooks}.", number = TESTED_MAX)) } }
        }
    } })
}

/// `GET …/catalog/openapi.json`
async fn openapi(page: Page) -> Answer<Response> {
    export(&page, CatalogFormat::Openapi, "attachment; filename=\"webhooks.openapi.json\"").await
}

/// `GET …/catalog/asyncapi.json`
async fn asyncapi(page: Page) -> Answer<Response> {
    export(&page, CatalogFormat::Asyncapi, "attachment; filename=\"webhooks.asyncapi.json\"").await
}

async fn export(page: &Page, format: CatalogFormat, disposition: &'static str) -> Answer<Response> {
    let document = page.operations.export_catalog(page.caller, format).await?;
    Ok(([(header::CONTENT_DISPOSITION, disposition)], Json(document)).into_response())
}
