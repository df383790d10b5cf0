//! Renders a product's headers.

use postrider_model::event::EventType;
use postrider_model::ids::EventId;
use postrider_model::time::UnixMillis;

use crate::header::HeaderValue;
use crate::profile::Profile;

/// The parts of a delivery that header templates use.
#[derive(Debug, Clone, Copy)]
pub struct HeaderContext<'a> {
    /// The event's id, or that of the batch.
    pub id: &'a EventId,
    /// Its type; `None` for a batch with events of several types.
    pub event_type: Option<&'a EventType>,
    /// When it occurred, or the first event of the batch.
    pub occurred_at: UnixMillis,
}

impl Profile {
    /// Returns the product's own headers of a delivery, in the profile's order, without its signature and `User-Agent`. A batch
    /// with events of several types has no headers with the event type.
    pub fn headers<'a>(&'a self, context: &HeaderContext<'_>) -> impl Iterator<Item = (&'a str, String)> {
        self.headers.iter().filter_map(move |header| {
            let value = match &header.value {
                HeaderValue::Constant(text) => text.clone(),
                HeaderValue::Type => context.event_type?.to_string(),
                HeaderValue::WireType => self.wire_name(context.event_type?).to_owned(),
                HeaderValue::Id => context.id.to_string(),
                HeaderValue::Timestamp(format) => format.text(context.occurred_at),
            };
            Some((header.name.as_str(), value))
        })
    }
}
