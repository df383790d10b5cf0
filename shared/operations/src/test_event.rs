//! The sample event that a test call sends.

use postrider_model::delivery::BodyKind;
use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::EventId;
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, Profile, TestEvent};
use postrider_store::config::TenantEventType;
use serde_json::value::RawValue;

/// The event of a test call, and the id that its body shows.
pub(crate) struct TestBody {
    event: TestEvent,
    body_id: EventId,
    pub(crate) occurred_at: UnixMillis,
    accepted_at: UnixMillis,
}

impl TestBody {
    /// Returns the test event of a type, created at `created_at`. The same arguments give the same body. `definition` is the
    /// tenant's own definition of the type, if there is one. Returns `None` if there is no such type.
    pub(crate) fn of(
        profile: &Profile,
        event_type: Option<&EventType>,
        definition: Option<&TenantEventType>,
        id: &EventId,
        created_at: UnixMillis,
        accepted_at: UnixMillis,
    ) -> Option<Self> {
        let sample = definition.and_then(|own| RawValue::from_string(own.draft.sample.clone()?).ok());
        let event = match (definition, sample, profile.test_event(event_type)) {
            (Some(own), Some(sample), _) => profile.test_event_of(&own.name, sample),
            (_, _, Some(event)) => event,
            (Some(own), None, None) => profile.test_event_of(&own.name, RawValue::from_string("{}".into()).ok()?),
            (None, ..) => return None,
        };
        let body_id = event.body_id.clone().unwrap_or_else(|| id.clone());
        let occurred_at = event.occurred_at.unwrap_or(created_at);
        Some(Self { event, body_id, occurred_at, accepted_at })
    }

    /// Replaces the sample's `data`. The other fields, such as a mark that the event is a test, remain.
    #[must_use]
    pub(crate) fn with_data(mut self, data: Box<RawValue>) -> Self {
        self.event.data = data;
        self
    }

    pub(crate) fn event_type(&self) -> &EventType {
        &self.event.event_type
    }

    /// `data`, as JSON.
    pub(crate) fn data(&self) -> &RawValue {
        &self.event.data
    }

    /// The event with these attributes, for checks and rendering.
    pub(crate) fn view<'a>(&'a self, attributes: &'a Attributes) -> EventView<'a> {
        EventView {
            id: &self.body_id,
            event_type: &self.event.event_type,
            occurred_at: self.occurred_at,
            accepted_at: self.accepted_at,
            attributes,
            metadata: self.event.metadata.as_deref(),
            data: self.event.data.get().as_bytes(),
        }
    }

    pub(crate) fn render(&self, profile: &Profile, kind: BodyKind) -> Vec<u8> {
        profile.render(&self.view(&Attributes::default()), kind)
    }
}
