//! Reads a mapping file: its schema, and the checks that build a [`Mapping`].

use std::collections::BTreeMap;

use postrider_model::event::{EventType, is_attribute_name};
use serde::Deserialize;
use toml::Spanned;

use super::record::{Source, Take};
use super::{Field, Mapping, Rule};
use crate::error::ProfileError;
use crate::file::TomlDocument;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    description: Spanned<String>,
    events: Spanned<Vec<EventEntry>>,
    #[serde(default)]
    attributes: BTreeMap<Spanned<String>, SourceEntry>,
    #[serde(default)]
    data: Vec<FieldEntry>,
    #[serde(default)]
    metadata: Vec<FieldEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventEntry {
    records: Spanned<Vec<String>>,
    #[serde(default)]
    when: BTreeMap<Spanned<String>, Vec<String>>,
    r#type: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceEntry {
    from: Spanned<Vec<String>>,
    take: Option<Take>,
    map: Option<BTreeMap<String, String>>,
    default: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldEntry {
    name: Spanned<String>,
    types: Option<Spanned<Vec<String>>>,
    from: Spanned<Vec<String>>,
    take: Option<Take>,
    map: Option<BTreeMap<String, String>>,
    default: Option<String>,
}

/// Reads a mapping file.
pub(super) fn parse(file: &str, text: &str) -> Result<Mapping, ProfileError> {
    let doc = TomlDocument { file, text };
    let file: File = toml::from_str(text).map_err(|error| doc.unreadable(&error))?;
    if file.description.get_ref().is_empty() {
        return Err(doc.error(&file.description, "description", "must not be empty"));
    }
    if file.events.get_ref().is_empty() {
        return Err(doc.error(&file.events, "events", "at least one"));
    }
    let rules = file.events.get_ref().iter().map(|entry| rule(&doc, entry)).collect::<Result<Vec<_>, _>>()?;
    let mut attributes = BTreeMap::new();
    for (name, entry) in file.attributes {
        if !is_attribute_name(name.get_ref()) {
            return Err(doc.error(
                &name,
                "attributes",
                "an attribute is named by a-z 0-9 _ -, beginning with a letter",
            ));
        }
        let source = source(&doc, "attributes.from", &entry.from, entry.take, entry.map, entry.default)?;
        attributes.insert(name.into_inner(), source);
    }
    let data = fields(&doc, "data", file.data, &rules)?;
    let metadata = fields(&doc, "metadata", file.metadata, &rules)?;
    Ok(Mapping { rules, attributes, data, metadata })
}

fn rule(doc: &TomlDocument<'_>, entry: &EventEntry) -> Result<Rule, ProfileError> {
    if entry.records.get_ref().is_empty() || entry.records.get_ref().iter().any(String::is_empty) {
        return Err(doc.error(&entry.records, "events.records", "names of record types, at least one"));
    }
    let mut when = Vec::new();
    for (at, texts) in &entry.when {
        if texts.is_empty() {
            return Err(doc.error(at, "events.when", "at least one text that the record may have there"));
        }
        when.push((path(doc, "events.when", at, at.get_ref())?, texts.clone()));
    }
    let event_type = entry.r#type.as_ref().map(|at| doc.parsed(at, "events.type")).transpose()?;
    Ok(Rule { records: entry.records.get_ref().clone(), when, event_type })
}

fn fields(
    doc: &TomlDocument<'_>,
    section: &str,
    entries: Vec<FieldEntry>,
    rules: &[Rule],
) -> Result<Vec<Field>, ProfileError> {
    let mut fields: Vec<Field> = Vec::new();
    for entry in entries {
        let named = |member: &str| format!("{section}.{member}");
        let name = path(doc, &named("name"), &entry.name, entry.name.get_ref())?;
        let within =
            |other: &Field| other.name != name && (other.name.starts_with(&name) || name.starts_with(&other.name));
        if fields.iter().any(within) {
            let detail = "another field is inside of this one, or this one inside of another";
            return Err(doc.error(&entry.name, &named("name"), detail));
        }
        let mut types = Vec::new();
        if let Some(listed) = &entry.types {
            for text in listed.get_ref() {
                let event_type: EventType = text.parse().map_err(|error| doc.error(listed, &named("types"), error))?;
                if !rules.iter().any(|rule| rule.event_type.as_ref() == Some(&event_type)) {
                    let detail = format!("no rule of the mapping makes an event of type {event_type}");
                    return Err(doc.error(listed, &named("types"), detail));
                }
                types.push(event_type);
            }
        }
        let source = source(doc, &named("from"), &entry.from, entry.take, entry.map, entry.default)?;
        fields.push(Field { name, types, source });
    }
    Ok(fields)
}

fn source(
    doc: &TomlDocument<'_>,
    field: &str,
    from: &Spanned<Vec<String>>,
    take: Option<Take>,
    map: Option<BTreeMap<String, String>>,
    default: Option<String>,
) -> Result<Source, ProfileError> {
    if from.get_ref().is_empty() {
        return Err(doc.error(from, field, "at least one path into the record"));
    }
    let from = from.get_ref().iter().map(|text| path(doc, field, from, text)).collect::<Result<_, _>>()?;
    Ok(Source { from, take, map, default })
}

fn path<T>(doc: &TomlDocument<'_>, field: &str, at: &Spanned<T>, text: &str) -> Result<Vec<String>, ProfileError> {
    let steps: Vec<String> = text.split('.').map(str::to_owned).collect();
    if steps.iter().any(String::is_empty) {
        return Err(doc.error(at, field, format!("{text:?}: names with dots between them")));
    }
    Ok(steps)
}
