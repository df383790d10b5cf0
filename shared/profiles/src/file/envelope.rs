//! Reads the sections `envelope` and `batch`.

use postrider_model::event::is_attribute_name;
use toml::Spanned;

use super::TomlDocument;
use super::schema::{Batch, Field, Required};
use crate::batch::BatchEnvelope;
use crate::envelope::{EnvelopeField, Source, TimestampFormat};
use crate::error::ProfileError;

pub(super) fn envelope(
    doc: &TomlDocument<'_>,
    fields: &Spanned<Vec<Spanned<Field>>>,
) -> Result<Vec<EnvelopeField>, ProfileError> {
    let mut envelope: Vec<EnvelopeField> = Vec::new();
    for at in fields.get_ref() {
        let field = envelope_field(doc, at)?;
        if let Some(twin) = envelope.iter().find(|other| other.name == field.name) {
            let detail = match twin.name.as_str() {
                "" => "data is flattened twice".to_owned(),
                name => format!("{name:?} is in the envelope twice"),
            };
            return Err(doc.error(at, "envelope.name", detail));
        }
        envelope.push(field);
    }
    if envelope.is_empty() {
        return Err(doc.error(fields, "envelope", "at least one field"));
    }
    Ok(envelope)
}

pub(super) fn batch(doc: &TomlDocument<'_>, batch: Batch) -> Result<BatchEnvelope, ProfileError> {
    if let Some(member) = &batch.member {
        let name = member.get_ref();
        let legal = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !legal || !(1..=64).contains(&name.len()) {
            return Err(doc.error(member, "batch.member", "1 to 64 of A-Z a-z 0-9 _ -"));
        }
    }
    Ok(BatchEnvelope { items: batch.items, member: batch.member.map(Spanned::into_inner) })
}

fn envelope_field(doc: &TomlDocument<'_>, at: &Spanned<Field>) -> Result<EnvelopeField, ProfileError> {
    let field = at.get_ref();
    if let Some(flatten) = &field.flatten {
        let alone = field.name.is_none() && field.from.is_none() && field.format.is_none();
        if flatten.get_ref() != "data" || !alone || field.default.is_some() || field.kind.is_some() {
            return Err(doc.error(flatten, "envelope.flatten", "flatten = \"data\" stands alone or beside required"));
        }
        let required = match field.required.as_ref().map(Spanned::get_ref) {
            None => Vec::new(),
            Some(Required::Members(members)) => {
                members.iter().map(|(name, kind)| (name.as_str().into(), *kind)).collect()
            }
            Some(Required::Flag(_)) => {
                let detail = "for flattened data, give a table of fields and kinds, such as { email = \"string\" }";
                return Err(doc.error(at, "envelope.required", detail));
            }
        };
        return Ok(EnvelopeField::new(String::new(), Source::FlattenData { required }));
    }
    let name = match &field.name {
        Some(name) if !name.get_ref().is_empty() => name.get_ref().clone(),
        _ => return Err(doc.error(at, "envelope.name", "a field needs a name")),
    };
    let from = field.from.as_ref().ok_or_else(|| doc.error(at, "envelope.from", format!("{name:?} needs a source")))?;
    let format = field.format.as_ref().map(|format| *format.get_ref());
    let source = |from: &Spanned<String>, key: &str| {
        let source = source(from.get_ref(), format.unwrap_or_default());
        source.ok_or_else(|| doc.error(from, key, SOURCES))
    };
    let mut checked = EnvelopeField::new(name, source(from, "envelope.from")?);
    if let Some(at) = field.format.as_ref().filter(|_| !matches!(checked.source, Source::Timestamp(_))) {
        return Err(doc.error(at, "envelope.format", "only a timestamp has a format"));
    }
    checked.default = field.default.as_ref().map(|from| source(from, "envelope.default")).transpose()?;
    checked.kind = field.kind.as_ref().map(|kind| *kind.get_ref());
    checked.required = match field.required.as_ref() {
        None => false,
        Some(required) => match required.get_ref() {
            Required::Flag(flag) => *flag,
            Required::Members(_) => return Err(doc.error(required, "envelope.required", "true or false")),
        },
    };
    if checked.required && checked.default.is_some() {
        return Err(doc.error(at, "envelope.required", "a field with a default is never missing"));
    }
    if let Some(kind) = field.kind.as_ref() {
        let checkable = matches!(checked.source, Source::Data | Source::Metadata | Source::MetadataMember(_));
        if !checkable {
            return Err(doc.error(kind, "envelope.kind", "only data, metadata and its members have kinds to check"));
        }
    }
    Ok(checked)
}

const SOURCES: &str = "type, wire_type, id, timestamp, data, metadata, metadata.<member> or attributes.<name>";

fn source(from: &str, format: TimestampFormat) -> Option<Source> {
    Some(match from {
        "type" => Source::Type,
        "wire_type" => Source::WireType,
        "id" => Source::Id,
        "timestamp" => Source::Timestamp(format),
        "data" => Source::Data,
        "metadata" => Source::Metadata,
        _ => match from.split_once('.')? {
            ("metadata", member) if !member.is_empty() => Source::MetadataMember(member.into()),
            ("attributes", name) if is_attribute_name(name) => Source::Attribute(name.into()),
            _ => return None,
        },
    })
}
