//! Renders the parts of a delivery: the body, the product's headers, and the messages for people.

mod envelope;
mod headers;
mod notice;
mod notification;
mod pushover;

use postrider_model::delivery::BodyKind;

use crate::event_view::EventView;
use crate::json::number::Printer;
use crate::profile::Profile;

pub use headers::HeaderContext;

impl Profile {
    /// Renders the body of a delivery in the format that the endpoint uses.
    pub fn render(&self, event: &EventView<'_>, kind: BodyKind) -> Vec<u8> {
        match kind {
            BodyKind::Json => self.render_envelope(event, Printer::JavaScript),
            BodyKind::AsciiJson => self.render_envelope(event, Printer::Python),
            // The message consists of two strings and a number, so serializing it cannot fail.
            BodyKind::Pushover => serde_json::to_vec(&self.pushover(event)).unwrap_or_default(),
            // The same holds for a notification, which consists of strings.
            BodyKind::Notification => serde_json::to_vec(&self.notification(event)).unwrap_or_default(),
        }
    }
}
