//! Renders notifications, the readable texts of the chat channels.

use std::borrow::Cow;

use postrider_model::notification::Notification;

use crate::catalog::EventTypeInfo;
use crate::event_view::EventView;
use crate::json::JsonMembers;
use crate::profile::Profile;
use crate::render::notice::NoticeText;
use crate::text_template::{TextTemplate, scalar};

/// Members of `data` that are shown, in this order.
const WELL_KNOWN: [&str; 34] = [
    "email",
    "recipient",
    "to",
    "from",
    "name",
    "subject",
    "title",
    "message",
    "description",
    "status",
    "state",
    "reason",
    "error",
    "code",
    "bounce_type",
    "severity",
    "amount",
    "total",
    "currency",
    "quantity",
    "plan",
    "product",
    "order_id",
    "invoice_id",
    "customer",
    "company",
    "user",
    "campaign",
    "broadcast_name",
    "list",
    "url",
    "link",
    "message_id",
    "id",
];
/// Maximum number of members that are shown of data without well-known members.
const OTHERS_MAX: usize = 5;

impl Profile {
    /// Renders the notification of an event.
    ///
    /// Title and text are those of the type's Pushover message, if the catalog has one. Otherwise the title is the type's name,
    /// the text is the catalog's description of the type, and the facts are well-known members of `data` and the attributes.
    /// A notice about an endpoint brings its own title and text.
    pub fn notification(&self, event: &EventView<'_>) -> Notification {
        if let Some(NoticeText { title, text }) = NoticeText::of(event) {
            return Notification::new(&title, &text, [], event.occurred_at);
        }
        let name = event.event_type.as_str();
        let info = self.event_type(name);
        let filled = |template: fn(&EventTypeInfo) -> Option<&TextTemplate>| {
            let text = info.and_then(template).map(|template| template.fill(event));
            text.filter(|text| !text.trim().is_empty())
        };
        let title = filled(|info| info.pushover_title.as_ref()).unwrap_or_else(|| name.to_owned());
        if let Some(text) = filled(|info| info.pushover_message.as_ref()) {
            return Notification::new(&title, &text, [], event.occurred_at);
        }
        let text = info.map(|info| info.description.as_str()).unwrap_or_default();
        let data = std::str::from_utf8(event.data).ok().and_then(JsonMembers::parse).unwrap_or_default();
        let mut facts = facts(&data);
        facts.extend(event.attributes.0.iter().map(|(name, value)| (name.as_ref(), Cow::Borrowed(value.as_ref()))));
        Notification::new(&title, text, facts.iter().map(|(name, value)| (*name, value.as_ref())), event.occurred_at)
    }
}

/// Returns the well-known members of `data`, or its first members if none is well known. Only texts, numbers and booleans count.
fn facts<'a>(data: &'a JsonMembers<'_>) -> Vec<(&'a str, Cow<'a, str>)> {
    let known = WELL_KNOWN.iter().filter_map(|name| Some((*name, scalar(data.get(name)?.get())?)));
    let known: Vec<_> = known.collect();
    if !known.is_empty() {
        return known;
    }
    data.iter().filter_map(|(name, value)| Some((name, scalar(value.get())?))).take(OTHERS_MAX).collect()
}
