//! The page that skips what waits for a paused webhook.

use axum::response::Redirect;
use maud::html;

use crate::components::Confirmation;
use crate::failure::Answer;
use crate::language::t;
use crate::page::{Managed, WebhookPage};
use crate::texts::Notice;

/// `GET …/webhooks/{id}/skip`
pub(crate) async fn ask(Managed(webhook): Managed<WebhookPage>) -> Answer {
    let waiting = webhook.endpoint.set_aside.map_or(0, |waits| waits.deliveries);
    let confirmation = Confirmation {
        title: &t!("Skip what waits for {name}?", name = webhook.endpoint.name),
        consequences: html! {
            ul {
                li { (t!(waiting, "{count} delivery waits and is discarded.", "{count} deliveries wait and are discarded.")) }
                li { (t!("The {webhook} stays as it is. If it is paused, deliveries of later events wait again.")) }
            }
            p { (t!("The events stay in the history. A replay or a recovery can still send them.")) }
        },
        action: &webhook.at("/skip"),
        button: &t!("Skip what waits"),
        back: &webhook.at(""),
    };
    Ok(confirmation.page(&webhook.page))
}

/// `POST …/webhooks/{id}/skip`
pub(crate) async fn skip(Managed(WebhookPage { page, id, .. }): Managed<WebhookPage>) -> Answer<Redirect> {
    page.operations.skip_paused(page.caller, &id).await?;
    Ok(page.redirect(format!("/webhooks/{id}"), Notice::PausedSkipped))
}
