//! Deleting a webhook.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Redirect;
use maud::{Markup, html};

use super::{pending, pending_deliveries};
use crate::dashboard::components::Confirmation;
use crate::dashboard::components::webhook::target;
use crate::dashboard::failure::Failure;
use crate::dashboard::layout::Section;
use crate::dashboard::page::{Managed, WebhookPage};
use crate::dashboard::texts::Notice;
use crate::endpoints::handlers;
use crate::request::Params;

/// `GET …/webhooks/{id}/delete`
pub(crate) async fn ask(Managed(webhook): Managed<WebhookPage>) -> Result<Markup, Failure> {
    let pending = pending(&webhook).await?;
    let confirmation = Confirmation {
        title: &format!("Delete {}?", webhook.endpoint.name),
        consequences: html! {
            p.long { "It sends to " (target(&webhook.endpoint)) "." }
            ul {
                li { "It receives no more events." }
                li { (pending_deliveries(&webhook, pending)) " discarded." }
                li { "Its secret and its settings are lost. Its history stays in the log." }
            }
            p { "This cannot be undone. To pause the webhook, switch it off instead." }
        },
        action: &webhook.at("/delete"),
        button: "Delete webhook",
        back: &webhook.page.to("/webhooks"),
    };
    Ok(confirmation.page(&webhook.page, Section::Webhooks))
}

/// `POST …/webhooks/{id}/delete`
pub(crate) async fn delete(Managed(WebhookPage { page, endpoint }): Managed<WebhookPage>) -> Result<Redirect, Failure> {
    let (state, params) = (State(Arc::clone(&page.api)), Params::default());
    handlers::delete(state, page.caller, params, Path(endpoint.id), HeaderMap::new()).await?;
    Ok(page.redirect("/webhooks", Notice::WebhookDeleted))
}
