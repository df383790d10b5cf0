//! The page that deletes a webhook.

use axum::response::Redirect;
use maud::html;

use super::{pending, pending_deliveries};
use crate::components::{Confirmation, target};
use crate::failure::Answer;
use crate::page::{Managed, WebhookPage};
use crate::texts::Notice;

/// `GET …/webhooks/{id}/delete`
pub(crate) async fn ask(Managed(webhook): Managed<WebhookPage>) -> Answer {
    let pending = pending(&webhook).await?;
    let confirmation = Confirmation {
        title: &format!("Delete {}?", webhook.endpoint.name),
        consequences: html! {
            p.long { "It sends to " (target(&webhook.endpoint)) "." }
            ul {
                li { "It receives no more events." }
                li { (pending_deliveries(&webhook, pending)) " discarded." }
                li { "Its secret and its settings are lost. Its deliveries stay in the history." }
            }
            p { "This cannot be undone. To pause the webhook, switch it off instead." }
        },
        action: &webhook.at("/delete"),
        button: "Delete webhook",
        back: &webhook.page.to("/webhooks"),
    };
    Ok(confirmation.page(&webhook.page))
}

/// `POST …/webhooks/{id}/delete`
pub(crate) async fn delete(Managed(WebhookPage { page, id, .. }): Managed<WebhookPage>) -> Answer<Redirect> {
    page.operations.delete_endpoint(page.caller, &id, None).await?;
    Ok(page.redirect("/webhooks", Notice::WebhookDeleted))
}
