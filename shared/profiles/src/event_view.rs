//! An event as profiles see it.

use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::EventId;
use postrider_model::time::UnixMillis;
use serde_json::value::RawValue;

/// An event. `data` and `metadata` must be valid JSON; ingest has checked that.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    /// The event.
    pub id: &'a EventId,
    /// Its type.
    pub event_type: &'a EventType,
    /// When it happened.
    pub occurred_at: UnixMillis,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// What it can be filtered by.
    pub attributes: &'a Attributes,
    /// What the product sends next to `data`, a JSON object.
    pub metadata: Option<&'a RawValue>,
    /// The producer's bytes.
    pub data: &'a [u8],
}
