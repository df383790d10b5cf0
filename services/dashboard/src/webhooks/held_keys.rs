//! The page of a webhook's held keys: those whose deliveries wait because one failed for good.

use axum::response::Redirect;
use maud::{Markup, html};
use postrider_operations::Error;
use postrider_operations::endpoints::{HeldKey, HeldKeyAction, ReleaseHeldKey};

use crate::components::Column::{Number, Text, Unnamed};
use crate::components::{empty, head, time};
use crate::deliveries::holds_key;
use crate::failure::Answer;
use crate::fields::Sent;
use crate::language::{key, t};
use crate::page::{Managed, WebhookPage};
use crate::texts::Notice;

/// Maximum number of keys that the operation returns.
const KEYS_MAX: usize = 200;

/// A link to the page, if a key is held.
pub(crate) async fn link(webhook: &WebhookPage) -> Answer {
    let WebhookPage { page, id, .. } = webhook;
    let count = page.operations.held_keys(page.caller, id).await?.data.len();
    Ok(html! { @if count > 0 {
        p.warning role="note" { a href=(webhook.at("/held-keys")) {
            @if count >= KEYS_MAX { (t!("{count} or more keys wait for a decision.", count = count)) }
            @else { (t!(count as u64, "{count} key waits for a decision.", "{count} keys wait for a decision.")) }
        } }
    } })
}

/// `GET …/webhooks/{id}/held-keys`
pub(crate) async fn show(webhook: WebhookPage) -> Answer {
    let WebhookPage { page, endpoint, id } = &webhook;
    let held = page.operations.held_keys(page.caller, id).await?.data;
    let title = t!("Held keys of {name}", name = endpoint.name);
    let content = html! {
        h1.long { (title) }
        section #held-keys aria-label=(title) data-live="on" {
            @if held.is_empty() {
                (empty(&t!("No key is held"), html! { p { (t!("The deliveries go on in their order.")) } }))
            } @else {
                p { (t!("One delivery of each of these keys failed for good. Later ones wait until you send it again or go on without it.")) }
                @if held.len() >= KEYS_MAX { p.faint { (t!("The {count} keys that are held longest.", count = held.len())) } }
                (table(&webhook, &held))
            }
        }
        p { a.button.quiet href=(webhook.at("")) { (t!("Back")) } }
    };
    Ok(page.show(&title, content))
}

fn table(webhook: &WebhookPage, held: &[HeldKey]) -> Markup {
    let page = &webhook.page;
    html! {
        table.rows {
            (head(&[
                Text(key!("Key")),
                Text(key!("Failed delivery")),
                Text(key!("Held since")),
                Number(key!("Waiting deliveries")),
                Unnamed(key!("Decision")),
            ]))
            tbody { @for HeldKey { key, delivery_id, held_at, waiting } in held { tr {
                th.long scope="row" translate="no" data-label=(t!("Key")) {
                    @if key.is_empty() { (t!("none")) } @else { code { (key) } }
                }
                td data-label=(t!("Failed delivery")) { a href=(page.to(format!("/deliveries/{delivery_id}"))) { (delivery_id) } }
                td data-label=(t!("Held since")) { (time(*held_at)) }
                td.number data-label=(t!("Waiting deliveries")) { (waiting) }
                td { @if page.can_manage() { form.buttons method="post" action=(webhook.at("/held-keys")) {
                    (page.visitor.tokens)
                    input type="hidden" name="delivery_id" value=(delivery_id);
                    button.primary type="submit" name="action" value="retry" { (t!("Send again")) }
                    button type="submit" name="action" value="skip" { (t!("Go on without it")) }
                } } }
            } } }
        }
    }
}

/// `POST …/webhooks/{id}/held-keys`: decides about the key that a delivery holds.
pub(crate) async fn decide(
    Managed(WebhookPage { page, endpoint, id }): Managed<WebhookPage>,
    Sent(fields): Sent,
) -> Answer<Redirect> {
    let found = page.operations.read_delivery(page.caller, fields.get("delivery_id")).await?;
    // Another failed delivery may hold the key by now.
    if !holds_key(&found) || found.delivery.endpoint_id != endpoint.id {
        return Err(Error::Conflict("this delivery does not hold its key".to_owned()).into());
    }
    let (action, notice) = match fields.get("action") {
        "retry" => (HeldKeyAction::Retry, Notice::RetryRequested),
        _ => (HeldKeyAction::Skip, Notice::HeldKeyReleased),
    };
    let key = found.place.map(|place| place.key).unwrap_or_default();
    page.operations.release_held_key(page.caller, &id, &ReleaseHeldKey { key, action }).await?;
    Ok(page.redirect(format!("/webhooks/{id}/held-keys"), notice))
}
