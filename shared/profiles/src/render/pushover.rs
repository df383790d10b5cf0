//! Renders Pushover messages.

use postrider_model::pushover::PushoverMessage;

use crate::catalog::EventTypeInfo;
use crate::event_view::EventView;
use crate::profile::Profile;
use crate::render::notice::NoticeText;
use crate::text_template::TextTemplate;

impl Profile {
    /// Renders the Pushover message of an event. If a title or text has no template, or if the filled template is blank, the
    /// event type's name is used. A notice about an endpoint brings its own title and text.
    pub fn pushover(&self, event: &EventView<'_>) -> PushoverMessage {
        let seconds = event.occurred_at.0.div_euclid(1_000);
        if let Some(NoticeText { title, text }) = NoticeText::of(event) {
            return PushoverMessage::new(&title, &text, seconds);
        }
        let name = event.event_type.as_str();
        let info = self.event_type(name);
        let filled = |template: fn(&EventTypeInfo) -> Option<&TextTemplate>| {
            let text = info.and_then(template).map(|template| template.fill(event)).unwrap_or_default();
            if text.trim().is_empty() { name.to_owned() } else { text }
        };
        let title = filled(|info| info.pushover_title.as_ref());
        let message = filled(|info| info.pushover_message.as_ref());
        PushoverMessage::new(&title, &message, seconds)
    }
}
