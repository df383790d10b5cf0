//! The parts of an event that profiles render.

use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::EventId;
use postrider_model::time::UnixMillis;
use serde_json::value::RawValue;

/// An event to render. `data` and `metadata` must be valid JSON, which ingest has checked.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    /// The event's id.
    pub id: &'a EventId,
    /// Its type.
    pub event_type: &'a EventType,
    /// When it happened.
    pub occurred_at: UnixMillis,
    /// When ingest accepted it.
    pub accepted_at: UnixMillis,
    /// The attributes by which it can be filtered.
    pub attributes: &'a Attributes,
    /// `metadata`, a JSON object.
    pub metadata: Option<&'a RawValue>,
    /// `data`, with the bytes that the producer wrote.
    pub data: &'a [u8],
}
