//! What a producer may send, read strictly and without building a tree: `data` and `metadata` stay the producer's bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use postrider_model::event::{Attributes, EventType, Origin};
use postrider_model::ids::{EventId, TenantId};
use postrider_model::limits::{EVENT_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, JSON_DEPTH_MAX, METADATA_BYTES_MAX};
use postrider_model::time::UnixMillis;
use postrider_runtime::problem::{FieldError, Problem};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// The JSON of one event, as `POST /v1/publish` and the members of a batch take it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventRequest<'a> {
    #[serde(rename = "type", borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(default)]
    attributes: Option<BTreeMap<Box<str>, Box<str>>>,
    #[serde(default)]
    origin: Option<Origin>,
    #[serde(borrow, default)]
    idempotency_key: Option<Cow<'a, str>>,
}

/// The JSON of `POST /v1/publish/batch`: each member is read on its own, so that one bad member spoils no other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchRequest<'a> {
    /// The events, unread.
    #[serde(borrow)]
    pub(crate) events: Vec<&'a RawValue>,
}

/// How an event got its id, which decides whether repeats must be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdSource {
    /// Made here: it cannot repeat.
    Made,
    /// The producer's id or idempotency key: a repeat is possible and costs a look-up.
    Producer,
}

/// One event that passed every check which needs no configuration.
#[derive(Debug)]
pub(crate) struct CheckedEvent<'a> {
    pub(crate) id: EventId,
    pub(crate) id_source: IdSource,
    pub(crate) event_type: EventType,
    pub(crate) occurred_at: Option<UnixMillis>,
    pub(crate) attributes: Attributes,
    pub(crate) origin: Origin,
    pub(crate) metadata: Option<&'a RawValue>,
    pub(crate) data: &'a RawValue,
}

/// Reads one event.
///
/// `header_key` is the `Idempotency-Key` header of a single publish; members of a batch carry `idempotency_key` instead.
///
/// # Errors
/// A 4xx problem that names the field and what is allowed in it.
pub(crate) fn read_event<'a>(
    tenant: TenantId,
    json: &'a [u8],
    header_key: Option<&str>,
    in_batch: bool,
) -> Result<CheckedEvent<'a>, Problem> {
    if json.len() > EVENT_BYTES_MAX {
        return Err(Problem::payload_too_large(format!(
            "an event has at most {EVENT_BYTES_MAX} bytes, got {}",
            json.len()
        )));
    }
    let request: EventRequest<'a> = postrider_runtime::problem::read_json(json)?;
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, detail: String| errors.push(FieldError::new(pointer, detail));

    let event_type = request.event_type.parse::<EventType>().map_err(|error| wrong("/type", error.to_string())).ok();
    let occurred_at = request
        .timestamp
        .as_deref()
        .and_then(|text| text.parse::<UnixMillis>().map_err(|error| wrong("/timestamp", error.to_string())).ok());
    let attributes = Attributes(request.attributes.unwrap_or_default());
    if let Err(error) = attributes.check() {
        wrong("/attributes", error.to_string());
    }
    if depth(request.data.get()) > JSON_DEPTH_MAX {
        wrong("/data", format!("nested deeper than {JSON_DEPTH_MAX} levels"));
    }
    if let Some(metadata) = request.metadata {
        let text = metadata.get();
        if !text.starts_with('{') {
            wrong("/metadata", "expected an object".into());
        } else if text.len() > METADATA_BYTES_MAX {
            wrong("/metadata", format!("at most {METADATA_BYTES_MAX} bytes, got {}", text.len()));
        } else if depth(text) > JSON_DEPTH_MAX {
            wrong("/metadata", format!("nested deeper than {JSON_DEPTH_MAX} levels"));
        }
    }
    if !in_batch && request.idempotency_key.is_some() {
        wrong("/idempotency_key", "a single publish takes the Idempotency-Key header instead".into());
    }

    let key = header_key.map(Cow::Borrowed).or(request.idempotency_key);
    let id = match (request.id, key) {
        (Some(_), Some(_)) => {
            wrong("/id", "name the event's id or an idempotency key, not both".into());
            None
        }
        (Some(id), None) => id
            .parse::<EventId>()
            .map_err(|error| wrong("/id", error.to_string()))
            .ok()
            .map(|id| (id, IdSource::Producer)),
        (None, Some(key)) if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX => {
            wrong("/idempotency_key", format!("an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes"));
            None
        }
        (None, Some(key)) => Some((EventId::from_idempotency_key(tenant, &key), IdSource::Producer)),
        (None, None) => Some((EventId::generate(), IdSource::Made)),
    };

    match (event_type, id) {
        (Some(event_type), Some((id, id_source))) if errors.is_empty() => Ok(CheckedEvent {
            id,
            id_source,
            event_type,
            occurred_at,
            attributes,
            origin: request.origin.unwrap_or_default(),
            metadata: request.metadata,
            data: request.data,
        }),
        _ => Err(Problem::unprocessable(errors)),
    }
}

impl CheckedEvent<'_> {
    /// What makes the event this event: equal for a repeat, different for another event under the same id.
    /// 128 bits of SHA-256 over every field that the producer sent, in hex.
    pub(crate) fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.event_type.as_str().as_bytes());
        part(self.data.get().as_bytes());
        part(self.metadata.map_or("", RawValue::get).as_bytes());
        part(self.origin.as_str().as_bytes());
        part(&self.occurred_at.map_or(i64::MIN, |at| at.0).to_be_bytes());
        for (name, value) in &self.attributes.0 {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// How deep valid JSON nests: 0 for a scalar, 1 for `{}`.
fn depth(json: &str) -> usize {
    let (mut deepest, mut now, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<CheckedEvent<'_>, Problem> {
        read_event(TenantId::OPERATOR, json.as_bytes(), None, false)
    }

    #[track_caller]
    fn refused(json: &str, pointer: &str) {
        let problem = read(json).expect_err(json);
        let pointers: Vec<&str> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert!(pointers.contains(&pointer), "{json}: {pointers:?}, wanted {pointer}");
    }

    #[test]
    fn data_keeps_the_producers_bytes() {
        let event = read(r#"{"type":"a.b","data":{ "n": 1.00, "n":12345678901234567890123 }}"#).unwrap();
        assert_eq!(event.data.get(), r#"{ "n": 1.00, "n":12345678901234567890123 }"#);
        assert_eq!(event.id_source, IdSource::Made);
    }

    #[test]
    fn each_mistake_is_named_by_its_field() {
        refused(r#"{"type":"a..b","data":{}}"#, "/type");
        refused(r#"{"type":"a","data":{},"timestamp":"yesterday"}"#, "/timestamp");
        refused(r#"{"type":"a","data":{},"id":"a b"}"#, "/id");
        refused(r#"{"type":"a","data":{},"attributes":{"Bridge":"x"}}"#, "/attributes");
        refused(r#"{"type":"a","data":{},"metadata":[]}"#, "/metadata");
        refused(r#"{"type":"a","data":{},"idempotency_key":"k"}"#, "/idempotency_key");
        let deep = format!(r#"{{"type":"a","data":{}{}}}"#, "[".repeat(65), "]".repeat(65));
        refused(&deep, "/data");
        assert!(read(r#"{"type":"a","data":{},"colour":"red"}"#).unwrap_err().detail.contains("colour"));
        assert!(read(r#"{"type":"a"}"#).unwrap_err().detail.contains("data"));
        assert!(read(r#"{"type":"a","data":{}"#).is_err());
    }

    #[test]
    fn a_key_makes_the_id_and_excludes_one() {
        let with_key = |json: &'static str| read_event(TenantId::OPERATOR, json.as_bytes(), Some("order-1"), false);
        let first = with_key(r#"{"type":"a","data":{}}"#).unwrap();
        let again = with_key(r#"{"type":"a","data":{}}"#).unwrap();
        assert_eq!((first.id.clone(), first.content_hash()), (again.id.clone(), again.content_hash()));
        assert_eq!(first.id_source, IdSource::Producer);
        let other = with_key(r#"{"type":"a","data":{"x":1}}"#).unwrap();
        assert_eq!(first.id, other.id);
        assert_ne!(first.content_hash(), other.content_hash());
        assert!(with_key(r#"{"type":"a","data":{},"id":"x"}"#).is_err());
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert_eq!(depth("1"), 0);
        assert_eq!(depth(r#"{"a":"[[[\"[["}"#), 1);
        assert_eq!(depth("[[],[[]]]"), 3);
    }
}
