//! A product's event types: names, samples, origins, the test event.

use postrider_model::event::{EventType, Origin};
use postrider_model::ids::EventId;
use postrider_model::subscription::TypePattern;
use postrider_model::time::UnixMillis;
use serde_json::value::RawValue;

use crate::text_template::TextTemplate;

/// One type of a catalog.
#[derive(Debug, Clone)]
pub struct EventTypeInfo {
    /// The name that producers publish and customers select.
    pub name: EventType,
    /// The name on the wire, where it differs.
    pub wire_name: Option<String>,
    /// For people.
    pub description: String,
    /// An example of `data`, a JSON object.
    pub sample: Box<RawValue>,
    /// An example of `metadata`, a JSON object.
    pub sample_metadata: Option<Box<RawValue>>,
    /// The title of its Pushover message; `None`: its name.
    pub pushover_title: Option<TextTemplate>,
    /// The text of its Pushover message; `None`: its name.
    pub pushover_message: Option<TextTemplate>,
}

/// The origins whose events are delivered, for some types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRule {
    /// The types.
    pub types: Vec<TypePattern>,
    /// Events of these origins are delivered; others are accepted and match no endpoint.
    pub fire: Vec<Origin>,
}

/// The event of a test call. It did not happen.
#[derive(Debug, Clone)]
pub struct TestEvent {
    /// Its type.
    pub event_type: EventType,
    /// The id in the body, if the product documents one. The history and `webhook-id` have a generated id in any case.
    pub body_id: Option<EventId>,
    /// When it occurred; `None`: now.
    pub occurred_at: Option<UnixMillis>,
    /// `metadata`, a JSON object.
    pub metadata: Option<Box<RawValue>>,
    /// `data`, a JSON object.
    pub data: Box<RawValue>,
}

impl TestEvent {
    /// An event with a generated id that occurs now.
    pub(crate) fn generic(event_type: EventType, data: Box<RawValue>, metadata: Option<Box<RawValue>>) -> Self {
        Self { event_type, body_id: None, occurred_at: None, metadata, data }
    }
}
