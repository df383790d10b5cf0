//! Envelopes: the fields of a body around `data`.

use postrider_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::json;

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

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::UnixS | Self::UnixMs)
    }
}

/// How the values of a body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodyStyle {
    /// `data` and `metadata` as the producer wrote them.
    #[default]
    AsProduced,
    /// As JavaScript prints them after parsing, for receivers that verify the signature over what they parsed.
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
    /// The kind of a valid JSON value; `None` for kinds that profiles do not use.
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
    /// The type's name on the wire.
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
    /// An attribute, a string.
    Attribute(Box<str>),
    /// All members of `data` instead of one field, in the producer's order.
    FlattenData {
        /// The members that `data` must have, and their kinds.
        required: Vec<(Box<str>, JsonKind)>,
    },
}

/// One field of an envelope. A name that was already written is skipped: of a field and a flattened member with the same
/// name, the first counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeField {
    /// The field's name; empty for [`Source::FlattenData`].
    pub name: String,
    /// The name as JSON, with quotes and colon.
    pub(crate) prepared: Box<[u8]>,
    /// Where the value comes from.
    pub source: Source,
    /// The source when the first has nothing. Without one the field is left out.
    pub default: Option<Source>,
    /// Whether an event without it is refused.
    pub required: bool,
    /// The kind of its value, if checked.
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
