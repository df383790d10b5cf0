//! Profiles: what deliveries can look like.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::super::Dashboard;
use super::super::failure::Failure;
use super::super::layout::Section;
use super::super::parts::{listing, pretty_json};
use super::super::words::schedule;
use super::Office;
use crate::profiles;
use crate::request::Params;

/// `GET /dashboard/operator/profiles`
pub(super) async fn list(State(dashboard): State<Arc<Dashboard>>, office: Office) -> Result<Markup, Failure> {
    let all = profiles::list(State(Arc::clone(&dashboard.api)), office.visitor.caller, Params::default()).await?.0;
    Ok(office.show(Section::Profiles, "Profiles", html! {
        h1 { "Profiles" }
        p { "Each is a file that was read at the start; a tenant names one." }
        @for profile in &all.data {
            article.panel aria-labelledby={ "profile-" (profile.name) } {
                h2 id={ "profile-" (profile.name) } { (profile.name) }
                p { (profile.description) }
                dl.facts {
                    dt { "Signature" } dd { @match &profile.signature_header { Some(header) => code { (header) }, None => "none of its own" }
                        @if profile.standard_headers { " " code { "webhook-signature" } } }
                    dt { "Retries after" } dd { (schedule(&profile.retry_schedule_seconds)) }
                    dt { "Timeout" } dd { (profile.timeout_seconds) " s" }
                    dt { "Rate" } dd { @match profile.rate_per_second { Some(rate) => { (rate) " requests a second" }, None => "no limit" } }
                    dt { "URLs" } dd { (if profile.http_allowed { "https and http" } else { "https only" }) }
                    dt { "Channels" } dd { (profile.channels.join(", ")) }
                    dt { "Filters" } dd { @for (name, how) in &profile.attributes { span.tag { (name) " (" (how) ")" } " " } }
                }
                details { summary { (profile.event_types.len()) " event types" @if profile.open_catalog { ", and others" } }
                    @for info in &profile.event_types { details { summary { code { (info.name) } " " span.faint { (info.description) } } (listing("Sample", &pretty_json(info.sample.get()))) } }
                }
            }
        }
    }))
}
