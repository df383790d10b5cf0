//! Switches a webhook on and off, pauses and resumes it.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_model::delivery::EndpointStatus;
use postrider_operations::endpoints::{EditEndpoint, Endpoint, RequestedStatus};

use super::{pending, pending_link};
use crate::components::{Confirmation, state};
use crate::failure::Answer;
use crate::fields::Sent;
use crate::language::{t, tm};
use crate::page::{Managed, Page, WebhookPage};
use crate::texts::Notice;

/// The field that confirms the change.
const CONFIRMED: &str = "confirmed";
/// The field that makes the browser return to the webhook's page instead of the list of webhooks.
const BACK: &str = "back";

/// The status, with a switch for visitors who may change it.
pub(crate) fn switch(page: &Page, endpoint: &Endpoint) -> Markup {
    let active = endpoint.status == EndpointStatus::Active;
    let at = page.to(format!("/webhooks/{}", endpoint.id));
    html! { @if page.can_manage() {
        form.inline method="post" action={ (at) "/status" } {
            (page.visitor.tokens)
            @if page.visitor.path == at { input type="hidden" name=(BACK) value="webhook"; }
            input type="hidden" name="status" value=(if active { "inactive" } else { "active" });
            button.switch type="submit" role="switch" aria-checked=(active) aria-label=(t!("Active: {name}", name = endpoint.name))
                title=(if active { t!("Switch off") } else { t!("Switch on") }) { span.knob {} }
            " " (state(endpoint))
        }
    } @else { (state(endpoint)) } }
}

/// The button that pauses an active webhook. An ordered webhook cannot be paused.
pub(crate) fn pause_button(webhook: &WebhookPage) -> Markup {
    html! { @if webhook.endpoint.status == EndpointStatus::Active && webhook.endpoint.ordering.is_none() {
        form.inline method="post" action=(webhook.at("/status")) {
            (webhook.page.visitor.tokens)
            input type="hidden" name=(BACK) value="webhook";
            input type="hidden" name="status" value="paused";
            button type="submit" title=(t!("Deliveries wait until you resume it")) { (t!("Pause")) }
        }
    } }
}

/// `POST …/webhooks/{id}/status`
pub(crate) async fn set(Managed(webhook): Managed<WebhookPage>, Sent(fields): Sent) -> Answer<Response> {
    let WebhookPage { page, id, .. } = &webhook;
    let back = if fields.is_checked(BACK) { format!("/webhooks/{id}") } else { "/webhooks".to_owned() };
    let (status, notice) = match fields.get("status") {
        "active" if webhook.endpoint.status == EndpointStatus::Paused => {
            (RequestedStatus::Active, Notice::WebhookResumed)
        }
        "active" => (RequestedStatus::Active, Notice::WebhookActive),
        "paused" => (RequestedStatus::Paused, Notice::WebhookPaused),
        _ => (RequestedStatus::Inactive, Notice::WebhookInactive),
    };
    if status == RequestedStatus::Inactive && !fields.is_checked(CONFIRMED) {
        let pending = pending(&webhook).await?;
        if pending > 0 {
            return Ok(ask(&webhook, pending, &back).into_response());
        }
    }
    let edit = EditEndpoint { status: Some(status), ..EditEndpoint::default() };
    page.operations.edit_endpoint(page.caller, id, None, edit).await?;
    Ok(page.redirect(back, notice).into_response())
}

/// Asks for a confirmation before a webhook with pending deliveries is switched off.
fn ask(webhook: &WebhookPage, pending: u32, back: &str) -> Markup {
    let page = &webhook.page;
    let confirmation = Confirmation {
        title: &t!("Switch {name} off?", name = webhook.endpoint.name),
        consequences: html! {
            ul {
                li { (t!("It receives no events until you switch it on again. Events of that time are not delivered later.")) }
                li { (tm!(
                    pending.into(),
                    "{link} is discarded if the next attempt is due while the {webhook} is off.",
                    "{link} are discarded if the next attempt is due while the {webhook} is off.",
                    link = pending_link(webhook, pending)
                )) }
            }
            p { (t!("A replay can send both again.")) }
        },
        action: &webhook.at("/status"),
        button: &t!("Switch off"),
        back: &page.to(back),
    };
    let hidden = html! {
        input type="hidden" name="status" value="inactive";
        input type="hidden" name=(CONFIRMED) value="yes";
        @if back != "/webhooks" { input type="hidden" name=(BACK) value="webhook"; }
    };
    page.show(confirmation.title, confirmation.ask(&page.visitor.tokens, &hidden))
}
