//! Envelopes: the fields around `data`, and the rendering of bodies.
//!
//! A body is compact JSON, written straight into one buffer: names are escaped when the profile is loaded, `data`
//! and `metadata` are copied as the producer wrote them.

use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::EventId;
use postrider_model::time::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::json::number::Printer;
use crate::json::{self, Members};
use crate::profile::Profile;

/// How a point in time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampFormat {
    /// `"2025-01-30T12:34:56.789Z"`
    #[default]
    IsoMs,
    /// `"2025-01-30T12:34:56Z"`
    IsoS,
    /// `1738240496`
    UnixS,
    /// `1738240496789`
    UnixMs,
}

impl TimestampFormat {
    /// The point in time as text, without quotes.
    pub fn text(self, at: UnixMillis) -> String {
        match self {
            Self::IsoMs => at.to_rfc3339_millis(),
            Self::IsoS => at.to_rfc3339_seconds(),
            Self::UnixS => at.as_seconds().to_string(),
            Self::UnixMs => at.0.to_string(),
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::UnixS | Self::UnixMs)
    }
}

/// How a body is written, once its fields are in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodyStyle {
    /// `data` and `metadata` as the producer wrote them.
    #[default]
    AsProduced,
    /// As JavaScript prints it after parsing it, for receivers that verify the signature over what they parsed.
    JsStable,
}

/// A kind of JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonKind {
    /// `"…"`
    String,
    /// `1`
    Number,
    /// `{…}`
    Object,
}

impl JsonKind {
    /// The kind of a valid JSON value; `None` for the kinds that no profile asks for.
    pub(crate) fn of(value: &str) -> Option<Self> {
        match value.trim_ascii_start().bytes().next()? {
            b'"' => Some(Self::String),
            b'{' => Some(Self::Object),
            b'-' | b'0'..=b'9' => Some(Self::Number),
            _ => None,
        }
    }

    pub(crate) fn with_article(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Number => "a number",
            Self::Object => "an object",
        }
    }
}

/// Where a field's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The event's type.
    Type,
    /// The name its type has on the wire.
    WireType,
    /// The event's id.
    Id,
    /// When the event occurred.
    Timestamp(TimestampFormat),
    /// `data`, as it is.
    Data,
    /// `metadata`, as it is.
    Metadata,
    /// One member of `metadata`, as it is.
    MetadataMember(Box<str>),
    /// One of the event's attributes, a string.
    Attribute(Box<str>),
    /// No field but all members of `data`, in the producer's order.
    FlattenData {
        /// The members that `data` must have, and of which kind.
        required: Vec<(Box<str>, JsonKind)>,
    },
}

/// One field of an envelope. A name that was already written is skipped, so that of an envelope's field and a
/// flattened member of the same name the first stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeField {
    /// The field's name; empty for [`Source::FlattenData`].
    pub name: String,
    /// The name as JSON, with quotes and colon.
    pub(crate) prepared: Box<[u8]>,
    /// Where the value comes from.
    pub source: Source,
    /// What stands there when the source has nothing; without one the field is left out.
    pub default: Option<Source>,
    /// Whether an event that lacks it is refused.
    pub required: bool,
    /// The kind of value it must be.
    pub kind: Option<JsonKind>,
}

impl EnvelopeField {
    pub(crate) fn new(name: String, source: Source) -> Self {
        let mut prepared = Vec::new();
        json::write_string(&mut prepared, &name);
        prepared.push(b':');
        Self { name, prepared: prepared.into(), source, default: None, required: false, kind: None }
    }
}

/// An event as rendering sees it. `data` and `metadata` must be valid JSON; ingest saw to that.
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
    /// What the product puts beside `data`, a JSON object.
    pub metadata: Option<&'a RawValue>,
    /// The producer's bytes.
    pub data: &'a [u8],
}

impl Profile {
    /// The body of a delivery. `ascii_json` escapes what is not printable ASCII, and writes the numbers of a stable body as
    /// Python prints them: for receivers that re-serialise with Python.
    pub fn render(&self, event: &EventView<'_>, ascii_json: bool) -> Vec<u8> {
        let mut body = Body { out: Vec::with_capacity(event.data.len() + 512), fields: 0 };
        let metadata = Members::of_metadata(self, event);
        let flat = self.flattened(event);
        for (index, field) in self.envelope.iter().enumerate() {
            match (&field.source, &flat) {
                (Source::FlattenData { .. }, Some(flat)) => {
                    let before = &self.envelope[..index];
                    for (name, value) in flat.iter().filter(|(name, _)| before.iter().all(|f| f.name != *name)) {
                        body.separate();
                        json::write_string(&mut body.out, name);
                        body.out.push(b':');
                        body.out.extend_from_slice(value.get().as_bytes());
                    }
                }
                (Source::FlattenData { .. }, None) => {}
                (_, Some(flat)) if self.is_after_flatten(index) && flat.get(&field.name).is_some() => {}
                _ => {
                    let sources = std::iter::once(&field.source).chain(&field.default);
                    for source in sources {
                        if self.write_field(&mut body, &field.prepared, source, event, &metadata) {
                            break;
                        }
                    }
                }
            }
        }
        if body.fields == 0 {
            body.out.push(b'{');
        }
        body.out.push(b'}');
        let printer = if ascii_json { Printer::Python } else { Printer::JavaScript };
        let out = match self.body {
            BodyStyle::AsProduced => body.out,
            BodyStyle::JsStable => json::stable(&String::from_utf8_lossy(&body.out), printer),
        };
        if ascii_json { json::to_ascii(out) } else { out }
    }

    /// The members of `data` when the envelope splices them.
    fn flattened<'a>(&self, event: &EventView<'a>) -> Option<Members<'a>> {
        self.envelope.iter().find(|field| matches!(field.source, Source::FlattenData { .. }))?;
        std::str::from_utf8(event.data).ok().and_then(Members::parse)
    }

    fn is_after_flatten(&self, index: usize) -> bool {
        self.envelope[..index].iter().any(|field| matches!(field.source, Source::FlattenData { .. }))
    }

    /// Writes one field; false when the event has nothing for it.
    fn write_field(
        &self,
        body: &mut Body,
        prepared: &[u8],
        source: &Source,
        event: &EventView<'_>,
        metadata: &Members<'_>,
    ) -> bool {
        let mut raw = |value: &[u8]| {
            body.separate();
            body.out.extend_from_slice(prepared);
            body.out.extend_from_slice(value);
            true
        };
        match source {
            Source::Data => raw(event.data),
            Source::Metadata => event.metadata.is_some_and(|value| raw(value.get().as_bytes())),
            Source::MetadataMember(name) => metadata.get(name).is_some_and(|value| raw(value.get().as_bytes())),
            Source::Timestamp(format) if format.is_number() => raw(format.text(event.occurred_at).as_bytes()),
            Source::Timestamp(format) => body.text(prepared, &format.text(event.occurred_at)),
            Source::Type => body.text(prepared, event.event_type.as_str()),
            Source::WireType => body.text(prepared, self.wire_name(event.event_type)),
            Source::Id => body.text(prepared, event.id.as_str()),
            Source::Attribute(name) => event.attributes.get(name).is_some_and(|value| body.text(prepared, value)),
            Source::FlattenData { .. } => false,
        }
    }
}

/// A JSON object being written.
struct Body {
    out: Vec<u8>,
    fields: usize,
}

impl Body {
    fn separate(&mut self) {
        self.out.push(if self.fields == 0 { b'{' } else { b',' });
        self.fields += 1;
    }

    fn text(&mut self, prepared: &[u8], value: &str) -> bool {
        self.separate();
        self.out.extend_from_slice(prepared);
        json::write_string(&mut self.out, value);
        true
    }
}
