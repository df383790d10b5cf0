//! The search of a tenant's pages. It redirects to the only result, or lists all results.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use postrider_operations::Error;
use postrider_operations::find::{Found, SEARCH_BYTES_MAX, anywhere};

use crate::Dashboard;
use crate::failure::Answer;
use crate::fields::Fields;
use crate::language::{english, t, tm};
use crate::page::Page;
use crate::texts::status_word;

/// The query parameter with the search text.
const TEXT: &str = "q";

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/dashboard/{tenant}/find", get(show))
}

/// The search box in the header of a tenant's pages. `tenant` is the tenant's id, `text` the text of the last search.
pub(crate) fn search_box(tenant: &str, text: &str) -> Markup {
    html! { form.find method="get" action={ "/dashboard/" (tenant) "/find" } role="search" aria-label=(t!("This account")) {
        label.unseen for="find" { (t!("Find anything")) }
        input #find type="search" name=(TEXT) value=(text) maxlength=(SEARCH_BYTES_MAX) autocomplete="off" spellcheck="false"
            placeholder=(t!("Search: id, {webhook}, 5xx, email=…"));
        button.unseen type="submit" tabindex="-1" { (t!("Find")) }
    } }
}

/// `GET …/find?q=<text>`
async fn show(page: Page) -> Answer<Response> {
    let text = page.visitor.query.get(TEXT);
    let found = match page.operations.find(page.caller, text).await {
        Ok(found) => found,
        Err(Error::Invalid(errors)) => {
            let content = html! {
                h1 { (t!("Search")) }
                div.problem role="alert" { @for error in &errors {
                    p { (tm!("The search text has {problem}.", problem = english(&error.detail))) }
                } }
                (understood())
            };
            return Ok(page.show(&t!("Search"), content).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    if let [only] = found.as_slice() {
        return Ok(Redirect::to(&page.to(path(only))).into_response());
    }
    let content = html! {
        h1.long { @if text.is_empty() { (t!("Search")) } @else { (t!("Search for “{text}”", text = text)) } }
        @if found.is_empty() {
            @if !text.is_empty() { (nothing(&page, text)) }
            (understood())
        } @else {
            ul.found data-rows { @for found in &found { li { (entry(&page, found)) } } }
        }
    };
    Ok(page.show(&t!("Search {text}", text = text), content).into_response())
}

/// The message that nothing was found, with a link to the search for the text in payloads.
fn nothing(page: &Page, text: &str) -> Markup {
    html! { div.warning role="status" {
        p { (t!("Nothing was found. Events and deliveries past the retention are gone.")) }
        @if let Some(search) = anywhere(text) {
            p { a href=(page.to(path(&Found::Payload(search)))) { (t!("Search payloads for this value")) } }
        }
    } }
}

/// The path of a result, below the tenant's address.
fn path(found: &Found) -> String {
    let list = |list: &str, name: &str, value: &dyn ToString| {
        format!("/{list}?{}", Fields::default().query_with(name, Some(&value.to_string())))
    };
    match found {
        Found::Delivery(id) => format!("/deliveries/{id}"),
        Found::Event(id) => format!("/events/{id}"),
        Found::Replay(id) => format!("/replays/{id}"),
        Found::Endpoint(endpoint) => format!("/webhooks/{}", endpoint.id),
        Found::StatusCodes(codes) => list("deliveries", "status_code", codes),
        Found::Outcome(outcome) => list("deliveries", "outcome", outcome),
        Found::Status(status) => list("deliveries", "status", status),
        Found::Types(pattern) => list("events", "type", pattern),
        Found::Payload(search) => list("events", "payload", search),
    }
}

fn entry(page: &Page, found: &Found) -> Markup {
    let (kind, name, more) = match found {
        Found::Endpoint(endpoint) => (t!("{Webhook}"), endpoint.name.clone(), endpoint.url.clone().unwrap_or_default()),
        Found::Types(pattern) => (t!("Events"), pattern.to_string(), String::new()),
        Found::Event(id) => (t!("Event"), id.to_string(), String::new()),
        Found::Delivery(id) => (t!("Delivery"), id.to_string(), String::new()),
        Found::Replay(id) => (t!("Replay"), id.to_string(), String::new()),
        Found::StatusCodes(codes) => (t!("Deliveries"), codes.to_string(), String::new()),
        Found::Outcome(outcome) => (t!("Deliveries"), outcome.to_string(), String::new()),
        Found::Status(status) => (t!("Deliveries"), status_word(status.as_str()).into_owned(), String::new()),
        Found::Payload(search) => (t!("Events"), search.to_string(), t!("with this value in the payload").into_owned()),
    };
    html! { span.tag { (kind) } " " a href=(page.to(path(found))) { (name) } " " span.faint { (more) } }
}

/// The section that lists what a visitor can search for.
fn understood() -> Markup {
    let kinds = [
        (
            "evt_…, dlv_…, ep_…, rpl_…",
            t!("the event, delivery, {webhook} or replay with this id; also ids that you gave to events"),
        ),
        ("CRM, example.com/hook", t!("{webhooks} whose name or URL contains this")),
        ("lead.created, lead.*, lead", t!("events of this type, or of the types below it")),
        ("email=jo@example.com, data.items.sku:A1", t!("events with this value in this field of the payload")),
        ("jo@example.com, *=A1", t!("events with this value in any field of the payload")),
        ("404, 5xx", t!("deliveries whose last attempt got this status code, or one of this class")),
        ("timeout, dns, tls, connect, blocked", t!("deliveries whose last attempt failed in this way")),
        ("failed, pending, delivered, cancelled, discarded", t!("deliveries with this status")),
    ];
    html! { section aria-labelledby="understood" {
        h2 #understood { (t!("What you can search for")) }
        dl.facts { @for (text, what) in kinds { dt { code { (text) } } dd { (what) } } }
    } }
}
