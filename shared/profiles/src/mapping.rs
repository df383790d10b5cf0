//! Mappings: rules that turn a mail server's log records into events, with one file per profile.
//!
//! The log records are KumoMTA's: JSON objects with a `type`, a `timestamp` in seconds and a `recipient`. A mapping defines which
//! log records are events, and their event type, attributes and `data`. It assigns no ids: the caller derives an id from the log
//! record's canonical form, which the mapping returns.

mod file;
mod record;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use postrider_model::event::{Attributes, EventType};
use postrider_model::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use postrider_model::time::UnixMillis;
use serde_json::Value;
use serde_json::value::RawValue;

use self::record::{Source, Taken};
use self::tree::Tree;
use crate::error::ProfileError;
use crate::toml_files::{self, TomlFile};

/// The mapping files in the binary.
const BUILT_IN: [(&str, &str); 2] =
    [("mumara", include_str!("../mappings/mumara.toml")), ("migomail", include_str!("../mappings/migomail.toml"))];

/// All mappings of the deployment, by the name of the profile.
#[derive(Debug, Clone)]
pub struct Mappings(BTreeMap<String, Mapping>);

/// The mapping of one profile. Only [`Mappings`] creates it.
#[derive(Debug, Clone)]
pub struct Mapping {
    rules: Vec<Rule>,
    attributes: BTreeMap<String, Source>,
    data: Vec<Field>,
    metadata: Vec<Field>,
}

/// The event type of some log records. The first rule that matches a log record applies.
#[derive(Debug, Clone)]
struct Rule {
    records: Vec<String>,
    /// Paths in the log record, each with the texts that are allowed at the path.
    when: Vec<(Vec<String>, Vec<String>)>,
    /// `None` if log records that match the rule are not events.
    event_type: Option<EventType>,
}

/// A member of the event's `data` or `metadata`.
#[derive(Debug, Clone)]
struct Field {
    name: Vec<String>,
    /// The types of the events that have the field; empty if all events have the field.
    types: Vec<EventType>,
    source: Source,
}

/// An event that was made from a log record.
#[derive(Debug, Clone)]
pub struct MappedEvent {
    /// Its type.
    pub event_type: EventType,
    /// The log record's time.
    pub occurred_at: UnixMillis,
    /// The attributes by which it can be filtered.
    pub attributes: Attributes,
    /// `data`, a JSON object.
    pub data: Box<RawValue>,
    /// `metadata`, if the mapping defines any.
    pub metadata: Option<Box<RawValue>>,
    /// The log record in a canonical form, which does not depend on whitespace and escapes.
    pub record: String,
    /// The recipient of this event. A log record with several recipients becomes one event for each recipient.
    pub recipient: String,
}

/// Why the bytes are not a log record of KumoMTA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a log record of KumoMTA: {0}")]
pub struct NotARecord(String);

impl Mappings {
    /// Loads the built-in mappings and the mappings of `dir`. Each `<profile>.toml` adds a mapping or replaces a built-in
    /// mapping.
    ///
    /// # Errors
    /// The directory or a file cannot be read, or a file has a mistake; the first mistake is returned.
    pub fn load(dir: Option<&Path>) -> Result<Self, ProfileError> {
        let mut mappings = BTreeMap::new();
        for (name, text) in BUILT_IN {
            mappings.insert(name.to_owned(), file::parse(&format!("{name}.toml (built-in mapping)"), text)?);
        }
        for TomlFile { name, path, text } in toml_files::read(dir)? {
            mappings.insert(name, file::parse(&path, &text)?);
        }
        Ok(Self(mappings))
    }

    /// Returns the mapping for tenants of this profile.
    pub fn get(&self, profile: &str) -> Option<&Mapping> {
        self.0.get(profile)
    }

    /// Returns every mapping with the name of its profile.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Mapping)> {
        self.0.iter().map(|(name, mapping)| (name.as_str(), mapping))
    }
}

impl Mapping {
    /// Returns the event types of all rules.
    pub fn event_types(&self) -> impl Iterator<Item = &EventType> {
        self.rules.iter().filter_map(|rule| rule.event_type.as_ref())
    }

    /// Returns the events of a log record: one per recipient, or none if no rule matches.
    ///
    /// # Errors
    /// The log record is not JSON, has no readable type, time or recipient, or has too many recipients for a batch.
    pub fn events(&self, record: &[u8]) -> Result<Vec<MappedEvent>, NotARecord> {
        let record: Value = serde_json::from_slice(record).map_err(|error| NotARecord(error.to_string()))?;
        let kind = record.get("type").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| NotARecord("`type` is missing or not a string".into()))?;
        let occurred_at = record::time(record.get("timestamp"))
            .ok_or_else(|| NotARecord("`timestamp` is missing or not a time in seconds since 1970".into()))?;
        let recipients = record::recipients(record.get("recipient"))
            .ok_or_else(|| NotARecord("`recipient` is neither a string nor a list of strings".into()))?;
        let rule = self.rules.iter().find(|rule| rule.matches(kind, &record));
        let Some(event_type) = rule.and_then(|rule| rule.event_type.as_ref()) else { return Ok(Vec::new()) };
        let whole = record.to_string();
        if recipients.len() > BATCH_EVENTS_MAX.min(BATCH_BYTES_MAX / whole.len().max(1)) {
            let (recipients, bytes) = (recipients.len(), whole.len());
            let allowed = format!("at most {BATCH_EVENTS_MAX}, and {BATCH_BYTES_MAX} bytes of events");
            return Err(NotARecord(format!("{recipients} recipients of a record of {bytes} bytes: {allowed}")));
        }
        let event = |recipient: String| {
            let mut one = record.clone();
            if let Some(member) = one.get_mut("recipient") {
                *member = Value::String(recipient.clone());
            }
            Ok(MappedEvent {
                event_type: event_type.clone(),
                occurred_at,
                attributes: self.attributes(&one),
                data: render(&self.data, event_type, &one)?.unwrap_or_else(|| RawValue::NULL.to_owned()),
                metadata: if self.metadata.is_empty() { None } else { render(&self.metadata, event_type, &one)? },
                record: whole.clone(),
                recipient,
            })
        };
        recipients.into_iter().map(event).collect()
    }

    fn attributes(&self, record: &Value) -> Attributes {
        let value = |source: &Source| match source.find(record)? {
            Taken::Text(text) => Some(text),
            Taken::Json(value) => record::text(value),
        };
        let found = self.attributes.iter().filter_map(|(name, source)| Some((name, value(source)?)));
        Attributes(found.map(|(name, value)| (name.as_str().into(), value.into())).collect())
    }
}

impl Rule {
    fn matches(&self, kind: &str, record: &Value) -> bool {
        self.records.iter().any(|name| name == kind)
            && self.when.iter().all(|(path, texts)| {
                record::at(record, path).and_then(record::text).is_some_and(|text| texts.contains(&text))
            })
    }
}

fn render(fields: &[Field], event_type: &EventType, record: &Value) -> Result<Option<Box<RawValue>>, NotARecord> {
    let mut tree = Tree::default();
    for field in fields.iter().filter(|field| field.types.is_empty() || field.types.contains(event_type)) {
        match field.source.find(record) {
            Some(Taken::Text(text)) => tree.set(&field.name, Value::String(text).to_string()),
            Some(Taken::Json(value)) => tree.set(&field.name, value.to_string()),
            None => {}
        }
    }
    // Names and values are JSON, so `tree` is JSON too.
    RawValue::from_string(tree.to_json()).map(Some).map_err(|error| NotARecord(error.to_string()))
}
