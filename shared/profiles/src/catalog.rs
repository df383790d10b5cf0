//! A product's event types: names, samples, origins, and the test event.

use postrider_model::event::{EventType, Origin};
use postrider_model::ids::EventId;
use postrider_model::subscription::TypePattern;
use postrider_model::time::UnixMillis;
use serde_json::value::RawValue;

use crate::text_template::TextTemplate;

/// One event type of a catalog.
#[derive(Debug, Clone)]
pub struct EventTypeInfo {
    /// The name that producers publish and customers select.
    pub name: EventType,
    /// The name in bodies and headers, if it differs.
    pub wire_name: Option<String>,
    /// A description for people.
    pub description: String,
    /// An example of `data`, a JSON object.
    pub sample: Box<RawValue>,
    /// An example of `metadata`, a JSON object.
    pub sample_metadata: Option<Box<RawValue>>,
    /// The template of its Pushover title; if `None`, the title is the type's name.
    pub pushover_title: Option<TextTemplate>,
    /// The template of its Pushover text; if `None`, the text is the type's name.
    pub pushover_message: Option<TextTemplate>,
}

/// The origins whose events are delivered, for some event types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRule {
    /// The event types of the rule.
    pub types: Vec<TypePattern>,
    /// Events of these origins are delivered. Events of other origins are accepted, but not delivered to any endpoint.
    pub fire: Vec<Origin>,
}

/// The event of a test call. It exists only for the test.
#[derive(Debug, Clone)]
pub struct TestEvent {
    /// Its type.
    pub event_type: EventType,
    /// The id in the body, if the product documents one. `webhook-id` and the history have a generated id in any case.
    pub body_id: Option<EventId>,
    /// When it occurred; `None` for the time of the call.
    pub occurred_at: Option<UnixMillis>,
    /// `metadata`, a JSON object.
    pub metadata: Option<Box<RawValue>>,
    /// `data`, a JSON object.
    pub data: Box<RawValue>,
}

impl TestEvent {
    /// Creates an event with a generated id that occurs at the time of the call.
    pub(crate) fn generic(event_type: EventType, data: Box<RawValue>, metadata: Option<Box<RawValue>>) -> Self {
        Self { event_type, body_id: None, occurred_at: None, metadata, data }
    }
}
