//! The page of one webhook.

use maud::{Markup, html};
use postrider_model::ordering::OnExhausted;
use postrider_operations::endpoints::Endpoint;
use postrider_profiles::Profile;

use super::form::notice_state;
use super::{held_keys, status};
use crate::components::{
    DAY, latest_deliveries, listing, public_key, tags, target, tiles, time, top_causes, trouble_banner, verification,
    webhook_link,
};
use crate::failure::Answer;
use crate::format::{attribute, bytes, count, duration, schedule};
use crate::language::{t, text, tm};
use crate::page::{EndpointNames, Page, WebhookPage};

/// `GET …/webhooks/{id}`
pub(crate) async fn show(webhook: WebhookPage) -> Answer {
    let WebhookPage { page, endpoint, id } = &webhook;
    let figures = page.operations.endpoint_stats(page.caller, id, &DAY.query()).await?;
    let causes = if figures.total.failures > 0 {
        top_causes(page, &page.operations.endpoint_failures(page.caller, id, &DAY.query()).await?, id)
    } else {
        html! {}
    };
    let latest = latest_deliveries(page, endpoint.id).await?;
    let held = held_keys::link(&webhook).await?;
    let notified = page.endpoint_names(endpoint.notify.iter().map(|notify| notify.endpoint)).await?;
    let content = html! {
        (heading(&webhook))
        (trouble_banner(page, endpoint))
        (held)
        section.panel aria-labelledby="last-day" {
            h2 #last-day { (text(DAY.label)) }
            (tiles(&figures.total, page.profile.promise))
            (causes)
            p { a href=(page.to(format!("/health?endpoint_id={id}"))) { (t!("All figures of this {webhook}")) } }
        }
        section aria-labelledby="latest" {
            h2 #latest { (t!("Latest deliveries")) }
            (latest)
            p { a href=(page.to(format!("/deliveries?endpoint_id={id}"))) { (t!("All deliveries")) } }
        }
        section.panel aria-labelledby="settings" {
            h2 #settings { (t!("Settings")) }
            (settings(page, endpoint, &notified))
        }
        @if let Some(key) = &endpoint.public_key { (public_key(key)) }
        @if endpoint.url.is_some() && endpoint.public_key.is_none() {
            (verification(&page.profile, endpoint.token_header.as_deref()))
        }
    };
    Ok(page.show(&endpoint.name, content))
}

fn heading(webhook: &WebhookPage) -> Markup {
    let endpoint = &webhook.endpoint;
    html! { div.heading {
        div { h1 { (endpoint.name) } p.long { (target(endpoint)) } }
        @if webhook.page.can_manage() { div.buttons {
            a.button.primary href=(webhook.at("/test")) { (t!("Test")) }
            a.button href=(webhook.at("/edit")) { (t!("Edit")) }
            (status::pause_button(webhook))
            @if endpoint.url.is_some() { a.button href=(webhook.at("/rotate")) { (t!("Rotate secret")) } }
            a.button.danger href=(webhook.at("/delete")) { (t!("Delete")) }
        } }
    } }
}

fn settings(page: &Page, endpoint: &Endpoint, notified: &EndpointNames) -> Markup {
    html! { dl.facts {
        dt { (t!("Status")) } dd { (status::switch(page, endpoint)) }
        @if let Some(description) = &endpoint.description { dt { (t!("Description")) } dd.kept { (description) } }
        dt { (t!("Event types")) } dd { (tags(&endpoint.event_types)) }
        @for (name, values) in &endpoint.filters { dt { (attribute(name)) } dd { (tags(values)) } }
        @if let Some(filter) = &endpoint.payload_filter {
            dt { (t!("Payload filter")) }
            dd { (listing(&t!("Payload filter"), &serde_json::to_string_pretty(filter).unwrap_or_default())) }
        }
        @if !endpoint.headers.is_empty() { dt { (t!("Custom headers")) } dd { (tags(endpoint.headers.keys())) } }
        (pace(&page.profile, endpoint))
        @if let Some(notify) = &endpoint.notify {
            dt { (t!("Tell when it fails")) }
            dd {
                (webhook_link(page, notify.endpoint, notified))
                @for state in &notify.on { ", " (notice_state(*state)) }
            }
        }
        @for until in &endpoint.previous_secrets_until {
            dt { (t!("Previous secret")) } dd { (tm!("also signs until {time}", time = time(*until))) }
        }
        @if let Some(from) = endpoint.next_secret_from { dt { (t!("Next secret")) } dd { (tm!("signs from {time}", time = time(from))) } }
        dt { (t!("Created on")) } dd { (time(endpoint.created_at)) }
        dt { (t!("Changed on")) } dd { (time(endpoint.updated_at)) }
        dt { (t!("Id")) } dd { code { (endpoint.id) } }
    } }
}

/// The retry schedule, timeout and rate: the endpoint's own values, or the profile's.
fn pace(profile: &Profile, endpoint: &Endpoint) -> Markup {
    let retries = endpoint.retry_schedule_seconds.as_deref().unwrap_or(profile.retry_schedule.seconds());
    let timeout = endpoint.timeout_seconds.map_or(profile.timeout.as_secs(), u64::from);
    html! {
        dt { (t!("Retry after")) } dd { @if retries.is_empty() { (t!("none")) } @else { (schedule(retries)) } }
        dt { (t!("Timeout")) } dd { (timeout) " s" }
        dt { (t!("Rate")) } dd { @match endpoint.channel.rate_per_second(endpoint.rate_per_second.or(profile.rate_per_second)) {
            Some(rate) => (t!("{rate} requests a second", rate = rate)),
            None => (t!("no limit")),
        } }
        @if let Some(batch) = &endpoint.batch {
            dt { (t!("Batches")) }
            dd { (t!(
                "up to {events} events or {bytes} in a request, after at most {wait}",
                events = count(batch.events_max.into()),
                bytes = bytes(batch.bytes_max as usize),
                wait = duration(f64::from(batch.wait_ms_max))
            )) }
        }
        @if let Some(ordering) = &endpoint.ordering {
            dt { (t!("Order")) }
            dd {
                @match &ordering.key {
                    Some(key) => (t!("by {field}", field = key)),
                    None => (t!("all events in one order")),
                }
                ", "
                @match ordering.on_exhausted {
                    OnExhausted::Continue => (t!("goes on after a failure")),
                    OnExhausted::Hold => (t!("waits for a decision after a failure")),
                }
            }
        }
    }
}
