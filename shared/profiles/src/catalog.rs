//! What a product says about its event types: names, samples, origins, the test event.

use postrider_model::event::{EventType, Origin};
use postrider_model::ids::EventId;
use postrider_model::subscription::TypePattern;
use postrider_model::time::UnixMillis;
use serde_json::value::RawValue;

use crate::profile::Profile;
use crate::pushover::TextTemplate;

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
    /// What a Pushover message of it is headed with; `None`: its name.
    pub pushover_title: Option<TextTemplate>,
    /// What a Pushover message of it says; `None`: its name.
    pub pushover_message: Option<TextTemplate>,
}

/// Which origins fire for which types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRule {
    /// The types.
    pub types: Vec<TypePattern>,
    /// The origins that fire; the others are accepted and matched with nothing.
    pub fire: Vec<Origin>,
}

/// What a test call sends: an event that did not happen.
#[derive(Debug, Clone)]
pub struct TestEvent {
    /// Its type.
    pub event_type: EventType,
    /// The id that the body shows, where the product documents one; log and `webhook-id` carry a fresh one all the same.
    pub body_id: Option<EventId>,
    /// When it says it occurred; `None`: now.
    pub occurred_at: Option<UnixMillis>,
    /// `metadata`, a JSON object.
    pub metadata: Option<Box<RawValue>>,
    /// `data`, a JSON object.
    pub data: Box<RawValue>,
}

impl Profile {
    /// Whether an event of this type and origin is delivered at all.
    pub fn origin_fires(&self, event_type: &EventType, origin: Origin) -> bool {
        let rule = self.origins.iter().find(|rule| rule.types.iter().any(|pattern| pattern.matches(event_type)));
        rule.is_none_or(|rule| rule.fire.contains(&origin))
    }

    /// What a test call sends of a type that has a sample beside the catalog's: this `data`, and whatever metadata the
    /// product's samples have.
    pub fn test_event_of(&self, event_type: &EventType, data: Box<RawValue>) -> TestEvent {
        let known = self.event_type(event_type.as_str()).or(self.catalog.first());
        let metadata = match known {
            Some(info) => info.sample_metadata.clone(),
            None => self.sample.as_ref().and_then(|sample| sample.metadata.clone()),
        };
        TestEvent { event_type: event_type.clone(), body_id: None, occurred_at: None, metadata, data }
    }

    /// What a test call sends: of the chosen type, else the product's documented test event, else its first type.
    /// `None` when the product has no such type.
    pub fn test_event(&self, event_type: Option<&EventType>) -> Option<TestEvent> {
        let fixed = self.test_event.as_ref().filter(|test| event_type.is_none_or(|wanted| *wanted == test.event_type));
        if let Some(fixed) = fixed {
            return Some(fixed.clone());
        }
        let known = match event_type {
            Some(wanted) => self.event_type(wanted.as_str()),
            None => self.catalog.first(),
        };
        match known {
            Some(info) => Some(TestEvent {
                event_type: info.name.clone(),
                body_id: None,
                occurred_at: None,
                metadata: info.sample_metadata.clone(),
                data: info.sample.clone(),
            }),
            None if self.open_catalog => {
                let mut test = self.sample.clone()?;
                if let Some(wanted) = event_type {
                    test.event_type = wanted.clone();
                }
                Some(test)
            }
            None => None,
        }
    }
}
