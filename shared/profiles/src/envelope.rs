//! The envelope of a body: its fields, including `data`.

use postrider_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::json;

/// The format of a time in a body or header.
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
    /// Returns the time as text without quotes.
    pub fn text(self, at: UnixMillis) -> String {
        match self {
            Self::IsoMs => at.to_rfc3339_millis(),
            Self::IsoS => at.to_rfc3339_seconds(),
            Self::UnixS => at.as_seconds().to_string(),
            Self::UnixMs => at.0.to_string(),
        }
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::UnixS | Self::UnixMs)
    }
}

/// The way in which the values of a body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodyStyle {
    /// `data` and `metadata` are sent with the bytes that the producer wrote.
    #[default]
    AsProduced,
    /// Values are written as JavaScript prints them after parsing, for receivers that verify the signature of the parsed body.
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
    /// Returns the kind of a valid JSON value, or `None` for kinds that profiles do not use.
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

/// The source of a field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The event's type.
    Type,
    /// The event type's name in bodies and headers; see [`EventTypeInfo::wire_name`](crate::EventTypeInfo).
    WireType,
    /// The event's id.
    Id,
    /// When the event occurred.
    Timestamp(TimestampFormat),
    /// `data`, unchanged.
    Data,
    /// `metadata`, unchanged.
    Metadata,
    /// A member of `metadata`, unchanged.
    MetadataMember(Box<str>),
    /// An attribute, as a string.
    Attribute(Box<str>),
    /// All members of `data`, in the producer's order, instead of one field.
    FlattenData {
        /// The members that `data` must have, and their kinds.
        required: Vec<(Box<str>, JsonKind)>,
    },
}

/// One field of an envelope. If a field and a flattened member have the same name, only the first of them is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeField {
    /// The field's name; empty for [`Source::FlattenData`].
    pub name: String,
    /// The name as a JSON string, followed by a colon.
    pub(crate) prepared: Box<[u8]>,
    /// The source of the value.
    pub source: Source,
    /// The source that is used if `source` has no value. If neither source has a value, the field is omitted.
    pub default: Option<Source>,
    /// Whether an event without this field is refused.
    pub required: bool,
    /// The kind that its value must have; `None` if the kind is not checked.
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
