//! Profiles: the formats of deliveries.

use maud::{Markup, html};
use postrider_operations::profiles::Profile;

use crate::components::{listing, tags};
use crate::failure::Answer;
use crate::format::{pretty_json, schedule};
use crate::page::OperatorPage;

/// `GET /dashboard/operator/profiles`
pub(super) async fn list(page: OperatorPage) -> Answer {
    let all = page.operations.list_profiles(page.visitor.caller).await?;
    let content = html! {
        h1 { "Profiles" }
        p { "A profile defines the format of deliveries. It is a file that is read at startup. Each tenant has one profile." }
        @for profile in &all.data { (card(profile)) }
    };
    Ok(page.show("Profiles", content))
}

fn card(profile: &Profile) -> Markup {
    let title = format!("profile-{}", profile.name);
    html! { article.panel aria-labelledby=(title) {
        h2 id=(title) { (profile.name) }
        p { (profile.description) }
        (facts(profile))
        details {
            summary { (profile.event_types.len()) " event types" @if profile.open_catalog { ", and others" } }
            @for info in &profile.event_types { details {
                summary { code { (info.name) } " " span.faint { (info.description) } }
                (listing("Sample", &pretty_json(info.sample.get())))
            } }
        }
    } }
}

fn facts(profile: &Profile) -> Markup {
    let filters = profile.attributes.iter().map(|(name, how)| format!("{name} ({how})"));
    html! { dl.facts {
        dt { "Signature" } dd {
            @if let Some(header) = &profile.signature_header { code { (header) } " " }
            @if profile.standard_headers { code { "webhook-signature" } }
            @else if profile.signature_header.is_none() { "none" }
        }
        dt { "Retries after" } dd { (schedule(&profile.retry_schedule_seconds)) }
        dt { "Timeout" } dd { (profile.timeout_seconds) " s" }
        dt { "Rate" } dd { @match profile.rate_per_second {
            Some(rate) => { (rate) " requests a second" },
            None => "no limit",
        } }
        dt { "URLs" } dd { (if profile.http_allowed { "https and http" } else { "https only" }) }
        dt { "Channels" } dd { (tags(profile.channels.iter().map(|channel| channel.as_str()))) }
        @if let Some(promise) = &profile.promise {
            dt { "Promised first attempt" }
            dd {
                @if promise.within_5s { "within 5 s" }
                @if promise.within_5s && promise.within_30s { ", " }
                @if promise.within_30s { "within 30 s" }
            }
        }
        @if let Some(name) = &profile.brand.name { dt { "Brand" } dd { (name) } }
        dt { "Filters" } dd { (tags(filters)) }
    } }
}
