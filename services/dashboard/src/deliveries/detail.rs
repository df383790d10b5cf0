//! The page of a delivery: what happened in words, the body that was sent, and the attempts.

use axum::response::Response;
use maud::{Markup, html};
use postrider_model::delivery::DiscardReason;
use postrider_operations::Error;
use postrider_operations::deliveries::{Attempt, Delivery, DeliveryDetail, DeliveryPhase, PlaceInLine};

use crate::components::{
    Payload, action, ago, can_be_curl, delivery_badge, empty, listing, time, timeline, trouble_of_delivery,
    webhook_link, webhook_name,
};
use crate::curl;
use crate::failure::Answer;
use crate::language::{t, tm};
use crate::page::{EndpointNames, Id, Page, plain_text};
use crate::texts;

/// `GET …/deliveries/{id}`
pub(super) async fn show(page: Page, Id(id): Id) -> Answer {
    let found = page.operations.read_delivery(page.caller, &id).await?;
    let delivery = &found.delivery;
    let names = page.endpoint_names([delivery.endpoint_id]).await?;
    let live = if delivery.status.is_terminal() { "off" } else { "on" };
    let trouble = trouble_of_delivery(&page, delivery).await?;
    let to = webhook_name(delivery.endpoint_id, &names);
    let may_expunge =
        !page.visitor.live && page.can_manage() && page.operations.has_edited_data(page.caller, delivery).await?;
    let title = t!("Delivery of {event} to {name}", event = delivery.event_type, name = to);
    let at = page.to(format!("/deliveries/{}", delivery.id));
    let content = html! {
        div.heading {
            h1.long { (title) }
            div.buttons #delivery-actions data-live=(live) { (buttons(&page, &found)) }
        }
        section.panel.cause #delivery aria-label=(t!("What happened")) data-live=(live) {
            (cause(&page, &found))
            (trouble)
            (facts(&page, delivery, &names))
        }
        // The body never changes, so a refresh leaves it out.
        @if !page.visitor.live { section aria-labelledby="body-title" {
            h2 #body-title { (t!("Request body")) }
            @match &found.body {
                Some(text) => {
                    (Payload { id: "body", label: &t!("Request body"), text, whole: &format!("{at}/body") }.show(&page.visitor))
                    @if may_expunge { p { a.button.danger href={ (at) "/expunge" } { (t!("Expunge the data")) } } }
                }
                None => { p.faint { (t!("The payload was expunged or is past the retention.")) } }
            }
        } }
        section #attempts-section aria-labelledby="attempts" data-live=(live) {
            h2 #attempts { (t!("Attempts")) }
            @if found.attempts.is_empty() { (no_attempt(delivery)) } @else { (timeline(&at, &found)) }
        }
    };
    Ok(page.show(&title, content))
}

/// The place of a delivery among the deliveries with the same key, in words.
fn place(page: &Page, delivery: &Delivery, place: &PlaceInLine) -> Markup {
    let first =
        html! { a href=(page.to(format!("/deliveries/{}", place.first_delivery_id))) { (place.first_delivery_id) } };
    let is_first = place.first_delivery_id == delivery.id;
    html! {
        @if place.ahead > 0 {
            p { (tm!(
                place.ahead,
                "{count} delivery is before it: {first}.",
                "{count} deliveries are before it; the first is {first}.",
                first = first
            )) }
        }
        @if place.held && is_first {
            p { (t!("The deliveries behind it wait until you send it again or go on without it.")) }
        } @else if place.held {
            p { (t!("The first one failed and waits for a decision.")) }
        }
        @if place.behind > 0 {
            p { (t!(place.behind, "{count} delivery waits behind it.", "{count} deliveries wait behind it.")) }
        }
    }
}

/// What happened in words: the state of the delivery, what the endpoint answered, and what happens next.
fn cause(page: &Page, found: &DeliveryDetail) -> Markup {
    let (delivery, last) = (&found.delivery, found.attempts.last());
    let verdict = delivery.status_code.map(|code| page.profile.statuses.verdict(code));
    html! {
        p.lead { (delivery_badge(delivery)) " " (texts::standing(delivery)) }
        @if let Some(found) = &found.place { (place(page, delivery, found)) }
        @if let Some(last) = last {
            p { (texts::outcome(last)) }
            @if let Some(answer) = &last.response_excerpt {
                div.answer { (listing(&t!("The {endpoint}'s answer"), answer)) }
            }
        }
        @if let Some(next) = delivery.next_attempt_at.filter(|_| last.is_some()) {
            // If a person requested an attempt, the next attempt is earlier than planned, and the reason of the plan does not
            // apply.
            @let planned = last.filter(|last| last.next_attempt_at.is_some_and(|planned| planned.0 == next.0));
            @let reason = planned.and_then(|last| last.next_attempt_reason);
            p { (tm!(
                "{label} {ago}, at {time}{reason}.",
                label = html! { strong { (t!("Next attempt:")) } },
                ago = ago(next),
                time = time(next),
                reason = texts::planned_by(reason)
            )) }
        } @else if let Some(end) = texts::after_the_end(delivery, verdict) { p { (end) } }
    }
}

/// The text in place of the attempts.
fn no_attempt(delivery: &Delivery) -> Markup {
    if delivery.status.is_terminal() {
        return html! { p.faint { (t!("none")) } };
    }
    let soon = delivery.phase == Some(DeliveryPhase::Queued);
    empty(&t!("No attempt yet"), html! { @if soon { p { (t!("An attempt appears here within a second.")) } } })
}

fn buttons(page: &Page, found: &DeliveryDetail) -> Markup {
    let delivery = &found.delivery;
    let at = page.to(format!("/deliveries/{}", delivery.id));
    let pending = !delivery.status.is_terminal();
    let label = if pending { t!("Attempt now") } else { t!("Send again") };
    // Deliveries of a paused webhook are refused until it is resumed.
    let may_retry = page.can_manage() && !delivery.test && delivery.phase != Some(DeliveryPhase::Paused);
    html! {
        @if let Some(last) = found.attempts.last().filter(|last| found.body.is_some() && can_be_curl(last)) {
            a.button href={ (at) "/curl" } data-copy-url=(t!("Copy as cURL")) title=[curl::remark(last)] { (t!("Show as cURL")) }
        }
        @if may_retry { (action(&page.visitor.tokens, &format!("{at}/retry"), &label, "primary")) }
        @if page.can_manage() && holds_key(found) {
            (action(&page.visitor.tokens, &format!("{at}/skip"), &t!("Go on without it"), ""))
        }
        @if page.can_manage() && pending { a.button.danger href={ (at) "/cancel" } { (t!("Cancel")) } }
    }
}

/// Whether the deliveries behind this one wait for a decision about it.
pub(crate) fn holds_key(found: &DeliveryDetail) -> bool {
    found.place.as_ref().is_some_and(|place| place.held && place.first_delivery_id == found.delivery.id)
}

fn facts(page: &Page, delivery: &Delivery, names: &EndpointNames) -> Markup {
    html! { dl.facts {
        dt { (t!("{Webhook}")) } dd { (webhook_link(page, delivery.endpoint_id, names)) }
        dt { (t!("Event")) } dd { @if delivery.test { code { (delivery.event_id) } " (" (t!("a test")) ")" } @else {
            @let event = page.to(format!("/events/{}", delivery.event_id));
            a href=(event) { (delivery.event_id) } " (" a href={ (event) "#why" } { (t!("why it was sent")) } ")" } }
        dt { (t!("Created")) } dd { (time(delivery.created_at)) }
        @if let Some(next) = delivery.next_attempt_at.filter(|_| delivery.attempt_count == 0) {
            @let scheduled = delivery.phase == Some(DeliveryPhase::Scheduled);
            dt { @if scheduled { (t!("Scheduled for")) } @else { (t!("First attempt")) } } dd { (time(next)) }
        }
        // While it is pending, or if that is why it ended: no attempt starts after this time.
        @if !delivery.status.is_terminal() || delivery.discard_reason == Some(DiscardReason::Expired) {
            dt { (t!("Expires")) } dd { (time(delivery.expires_at)) }
        }
        @if let Some(end) = delivery.finished_at { dt { (t!("Finished")) } dd { (time(end)) } }
        @if let Some(origin) = delivery.origin_id {
            dt { (t!("Repeats")) } dd { a href=(page.to(format!("/deliveries/{origin}"))) { (origin) } }
        }
        dt { (t!("Id")) } dd { code { (delivery.id) } }
    } }
}

/// `GET …/deliveries/{id}/body`: the whole body as plain text.
pub(super) async fn whole_body(page: Page, Id(id): Id) -> Answer<Response> {
    let found = page.operations.read_delivery(page.caller, &id).await?;
    Ok(plain_text(found.body.ok_or(Error::NotFound("body: the payload was expunged or is past the retention"))?))
}

/// `GET …/deliveries/{id}/curl?attempt=<id of the request>`: an attempt as a `curl` command; the last attempt by default.
pub(super) async fn as_curl(page: Page, Id(id): Id) -> Answer<Response> {
    let found = page.operations.read_delivery(page.caller, &id).await?;
    let wanted = page.visitor.query.optional("attempt");
    let is_wanted = |attempt: &&Attempt| wanted.as_ref().is_none_or(|id| attempt.send_id.to_string() == *id);
    let attempt = found.attempts.iter().rev().find(is_wanted).filter(|attempt| can_be_curl(attempt));
    let (attempt, body) = attempt.zip(found.body.as_deref()).ok_or(Error::NotFound("request of this attempt"))?;
    Ok(plain_text(curl::command(attempt, body)))
}
