//! Reads the sections `catalog`, `test_event` and `origins`.

use postrider_model::event::EventType;
use postrider_model::ids::EventId;
use postrider_model::subscription::TypePattern;
use postrider_model::time::UnixMillis;
use toml::Spanned;

use super::TomlDocument;
use super::schema::{Catalog, FixedTest, Origins};
use crate::catalog::{EventTypeInfo, OriginRule, TestEvent};
use crate::error::ProfileError;
use crate::header::is_header_value;
use crate::text_template::TextTemplate;

pub(super) fn catalog(doc: &TomlDocument<'_>, at: &Spanned<Catalog>) -> Result<Vec<EventTypeInfo>, ProfileError> {
    let catalog = at.get_ref();
    let mut checked: Vec<EventTypeInfo> = Vec::new();
    for entry in &catalog.types {
        let name: EventType = doc.parsed(&entry.name, "catalog.types.name")?;
        if checked.iter().any(|other| other.name == name) {
            return Err(doc.error(&entry.name, "catalog.types.name", format!("{name} is repeated")));
        }
        let wire_name = entry.wire_name.as_ref();
        if let Some(at) = wire_name.filter(|wire| wire.get_ref().is_empty() || !is_header_value(wire.get_ref())) {
            return Err(doc.error(at, "catalog.types.wire_name", "visible ASCII, not empty"));
        }
        let template = |at: &Option<Spanned<String>>, field: &str| {
            at.as_ref().map(|at| doc.parsed::<TextTemplate>(at, field)).transpose()
        };
        let own_lines = template(&entry.pushover_message, "catalog.types.pushover_message")?;
        let common_lines = template(&catalog.pushover_message, "catalog.pushover_message")?;
        let metadata = entry.sample_metadata.as_ref().or(catalog.sample_metadata.as_ref());
        checked.push(EventTypeInfo {
            name,
            wire_name: wire_name.map(|wire| wire.get_ref().clone()),
            description: entry.description.clone(),
            sample: doc.object(&entry.sample, "catalog.types.sample")?,
            sample_metadata: metadata.map(|at| doc.object(at, "catalog.types.sample_metadata")).transpose()?,
            pushover_title: template(&entry.pushover_title, "catalog.types.pushover_title")?,
            pushover_message: own_lines.into_iter().chain(common_lines).reduce(TextTemplate::then),
        });
    }
    if checked.is_empty() && !(catalog.open && catalog.sample.is_some()) {
        return Err(doc.error(at, "catalog.types", "at least one type, or an open catalog with a sample"));
    }
    Ok(checked)
}

pub(super) fn generic_sample(doc: &TomlDocument<'_>, catalog: &Catalog) -> Result<Option<TestEvent>, ProfileError> {
    let Some(sample) = &catalog.sample else { return Ok(None) };
    let metadata = catalog.sample_metadata.as_ref();
    Ok(Some(TestEvent {
        event_type: doc.parsed(&sample.get_ref().r#type, "catalog.sample.type")?,
        body_id: None,
        occurred_at: None,
        metadata: metadata.map(|at| doc.object(at, "catalog.sample_metadata")).transpose()?,
        data: doc.object(&sample.get_ref().data, "catalog.sample.data")?,
    }))
}

pub(super) fn fixed_test(doc: &TomlDocument<'_>, test: &FixedTest) -> Result<TestEvent, ProfileError> {
    Ok(TestEvent {
        event_type: doc.parsed(&test.r#type, "test_event.type")?,
        body_id: test.body_id.as_ref().map(|at| doc.parsed::<EventId>(at, "test_event.body_id")).transpose()?,
        occurred_at: test
            .timestamp
            .as_ref()
            .map(|at| doc.parsed::<UnixMillis>(at, "test_event.timestamp"))
            .transpose()?,
        metadata: test.metadata.as_ref().map(|at| doc.object(at, "test_event.metadata")).transpose()?,
        data: doc.object(&test.data, "test_event.data")?,
    })
}

pub(super) fn origins(doc: &TomlDocument<'_>, rule: &Origins) -> Result<OriginRule, ProfileError> {
    let parse =
        |text: &String| text.parse::<TypePattern>().map_err(|error| doc.error(&rule.types, "origins.types", error));
    Ok(OriginRule { types: rule.types.get_ref().iter().map(parse).collect::<Result<_, _>>()?, fire: rule.fire.clone() })
}
