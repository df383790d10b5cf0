//! The page that deletes a webhook.

use axum::response::Redirect;
use maud::html;

use super::{pending, pending_link};
use crate::components::{Confirmation, target};
use crate::failure::Answer;
use crate::language::{t, tm};
use crate::page::{Managed, WebhookPage};
use crate::texts::Notice;

/// `GET …/webhooks/{id}/delete`
pub(crate) async fn ask(Managed(webhook): Managed<WebhookPage>) -> Answer {
    let pending = pending(&webhook).await?;
    let confirmation = Confirmation {
        title: &t!("Delete {name}?", name = webhook.endpoint.name),
        consequences: html! {
            p.long { (tm!("It sends to {target}.", target = target(&webhook.endpoint))) }
            ul {
                li { (t!("It receives no more events.")) }
                li {
                    @if pending == 0 {
                        (t!("No delivery is pending now. Deliveries that are created until then are discarded."))
                    } @else {
                        (tm!(pending.into(), "{link} is discarded.", "{link} are discarded.", link = pending_link(&webhook, pending)))
                    }
                }
                li { (t!("Its secret and its settings are lost. Its deliveries stay in the history.")) }
            }
            p { (t!("This cannot be undone. To stop the {webhook} for a time, pause it instead.")) }
        },
        action: &webhook.at("/delete"),
        button: &t!("Delete {webhook}"),
        back: &webhook.page.to("/webhooks"),
    };
    Ok(confirmation.page(&webhook.page))
}

/// `POST …/webhooks/{id}/delete`
pub(crate) async fn delete(Managed(WebhookPage { page, id, .. }): Managed<WebhookPage>) -> Answer<Redirect> {
    page.operations.delete_endpoint(page.caller, &id, None).await?;
    Ok(page.redirect("/webhooks", Notice::WebhookDeleted))
}
