//! Events, and the checks that all sources and formats share.

pub(crate) mod cloudevents;
pub(crate) mod content;
#[cfg(test)]
pub(crate) mod hostile;
pub(crate) mod json;
mod tenant;
mod window;

use std::borrow::Cow;

use postrider_http::problem::FieldError;
use postrider_model::delivery_window::StatedWindow;
use postrider_model::event::{Attributes, EventType, Origin};
use postrider_model::ids::{EventId, TenantId};
use postrider_model::limits::{IDEMPOTENCY_KEY_BYTES_MAX, JSON_DEPTH_MAX, METADATA_BYTES_MAX};
use postrider_model::time::UnixMillis;
use postrider_store::history::EventRow;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

pub(crate) use self::tenant::EventTenant;
pub(crate) use self::window::RawWindow;

/// An event that was read but not checked.
#[derive(Debug)]
pub(crate) struct RawEvent<'a> {
    pub(crate) event_type: Cow<'a, str>,
    pub(crate) data: Cow<'a, RawValue>,
    pub(crate) id: Option<Cow<'a, str>>,
    /// The idempotency key that the producer sent instead of an id.
    pub(crate) key: Option<Cow<'a, str>>,
    pub(crate) timestamp: Option<Cow<'a, str>>,
    pub(crate) metadata: Option<Cow<'a, RawValue>>,
    pub(crate) attributes: Attributes,
    pub(crate) origin: Origin,
    /// The source of a CloudEvent, which is part of the event's identity.
    pub(crate) source: Option<Cow<'a, str>>,
    pub(crate) window: RawWindow<'a>,
}

/// The origin of an event's id. It determines whether the event can be a repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdSource {
    /// Ingest generated the id, so the event cannot be a repeat.
    Made,
    /// The id is the producer's id, or is derived from the producer's idempotency key. So the event may be a repeat.
    Producer,
}

/// An event that passed all checks that need no configuration.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    /// The tenant that the event belongs to.
    pub(crate) tenant: TenantId,
    pub(crate) id: EventId,
    pub(crate) id_source: IdSource,
    pub(crate) event_type: EventType,
    pub(crate) occurred_at: Option<UnixMillis>,
    pub(crate) attributes: Attributes,
    pub(crate) origin: Origin,
    pub(crate) metadata: Option<Cow<'a, RawValue>>,
    pub(crate) data: Cow<'a, RawValue>,
    /// The source of a CloudEvent.
    pub(crate) source: Option<Cow<'a, str>>,
    /// When its deliveries may be attempted, as the producer stated it.
    pub(crate) window: StatedWindow,
}

/// Checks every field.
///
/// # Errors
/// All invalid fields, as `/type`, `/data` and so on, with the values that are allowed in them.
pub(crate) fn check(tenant: TenantId, fields: RawEvent<'_>) -> Result<Event<'_>, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, detail: String| errors.push(FieldError::new(pointer, detail));

    let event_type = fields.event_type.parse::<EventType>().map_err(|error| wrong("/type", error.to_string())).ok();
    let occurred_at = fields
        .timestamp
        .as_deref()
        .and_then(|text| text.parse::<UnixMillis>().map_err(|error| wrong("/timestamp", error.to_string())).ok());
    if let Err(error) = fields.attributes.check() {
        wrong("/attributes", error.to_string());
    }
    if postrider_model::json::depth(fields.data.get()) > JSON_DEPTH_MAX {
        wrong("/data", format!("nested deeper than {JSON_DEPTH_MAX} levels"));
    }
    if let Some(metadata) = &fields.metadata {
        let text = metadata.get();
        if !text.starts_with('{') {
            wrong("/metadata", "expected an object".into());
        } else if text.len() > METADATA_BYTES_MAX {
            wrong("/metadata", format!("at most {METADATA_BYTES_MAX} bytes, got {}", text.len()));
        } else if postrider_model::json::depth(text) > JSON_DEPTH_MAX {
            wrong("/metadata", format!("nested deeper than {JSON_DEPTH_MAX} levels"));
        }
    }
    let window = fields.window.check(&mut wrong);
    let id = match (fields.id, fields.key) {
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
        (Some(event_type), Some((id, id_source))) if errors.is_empty() => Ok(Event {
            tenant,
            id,
            id_source,
            event_type,
            occurred_at,
            attributes: fields.attributes,
            origin: fields.origin,
            metadata: fields.metadata,
            data: fields.data,
            source: fields.source,
            window,
        }),
        _ => Err(errors),
    }
}

impl<'a> Event<'a> {
    /// Creates an event from a row of the history, for an event whose id ingest generated. Returns `None` if the payload was
    /// expunged.
    pub(crate) fn of_log(row: &'a EventRow) -> Option<Self> {
        let summary = &row.summary;
        Some(Self {
            tenant: summary.tenant,
            id: summary.id.clone(),
            id_source: IdSource::Made,
            event_type: summary.event_type.clone(),
            // If the two times are equal, the producer specified no time.
            occurred_at: Some(summary.occurred_at).filter(|at| *at != summary.accepted_at),
            attributes: summary.attributes.clone(),
            origin: summary.origin,
            metadata: row.metadata.as_deref().map(Cow::Borrowed),
            data: Cow::Borrowed(serde_json::from_slice(row.data.as_ref()?).ok()?),
            source: None,
            window: StatedWindow::default(),
        })
    }
}

/// Returns the first 128 bits of SHA-256 over the parts and their lengths, in hexadecimal digits. The same bytes with other
/// boundaries between the parts have a different hash.
pub(crate) fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_where_one_part_ends() {
        assert_eq!(hash(&[b"ab", b"c"]), hash(&[b"ab", b"c"]));
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
    }
}
