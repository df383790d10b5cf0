//! Webhooks in lists and filters.

use maud::{Markup, html};
use postrider_model::ids::EndpointId;
use postrider_operations::endpoints::Endpoint;

use crate::failure::Answer;
use crate::language::t;
use crate::page::{EndpointName, EndpointNames, Page};

/// Maximum number of webhooks that a filter offers.
const OFFERED_MAX: u32 = 1_000;

/// The name of a webhook, with a link if it still exists.
pub(crate) fn webhook_link(page: &Page, id: EndpointId, names: &EndpointNames) -> Markup {
    html! { @match names.get(&id) {
        Some(name) if name.deleted => span.faint title=(id) { (name.label()) },
        Some(name) => a href=(page.to(format!("/webhooks/{id}"))) { (name.label()) },
        None => span.faint { (t!("Unknown {webhook} ({id})", id = id)) },
    } }
}

/// The name of a webhook, or its id if it has none.
pub(crate) fn webhook_name(id: EndpointId, names: &EndpointNames) -> String {
    names.get(&id).map_or_else(|| id.to_string(), EndpointName::label)
}

/// Where an endpoint's deliveries go: its URL without secrets, or the service.
pub(crate) fn target(endpoint: &Endpoint) -> String {
    let label = endpoint.channel.label();
    if let Some(email) = &endpoint.email {
        return email.recipients.join(", ");
    }
    match (&endpoint.url, &endpoint.chat, &endpoint.telegram) {
        (Some(url), ..) => url.clone(),
        (_, Some(chat), _) => format!("{label}: {}", chat.webhook_url),
        (.., Some(telegram)) => format!("{label}: {}", telegram.chat_id),
        _ => label.to_owned(),
    }
}

/// The webhooks that a filter offers.
pub(crate) struct WebhookOptions {
    /// Id and name, sorted by name.
    webhooks: Vec<(EndpointId, String)>,
    /// Whether there may be webhooks that are not in the list.
    truncated: bool,
}

impl WebhookOptions {
    /// Loads the newest webhooks, and the chosen webhook if it is older.
    pub(crate) async fn load(page: &Page, chosen: &str) -> Answer<Self> {
        let mut webhooks = page.operations.endpoint_names(page.caller, OFFERED_MAX).await?;
        let truncated = webhooks.len() >= OFFERED_MAX as usize;
        if let Ok(chosen) = chosen.parse()
            && webhooks.iter().all(|(id, _)| *id != chosen)
        {
            let names = page.endpoint_names([chosen]).await?;
            webhooks.push((chosen, webhook_name(chosen, &names)));
        }
        webhooks.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(Self { webhooks, truncated })
    }

    /// Leaves out a webhook.
    pub(crate) fn without(mut self, id: EndpointId) -> Self {
        self.webhooks.retain(|(other, _)| *other != id);
        self
    }

    /// The options of a `select`. `all` is the label of the option that chooses no webhook.
    pub(crate) fn show(&self, chosen: &str, all: &str) -> Markup {
        html! {
            option value="" { (all) }
            @for (id, name) in &self.webhooks {
                @let id = id.to_string();
                option value=(id) selected[id == chosen] { (name) }
            }
            @if self.truncated { option disabled { (t!("Only the newest {number} are listed", number = OFFERED_MAX)) } }
        }
    }
}
