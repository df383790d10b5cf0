//! Reads the text of notices about endpoints, which every profile shows alike.

use postrider_model::notice::Audience;
use serde::Deserialize;

use crate::event_view::EventView;

/// The readable part of a notice's `data`.
#[derive(Debug, Deserialize)]
pub(super) struct NoticeText {
    pub(super) title: String,
    pub(super) text: String,
}

impl NoticeText {
    /// Returns the text of a notice; `None` if the event is not a notice.
    pub(super) fn of(event: &EventView<'_>) -> Option<Self> {
        if Audience::of(event.attributes) == Audience::Subscribers {
            return None;
        }
        serde_json::from_slice(event.data).ok()
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::event::Attributes;
    use postrider_model::ids::{EndpointId, EventId};
    use postrider_model::notice::addressed_to;
    use postrider_model::time::UnixMillis;

    use super::*;
    use crate::Profiles;

    #[test]
    fn a_notice_shows_its_own_title_and_text() {
        let (id, event_type) = (EventId::generate(), "endpoint.failing".parse().unwrap());
        let plain = Attributes::default();
        let (notice, data) =
            (addressed_to(EndpointId::generate()), r#"{"title":"hook is failing","text":"a\nb","failures":5}"#);
        let view = |attributes, data: &'static str| EventView {
            id: &id,
            event_type: &event_type,
            occurred_at: UnixMillis(0),
            accepted_at: UnixMillis(0),
            attributes,
            metadata: None,
            data: data.as_bytes(),
        };
        for profile in Profiles::builtin().iter() {
            let shown = profile.notification(&view(&notice, data));
            assert_eq!((shown.title.as_str(), shown.text.as_str()), ("hook is failing", "a\nb"));
            assert_eq!(shown.facts, []);
            let pushover = profile.pushover(&view(&notice, data));
            assert_eq!((pushover.title.as_str(), pushover.message.as_str()), ("hook is failing", "a\nb"));
        }
        let standard = Profiles::builtin();
        let standard = standard.get("standard").unwrap();
        assert_eq!(standard.notification(&view(&plain, data)).title, "endpoint.failing");
        assert_eq!(standard.notification(&view(&notice, "[]")).title, "endpoint.failing");
    }
}
