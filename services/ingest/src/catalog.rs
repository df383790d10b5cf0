//! What a tenant says about event types: which there are beside its profile's, and what the data of each looks like.
//!
//! A schema is compiled at the first event that needs it and kept until its tenant edits it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postrider_model::event::EventType;
use postrider_runtime::problem::{FieldError, Problem};
use postrider_schema::{EventSchema, Mistake};

use crate::event::CheckedEvent;

/// Data up to this size is checked where it is; larger data could hold other requests up.
const CHECKED_IN_PLACE_BYTES_MAX: usize = 4 * 1024;

/// The event types that one tenant says something about.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventTypes(HashMap<EventType, Option<Arc<Schema>>>);

/// A schema, as its tenant wrote it.
#[derive(Debug)]
struct Schema {
    text: String,
    compiled: OnceLock<Option<EventSchema>>,
}

impl EventTypes {
    /// Takes in what the tenant says; `schema` is `None` where there is none to be enforced.
    pub(crate) fn set(&mut self, name: EventType, schema: Option<String>) {
        let before = self.0.remove(&name).flatten();
        let schema = schema.map(|text| match before {
            Some(before) if before.text == text => before,
            _ => Arc::new(Schema { text, compiled: OnceLock::new() }),
        });
        self.0.insert(name, schema);
    }

    pub(crate) fn remove(&mut self, name: &EventType) {
        self.0.remove(name);
    }

    /// Whether the tenant says something about this type.
    pub(crate) fn has(&self, name: &EventType) -> bool {
        self.0.contains_key(name)
    }

    /// Checks an event's data by its type's schema, if there is one to be enforced.
    ///
    /// # Errors
    /// 422 with pointers into `/data`; 503 for a schema that this build cannot read, which is logged.
    pub(crate) async fn check(&self, event: &CheckedEvent<'_>) -> Result<(), Problem> {
        let Some(Some(schema)) = self.0.get(&event.event_type) else { return Ok(()) };
        let data = event.data.get();
        let checked = if data.len() <= CHECKED_IN_PLACE_BYTES_MAX {
            schema.check(data)
        } else {
            let (schema, data) = (Arc::clone(schema), data.to_owned());
            tokio::task::spawn_blocking(move || schema.check(&data)).await.ok().flatten()
        };
        let Some(mistakes) = checked else {
            tracing::error!(event.r#type = %event.event_type, "an event type's schema cannot be read");
            let detail = format!("the schema of {} cannot be read by this service", event.event_type);
            return Err(Problem::unavailable(detail, Duration::from_secs(30)));
        };
        if mistakes.is_empty() {
            return Ok(());
        }
        let error = |mistake: Mistake| FieldError::new(format!("/data{}", mistake.pointer), mistake.detail);
        Err(Problem::unprocessable(mistakes.into_iter().map(error).collect()))
    }
}

impl Schema {
    /// What is wrong with the data; `None` when the schema itself cannot be read.
    fn check(&self, data: &str) -> Option<Vec<Mistake>> {
        let compiled = self.compiled.get_or_init(|| EventSchema::read(&self.text).ok());
        compiled.as_ref().map(|schema| schema.check(data).err().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::ids::TenantId;

    use super::*;
    use crate::request::{Place, read_event};

    fn types(schema: &str) -> EventTypes {
        let mut types = EventTypes::default();
        types.set("a.b".parse().unwrap(), Some(schema.into()));
        types
    }

    async fn check(types: &EventTypes, data: &str) -> Result<(), Problem> {
        let json = format!(r#"{{"type":"a.b","data":{data}}}"#);
        types.check(&read_event(TenantId::OPERATOR, json.as_bytes(), Place::HttpBatch).unwrap()).await
    }

    #[tokio::test]
    async fn data_is_checked_by_its_types_schema_whatever_its_size() {
        let types = types(r#"{"properties": {"n": {"type": "integer"}}}"#);
        let padding = "x".repeat(CHECKED_IN_PLACE_BYTES_MAX);
        for more in ["", &padding] {
            check(&types, &format!(r#"{{"n": 1, "more": "{more}"}}"#)).await.unwrap();
            let refused = check(&types, &format!(r#"{{"n": "1", "more": "{more}"}}"#)).await.unwrap_err();
            assert_eq!((refused.status, refused.errors[0].pointer.as_str()), (422, "/data/n"), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn only_an_edit_of_its_schema_makes_a_type_compile_again() {
        let mut types = types("true");
        check(&types, "1").await.unwrap();
        let name: EventType = "a.b".parse().unwrap();
        let before = types.0[&name].clone().unwrap();
        types.set(name.clone(), Some("true".into()));
        assert!(Arc::ptr_eq(&before, types.0[&name].as_ref().unwrap()));
        types.set(name.clone(), Some("false".into()));
        assert_eq!(check(&types, "1").await.unwrap_err().status, 422);
        types.set(name.clone(), None);
        check(&types, "1").await.unwrap();
        assert!(types.has(&name));
        types.remove(&name);
        assert!(!types.has(&name));
    }

    #[tokio::test]
    async fn a_schema_that_cannot_be_read_refuses_nothing_for_good() {
        assert_eq!(check(&types(r#"{"$ref": "https://example.com/"}"#), "1").await.unwrap_err().status, 503);
    }
}
