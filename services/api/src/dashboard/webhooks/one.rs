//! One webhook: what it is, how it does, switching it on and off, deleting it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use postrider_http::problem::read_json;

use super::super::Dashboard;
use super::super::deliveries::latest;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::health::{range, tiles};
use super::super::layout::Section;
use super::super::page::Page;
use super::super::parts::{Question, ask, listing, time};
use super::super::verify::how_to;
use super::super::words::{attribute, schedule};
use super::list::toggle;
use super::save::public_key_shown;
use super::{Id, target};
use crate::endpoints::breaker::{Breaker, BreakerState};
use crate::endpoints::handlers;
use crate::endpoints::model::{EditEndpoint, Endpoint, Status};
use crate::request::Params;
use crate::{Api, deliveries, stats};

/// `GET …/webhooks/{id}`
pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Id,
) -> Result<Markup, Failure> {
    let api = &dashboard.api;
    let endpoint = super::endpoint(api, &page, &id).await?;
    let figures = stats::of_endpoint(State(Arc::clone(api)), page.caller, range("24h"), Path(id.clone())).await?.0;
    let latest = latest(api, &page, &[("endpoint_id", &id)]).await?;
    let at = page.to(format!("/webhooks/{id}"));
    Ok(page.show(Section::Webhooks, &endpoint.name, html! {
        div.heading {
            div { h1 { (endpoint.name) } p.long { (target(&endpoint)) } }
            @if page.can_manage() { div.buttons {
                a.button.primary href={ (at) "/test" } { "Test" }
                a.button href={ (at) "/edit" } { "Edit" }
                @if endpoint.url.is_some() { a.button href={ (at) "/rotate" } { "Rotate secret" } }
                a.button.danger href={ (at) "/delete" } { "Delete" }
            } }
        }
        @if let (Status::Disabled, reason) = (endpoint.status, endpoint.disabled_reason.as_deref().unwrap_or("it kept failing")) {
            p.warning role="note" { strong { "Postrider switched it off: " } (reason)
                @if let Some(at) = &endpoint.disabled_at { ", " (time(at)) } ". Fix the receiver, then switch it on again." }
        }
        (breaker(&endpoint.breaker))
        section.panel aria-labelledby="last-day" {
            h2 #last-day { "Last 24 hours" }
            (tiles(&figures.total))
            p { a href=(page.to(format!("/health?endpoint_id={id}"))) { "All figures of this webhook" } }
        }
        section aria-labelledby="latest" {
            h2 #latest { "Latest deliveries" }
            (latest)
            p { a href=(page.to(format!("/deliveries?endpoint_id={id}"))) { "All deliveries" } }
        }
        (settings(&page, &endpoint, &at))
        @if let Some(key) = &endpoint.public_key { (public_key_shown(key)) }
        @if endpoint.url.is_some() { (how_to(&page.profile)) }
    }))
}

/// Why deliveries wait, when the endpoint is what they wait for.
fn breaker(breaker: &Breaker) -> Markup {
    let said = match breaker.state {
        BreakerState::Closed => return html! {},
        BreakerState::Open => {
            "This endpoint keeps failing. It gets one attempt at a time until it answers again; nothing is skipped."
        }
        BreakerState::HalfOpen => {
            "This endpoint answers again. It still gets one attempt at a time, until it has answered a few in a row."
        }
    };
    html! { p.warning role="note" { (said) @if let Some(since) = &breaker.since { " Since " (time(since)) "." } } }
}

fn settings(page: &Page, endpoint: &Endpoint, at: &str) -> Markup {
    let profile = &page.profile;
    html! {
        section.panel aria-labelledby="settings" {
            h2 #settings { "Settings" }
            dl.facts {
                dt { "Status" } dd { (toggle(page, at, endpoint)) }
                @if let Some(description) = &endpoint.description { dt { "Description" } dd.kept { (description) } }
                dt { "Event types" } dd { @for name in &endpoint.event_types { span.tag { (name) } " " } }
                @for (name, values) in &endpoint.filters { dt { (attribute(name)) } dd { @for value in values { span.tag { (value) } " " } } }
                @if let Some(filter) = &endpoint.payload_filter {
                    dt { "On the payload" } dd { (listing("Payload filter", &serde_json::to_string_pretty(filter).unwrap_or_default())) }
                }
                @if !endpoint.headers.is_empty() { dt { "Own headers" } dd { @for name in endpoint.headers.keys() { span.tag { (name) } " " } } }
                dt { "Retry after" } dd { (schedule(endpoint.retry_schedule_seconds.as_deref().unwrap_or(profile.retry_schedule.seconds()))) }
                dt { "Timeout" } dd { (endpoint.timeout_seconds.map_or(profile.timeout.as_secs(), u64::from)) " s" }
                dt { "Rate" } dd { @match endpoint.rate_per_second.or(profile.default_rate) { Some(rate) => { (rate) " requests a second" }, None => "no limit" } }
                @for until in &endpoint.previous_secrets_until { dt { "Previous secret" } dd { "signs beside the new one until " (time(until)) } }
                @if let Some(from) = &endpoint.next_secret_from { dt { "Next secret" } dd { "signs from " (time(from)) " on" } }
                dt { "Created on" } dd { (time(&endpoint.created_at)) }
                dt { "Changed on" } dd { (time(&endpoint.updated_at)) }
                dt { "Id" } dd { code { (endpoint.id) } }
            }
        }
    }
}

/// `POST …/webhooks/{id}/status`
pub(super) async fn set_status(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Id,
    Form(fields): Form,
) -> Result<Response, Failure> {
    let current = super::endpoint(&dashboard.api, &page, &id).await?;
    let off = fields.get("status") == "inactive";
    if off && page.can_manage() && !fields.ticked("sure") && pending(&dashboard.api, &page, &id).await? > 0 {
        return Ok(ask_off(&dashboard.api, &page, &current, fields.ticked("back")).await?.into_response());
    }
    let body = serde_json::json!({"status": fields.get("status")}).to_string();
    let request: EditEndpoint = read_json(body.as_bytes())?;
    let endpoint = dashboard.api.edit_endpoint(page.caller, &id, None, request).await?;
    let notice = if matches!(endpoint.status, Status::Active) { "active" } else { "inactive" };
    let to = if fields.ticked("back") { format!("/webhooks/{id}") } else { "/webhooks".to_owned() };
    Ok(Redirect::to(&page.to(format!("{to}?notice={notice}"))).into_response())
}

/// Asks before a webhook is switched off that deliveries wait for.
async fn ask_off(api: &Arc<Api>, page: &Page, endpoint: &Endpoint, stay: bool) -> Result<Markup, Failure> {
    let id = &endpoint.id;
    let title = format!("Switch {} off?", endpoint.name);
    let lost = html! {
        ul {
            li { "It receives no more events until it is switched on again; events of that time are not delivered later." }
            li { (waiting(api, page, id).await?) " discarded if the next attempt is due while the webhook is off." }
        }
        p { "A replay can send both again." }
    };
    let back = page.to(if stay { format!("/webhooks/{id}") } else { "/webhooks".to_owned() });
    let action = page.to(format!("/webhooks/{id}/status"));
    let question = Question { title: &title, lost, action: &action, button: "Switch off", back: &back };
    let hidden = html! {
        (page.csrf())
        input type="hidden" name="status" value="inactive";
        input type="hidden" name="sure" value="yes";
        @if stay { input type="hidden" name="back" value="webhook"; }
    };
    Ok(page.show(Section::Webhooks, &title, ask(&question, &hidden)))
}

/// Deliveries that wait for a webhook, as far as a page of them goes.
async fn pending(api: &Arc<Api>, page: &Page, id: &str) -> Result<usize, Failure> {
    let wanted = [("endpoint_id", id), ("status", "pending"), ("limit", "200")];
    let params = Params::of(wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Ok(deliveries::list(State(Arc::clone(api)), page.caller, params).await?.0.data.len())
}

/// "3 deliveries that wait for it are"
async fn waiting(api: &Arc<Api>, page: &Page, id: &str) -> Result<Markup, Failure> {
    let count = pending(api, page, id).await?;
    let link = page.to(format!("/deliveries?endpoint_id={id}&status=pending"));
    Ok(html! { @match count {
        0 => "No delivery waits for it now; any that does is",
        1 => { a href=(link) { "1 delivery" } " that waits for it is" }
        200.. => { a href=(link) { "200 deliveries or more" } " that wait for it are" }
        _ => { a href=(link) { (count) " deliveries" } " that wait for it are" }
    } })
}

/// `GET …/webhooks/{id}/delete`
pub(super) async fn ask_delete(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Id,
) -> Result<Markup, Failure> {
    super::refuse_readers(&page)?;
    let endpoint = super::endpoint(&dashboard.api, &page, &id).await?;
    let title = format!("Delete {}?", endpoint.name);
    let lost = html! {
        p.long { "It sends to " (target(&endpoint)) "." }
        ul {
            li { "It receives no more events." }
            li { (waiting(&dashboard.api, &page, &id).await?) " discarded." }
            li { "Its secret and its settings are lost. Its history stays in the log." }
        }
        p { "This cannot be undone. To pause it, switch it off instead." }
    };
    let (action, back) = (page.to(format!("/webhooks/{id}/delete")), page.to("/webhooks"));
    let question = Question { title: &title, lost, action: &action, button: "Delete webhook", back: &back };
    Ok(page.show(Section::Webhooks, &title, ask(&question, &page.csrf())))
}

/// `POST …/webhooks/{id}/delete`
pub(super) async fn delete(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Id,
) -> Result<Redirect, Failure> {
    let api = Arc::clone(&dashboard.api);
    handlers::delete(State(api), page.caller, Params::default(), Path(id), HeaderMap::new()).await?;
    Ok(Redirect::to(&page.to("/webhooks?notice=deleted")))
}
