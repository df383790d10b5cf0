//! The page of a dead letter: why the message could not be processed, the message, and the actions on the letter.

use axum::response::Redirect;
use maud::{Markup, html};
use postrider_operations::Error;
use postrider_operations::dead_letters::{DeadLetter, DeadLetterAction, DeadLetterState};

use super::{AT, state_badge};
use crate::components::{Confirmation, action, json_or_text, time};
use crate::failure::Answer;
use crate::format::count;
use crate::operator::TENANTS;
use crate::page::{Id, OperatorPage, redirect_with};
use crate::texts::Notice;

/// `GET /dashboard/operator/dead-letters/{id}`
pub(super) async fn show(page: OperatorPage, Id(id): Id) -> Answer {
    let letter = page.operations.read_dead_letter(page.visitor.caller, &id).await?;
    let tenant = tenant(&page, &letter).await?;
    let at = format!("{AT}/{}", letter.id);
    let content = html! {
        div.heading {
            h1 { "Dead letter " (letter.id) }
            @if letter.state() == DeadLetterState::Open {
                div.buttons {
                    (action(&page.visitor.tokens, &format!("{at}/requeue"), "Send back", "primary"))
                    a.button.danger href={ (at) "/discard" } { "Discard" }
                }
            }
        }
        section.panel aria-label="What happened" {
            p.lead.long { (state_badge(&letter)) " " (letter.reason) }
            (facts(&letter, tenant))
        }
        (message(&letter))
        p { a href=(AT) { "Open dead letters" } }
    };
    Ok(page.show(&format!("Dead letter {}", letter.id), content))
}

/// The id and the name of the tenant in the routing key; `None` if the routing key names no tenant.
async fn tenant(page: &OperatorPage, letter: &DeadLetter) -> Answer<Option<(String, String)>> {
    let Some((named, _)) = letter.routing_key.split_once('.') else { return Ok(None) };
    match page.operations.read_tenant(page.visitor.caller, named).await {
        Ok(tenant) => Ok(Some((tenant.id.to_string(), tenant.name))),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn facts(letter: &DeadLetter, tenant: Option<(String, String)>) -> Markup {
    html! { dl.facts {
        @if let Some(at) = letter.requeued_at.or(letter.discarded_at) {
            dt { "Changed" } dd {
                (time(at)) " " a href={ "/dashboard/operator/audit-log?target=" (letter.id) } { "Show who did it" }
            }
        }
        dt { "Source" } dd.long { code { (letter.source) } }
        @if !letter.routing_key.is_empty() { dt { "Routing key" } dd.long { code { (letter.routing_key) } } }
        @if let Some((id, name)) = tenant { dt { "Tenant" } dd.long { a href={ (TENANTS) "/" (id) } { (name) } } }
        dt { "Received" } dd { (time(letter.received_at)) }
        @if let Some(id) = &letter.message_id { dt { "Message id" } dd.long { code { (id) } } }
        dt { "Size" } dd { (count(letter.body_bytes)) " bytes" }
    } }
}

fn message(letter: &DeadLetter) -> Markup {
    html! {
        section aria-labelledby="message" {
            h2 #message { "Message" }
            (json_or_text("The first 4 KiB of the message", &letter.body_excerpt))
        }
        @if !letter.headers.is_empty() {
            details { summary { "Headers" }
                dl.facts { @for (name, value) in &letter.headers { dt { (name) } dd.long { (value) } } }
            }
        }
    }
}

/// `POST /dashboard/operator/dead-letters/{id}/requeue`
pub(super) async fn requeue(page: OperatorPage, Id(id): Id) -> Answer<Redirect> {
    page.operations.requeue_dead_letter(page.visitor.caller, &id).await?;
    Ok(redirect_with(AT, Notice::DeadLetterRequeued))
}

/// `GET /dashboard/operator/dead-letters/{id}/discard`
pub(super) async fn ask_discard(page: OperatorPage, Id(id): Id) -> Answer {
    let letter = page.operations.read_dead_letter(page.visitor.caller, &id).await?;
    let at = format!("{AT}/{}", letter.id);
    let confirmation = Confirmation {
        title: "Discard this dead letter?",
        consequences: html! {
            p.long { (letter.reason) }
            p { "It stays in the list as discarded and can no longer be sent back." }
        },
        action: &format!("{at}/discard"),
        button: "Discard",
        back: &at,
    };
    let content = confirmation.ask(&page.visitor.tokens, &html! {});
    Ok(page.show(confirmation.title, content))
}

/// `POST /dashboard/operator/dead-letters/{id}/discard`
pub(super) async fn discard(page: OperatorPage, Id(id): Id) -> Answer<Redirect> {
    page.operations.change_dead_letter(page.visitor.caller, DeadLetterAction::Discard, &id).await?;
    Ok(redirect_with(AT, Notice::DeadLetterDiscarded))
}
