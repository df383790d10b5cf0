//! Checks an endpoint against the tenant's profile, the tenant's limits and the address guard.

mod chat;
mod email;
mod headers;
mod notify;
mod pace;
mod pushover;
#[cfg(test)]
mod tests;

use postrider_egress::AddressGuard;
use postrider_mail::Recipients;
use postrider_model::delivery::EndpointStatus;
use postrider_model::endpoint::{Channel, SignatureKey};
use postrider_model::event::EventType;
use postrider_model::json::pointer_token;
use postrider_model::limits::METADATA_BYTES_MAX;
use postrider_model::name::check_name;
use postrider_model::payload_filter::PayloadFilter;
use postrider_model::subscription::{Subscription, TypePattern};
use postrider_model::tenant_limits::TenantLimits;
use postrider_profiles::Profile;
use postrider_store::config::{EndpointDocument, EndpointDraft};
use serde_json::Value;

use crate::error::Mistakes;
use crate::event_types::names;
use crate::text::check_description;

pub(super) use headers::refuse_kept_headers;
pub(super) use notify::check_chain;

/// What the endpoints of one tenant are checked against.
pub(super) struct Rules<'a> {
    pub(super) profile: &'a Profile,
    pub(super) limits: &'a TenantLimits,
    pub(super) guard: &'a AddressGuard,
    /// The addresses to which e-mail may be sent.
    pub(super) recipients: &'a Recipients,
    /// The event types that the tenant defines.
    pub(super) event_types: &'a [EventType],
}

impl Rules<'_> {
    /// Returns every mistake in an endpoint.
    pub(super) fn check(&self, draft: &EndpointDraft) -> Mistakes {
        let mut mistakes = Mistakes::default();
        let document = &draft.document;
        self.texts(document, &mut mistakes);
        self.channel(draft, &mut mistakes);
        self.subscription(document, &mut mistakes);
        self.headers(&draft.private.headers, &mut mistakes);
        self.pace(document, &mut mistakes);
        if is_ordered_and_paused(draft) {
            mistakes.add("/status", ORDERED_AND_PAUSED);
        }
        self.batch(document, &mut mistakes);
        if document.signature_key == SignatureKey::Ed25519 && !self.profile.only_standard_signature() {
            let detail = "the tenant's profile has another signature than webhook-signature; allowed: hmac";
            mistakes.add("/signature_key", detail);
        }
        if let Some(Err(invalid)) = document.payload_filter.as_ref().map(PayloadFilter::read) {
            mistakes.add(invalid.pointer, invalid.detail);
        }
        if let Some(notify) = &document.notify {
            notify::check_states(notify, &mut mistakes);
        }
        if let Some(name) = &document.token_header {
            self.token_header(name, &draft.private.headers, &mut mistakes);
        }
        mistakes
    }

    fn texts(&self, document: &EndpointDocument, mistakes: &mut Mistakes) {
        mistakes.check("/name", check_name(&document.name));
        if let Some(description) = &document.description {
            mistakes.check("/description", check_description(description));
        }
        if let Some(metadata) = &document.metadata {
            if metadata.to_string().len() > METADATA_BYTES_MAX {
                mistakes.add("/metadata", format!("at most {METADATA_BYTES_MAX} bytes"));
            } else if holds_nul(metadata) {
                mistakes.add("/metadata", "no character U+0000");
            }
        }
    }

    fn channel(&self, draft: &EndpointDraft, mistakes: &mut Mistakes) {
        let document = &draft.document;
        if !self.profile.channels.contains(&document.channel) {
            let allowed: Vec<&str> = self.profile.channels.iter().map(|channel| channel.as_str()).collect();
            let detail = format!("the tenant's profile does not have it; allowed: {}", allowed.join(", "));
            return mistakes.add("/channel", detail);
        }
        match document.channel {
            Channel::Web => self.web(draft, mistakes),
            Channel::Pushover => pushover::check(draft, mistakes),
            Channel::Slack | Channel::Discord | Channel::Teams => chat::check_webhook(draft, self.guard, mistakes),
            Channel::Telegram => chat::check_telegram(draft, mistakes),
            Channel::Email => email::check(draft, self.recipients, mistakes),
        }
        if document.channel != Channel::Email && !document.recipients.is_empty() {
            mistakes.add("/email", format!("the channel is {}", document.channel));
        }
    }

    fn web(&self, draft: &EndpointDraft, mistakes: &mut Mistakes) {
        if draft.private.pushover.is_some() {
            mistakes.add("/pushover", "the channel is web");
        }
        no_chat(draft, mistakes);
        match draft.document.url.as_deref() {
            None => mistakes.add("/url", "the channel web needs a URL"),
            Some(url) => {
                if let Err(refused) = self.guard.check_url(url, self.profile.url_rule) {
                    mistakes.add("/url", refused.to_string());
                } else if url.contains('#') {
                    mistakes.add("/url", "the part from # on is never sent; leave it out");
                }
            }
        }
    }

    /// Replaces the URL by the form that is sent, such as `/b` for `/a/../b`.
    pub(super) fn normalize_url(&self, document: &mut EndpointDocument) {
        let sent = document.url.as_deref().and_then(|url| self.guard.check_url(url, self.profile.url_rule).ok());
        if let Some(sent) = sent {
            document.url = Some(sent.into());
        }
    }

    fn subscription(&self, document: &EndpointDocument, mistakes: &mut Mistakes) {
        for (attribute, values) in &document.filters {
            for (index, value) in values.iter().enumerate() {
                if value.chars().any(char::is_control) {
                    mistakes.add(format!("/filters/{}/{index}", pointer_token(attribute)), "no control characters");
                }
            }
        }
        let kind_of = |name: &str| self.profile.attribute_kind(name);
        match Subscription::compile(&document.event_types, &document.filters, kind_of) {
            Ok(subscription) => self.known_types(&subscription, mistakes),
            Err(invalid) => {
                let refused = |name: &String| invalid.pointer == format!("/filters/{}", pointer_token(name));
                let mut detail = invalid.detail.clone();
                if document.filters.keys().any(|name| refused(name) && kind_of(name).is_none()) {
                    let filters: Vec<&str> = self.profile.attributes.keys().map(String::as_str).collect();
                    detail = format!("{detail}; there are: {}", filters.join(", "));
                }
                mistakes.add(invalid.pointer, detail);
            }
        }
    }

    /// Unless the profile's catalog is open, requires that each event type without a wildcard is in the catalog or is one of the
    /// tenant's own types.
    fn known_types(&self, subscription: &Subscription, mistakes: &mut Mistakes) {
        if self.profile.open_catalog {
            return;
        }
        for (index, pattern) in subscription.event_types.iter().enumerate() {
            if let TypePattern::Exact(name) = pattern
                && self.profile.event_type(name).is_none()
                && !self.event_types.iter().any(|own| own.as_str() == &**name)
            {
                mistakes.add(
                    format!("/event_types/{index}"),
                    format!("no such event type; there are: {}", names(self.profile, self.event_types)),
                );
            }
        }
    }
}

/// Why an endpoint cannot be ordered and paused.
pub(super) const ORDERED_AND_PAUSED: &str = "an ordered endpoint cannot be paused, because a resume does not keep the order; use inactive, or remove the ordering first";

/// Whether an endpoint is ordered and paused, which is refused.
pub(super) fn is_ordered_and_paused(draft: &EndpointDraft) -> bool {
    draft.document.ordering.is_some() && draft.status == EndpointStatus::Paused
}

/// Why an endpoint cannot be ordered and batched.
pub(super) const ORDERED_AND_BATCHED: &str = "an ordered endpoint cannot be batched, because its deliveries are attempted one after the other; remove the ordering or the batch";

/// Whether an endpoint is ordered and batched, which is refused.
pub(super) fn is_ordered_and_batched(document: &EndpointDocument) -> bool {
    document.ordering.is_some() && document.batch.is_some()
}

/// Refuses fields that apply only to endpoints with a URL.
fn only_web(draft: &EndpointDraft, mistakes: &mut Mistakes) {
    let document = &draft.document;
    let only_web = [
        ("/url", document.url.is_some()),
        ("/headers", !draft.private.headers.is_empty()),
        ("/token_header", document.token_header.is_some()),
        ("/ascii_json", document.ascii_json),
        ("/batch", document.batch.is_some()),
        ("/signature_key", document.signature_key != SignatureKey::Hmac),
    ];
    for (pointer, _) in only_web.into_iter().filter(|(_, given)| *given) {
        mistakes.add(pointer, format!("does not apply to {}; leave it out", document.channel.label()));
    }
    if document.channel != Channel::Pushover && draft.private.pushover.is_some() {
        mistakes.add("/pushover", format!("the channel is {}", document.channel));
    }
}

/// Refuses the fields of chat channels.
fn no_chat(draft: &EndpointDraft, mistakes: &mut Mistakes) {
    let document = &draft.document;
    let given = [("/chat", document.webhook_shown.is_some()), ("/telegram", document.chat_id.is_some())];
    for (pointer, _) in given.into_iter().filter(|(_, given)| *given) {
        mistakes.add(pointer, format!("the channel is {}", document.channel));
    }
}

/// Whether any string or name contains NUL, the one character that PostgreSQL's JSON refuses.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}
