//! Checks that an event has the fields that its profile's envelope requires.

use postrider_model::json::pointer_token;
use serde_json::value::RawValue;

use crate::envelope::{EnvelopeField, JsonKind, Source};
use crate::event_view::EventView;
use crate::json::JsonMembers;
use crate::profile::Profile;

/// A field of an event that is missing or has the wrong kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct FieldError {
    /// JSON pointer into the published event, such as `/metadata/organization_id`.
    pub pointer: String,
    /// What is wrong, and what is required.
    pub detail: String,
}

impl Profile {
    /// Checks that the event has every required field, and that each field has the kind that the envelope requires. The bytes
    /// must be valid JSON.
    ///
    /// # Errors
    /// All missing fields and all fields of the wrong kind, in the envelope's order.
    pub fn check_event(&self, event: &EventView<'_>) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        let metadata = self.metadata_members(event);
        for field in &self.envelope {
            match &field.source {
                Source::FlattenData { required } => check_flat(event.data, required, &mut errors),
                source => check_field(field, source, event, &metadata, &mut errors),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

fn check_field(
    field: &EnvelopeField,
    source: &Source,
    event: &EventView<'_>,
    metadata: &JsonMembers<'_>,
    errors: &mut Vec<FieldError>,
) {
    let mut complain = |pointer: String, detail: String| errors.push(FieldError { pointer, detail });
    match source {
        Source::MetadataMember(name) => {
            let pointer = || format!("/metadata/{}", pointer_token(name));
            match metadata.get(name) {
                Some(value) => check_kind(field, value.get(), pointer, &mut complain),
                None if field.required => complain(pointer(), required_detail(field)),
                None => {}
            }
        }
        Source::Metadata => match event.metadata {
            Some(value) => check_kind(field, value.get(), || "/metadata".into(), &mut complain),
            None if field.required => complain("/metadata".into(), required_detail(field)),
            None => {}
        },
        Source::Attribute(name) if field.required && event.attributes.get(name).is_none() => {
            complain(format!("/attributes/{}", pointer_token(name)), required_detail(field));
        }
        Source::Data => {
            let text = String::from_utf8_lossy(event.data);
            check_kind(field, &text, || "/data".into(), &mut complain);
        }
        _ => {}
    }
}

fn check_kind(
    field: &EnvelopeField,
    value: &str,
    pointer: impl Fn() -> String,
    complain: &mut impl FnMut(String, String),
) {
    if let Some(kind) = field.kind
        && JsonKind::of(value) != Some(kind)
    {
        complain(pointer(), format!("must be {}", kind.with_article()));
    }
}

fn check_flat(data: &[u8], required: &[(Box<str>, JsonKind)], errors: &mut Vec<FieldError>) {
    let Some(members) = std::str::from_utf8(data).ok().and_then(JsonMembers::parse) else {
        errors.push(FieldError {
            pointer: "/data".into(),
            detail: "must be an object: its members become the body's".into(),
        });
        return;
    };
    for (name, kind) in required {
        let found = members.get(name).map(RawValue::get).and_then(JsonKind::of);
        let detail = match found {
            Some(found) if found == *kind => continue,
            Some(_) => format!("must be {}", kind.with_article()),
            None => format!("is required by the tenant's profile: {}", kind.with_article()),
        };
        errors.push(FieldError { pointer: format!("/data/{}", pointer_token(name)), detail });
    }
}

fn required_detail(field: &EnvelopeField) -> String {
    let kind = field.kind.map_or("a value", JsonKind::with_article);
    format!("is required by the tenant's profile: {kind}, sent as {:?}", field.name)
}
