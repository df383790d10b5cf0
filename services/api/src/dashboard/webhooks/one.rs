//! One webhook: what it is, how it does, switching it on and off, deleting it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Redirect;
use maud::{Markup, html};
use postrider_runtime::problem::read_json;

use super::super::Dashboard;
use super::super::deliveries::latest;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::health::{range, tiles};
use super::super::layout::Section;
use super::super::page::Page;
use super::super::parts::{listing, time};
use super::super::verify::how_to;
use super::super::words::{attribute, schedule};
use super::list::toggle;
use super::save::public_key_shown;
use super::{Id, target};
use crate::endpoints::breaker::{Breaker, BreakerState};
use crate::endpoints::handlers;
use crate::endpoints::model::{EditEndpoint, Endpoint, Status};
use crate::request::Params;
use crate::stats;

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
                @if let Some(at) = &endpoint.disabled_at { ", " (time(at)) } ". Mend the receiver, then switch it on again." }
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
            p { a href=(page.to(format!("/deliveries?endpoint_id={id}"))) { "Whole history" } }
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
                dt { "Status" } dd { (toggle(page, at, endpoint.status, &endpoint.name)) }
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
) -> Result<Redirect, Failure> {
    let body = serde_json::json!({"status": fields.get("status")}).to_string();
    let request: EditEndpoint = read_json(body.as_bytes())?;
    super::endpoint(&dashboard.api, &page, &id).await?;
    let endpoint = dashboard.api.edit_endpoint(page.caller, &id, None, request).await?;
    let notice = if matches!(endpoint.status, Status::Active) { "active" } else { "inactive" };
    Ok(Redirect::to(&page.to(format!("/webhooks?notice={notice}"))))
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
    Ok(page.show(Section::Webhooks, &title, html! {
        h1 { (title) }
        p { "It gets no further events, and what is still on its way to it is discarded. Its history stays in the log. This cannot be undone; to pause it, switch it off instead." }
        form.buttons method="post" action=(page.to(format!("/webhooks/{id}/delete"))) {
            (page.csrf())
            button.danger type="submit" { "Delete webhook" }
            a.button href=(page.to("/webhooks")) { "Keep it" }
        }
    }))
}

/// `POST …/webhooks/{id}/delete`
pub(super) async fn delete(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Id,
    _form: Form,
) -> Result<Redirect, Failure> {
    let api = Arc::clone(&dashboard.api);
    handlers::delete(State(api), page.caller, Params::default(), Path(id), HeaderMap::new()).await?;
    Ok(Redirect::to(&page.to("/webhooks?notice=deleted")))
}
