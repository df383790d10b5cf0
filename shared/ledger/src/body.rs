//! Bodies of recorded events.

use postrider_profiles::EventView;
use postrider_store::history::EventRow;

/// The input for rendering a recorded event; `None` if the event's payload was expunged.
pub fn view(event: &EventRow) -> Option<EventView<'_>> {
    let summary = &event.summary;
    Some(EventView {
        id: &summary.id,
        event_type: &summary.event_type,
        occurred_at: summary.occurred_at,
        accepted_at: summary.accepted_at,
        attributes: &summary.attributes,
        metadata: event.metadata.as_deref(),
        data: event.data.as_ref()?,
    })
}
