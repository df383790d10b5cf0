//! What event types look like in requests and answers, and what may be said about one.

use std::collections::BTreeMap;

use postrider_http::problem::{FieldError, Problem, syntax_error};
use postrider_model::event::EventType as Name;
use postrider_model::json;
use postrider_model::limits::{EVENT_SAMPLE_BYTES_MAX, JSON_DEPTH_MAX};
use postrider_profiles::{EventTypeInfo, Profile};
use postrider_schema::{EventSchema, Mistake};
use postrider_store::config::{EventTypeDraft, TenantEventType};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::tenants::check_description;
use crate::time::shown;

/// What the tenant says about an event type. What is absent is not said: of a type of the profile's the profile's words hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "description": "An order was paid", "sample": {"order": "4711", "amount": 42},
    "schema": {"type": "object", "required": ["order"], "properties": {"order": {"type": "string"}, "amount": {"type": "number"}}},
}))]
pub(crate) struct PutEventType {
    /// At most 2,000 bytes, for people.
    description: Option<String>,
    /// An example of `data`, at most 16 KiB; it fits the schema. Tests of endpoints send it.
    #[schema(value_type = serde_json::Value, required = false)]
    sample: Option<Box<RawValue>>,
    /// A JSON Schema of `data` (drafts 4, 6, 7, 2019-09, 2020-12), at most 64 KiB, without references to anything outside
    /// itself. Events are checked by it where the tenant has `enforce_schemas`.
    #[schema(value_type = serde_json::Value, required = false)]
    schema: Option<Box<RawValue>>,
}

/// Who names a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// The profile; the tenant may say more about it.
    Profile,
    /// The tenant alone.
    Tenant,
}

/// An event type of the tenant's catalog.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "order.paid", "group": "order", "source": "tenant", "description": "An order was paid",
    "sample": {"order": "4711", "amount": 42}, "schema": {"type": "object", "required": ["order"]}, "version": 7,
    "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z",
}))]
pub(crate) struct EventType {
    name: String,
    /// Its name up to the first dot; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    source: Source,
    /// The name on the wire, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    wire_name: Option<String>,
    /// Empty when nobody says more than its name.
    description: String,
    /// An example of `data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    sample: Option<Box<RawValue>>,
    /// The JSON Schema of `data`, as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    schema: Option<Box<RawValue>>,
    /// Its ETag is `"v<version>"`; absent while the tenant says nothing about it, as are the times.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    updated_at: Option<String>,
}

impl EventType {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The version of what the tenant says, if it says anything.
    pub(crate) fn version(&self) -> Option<i64> {
        self.version
    }

    /// What is known of a type; `None` when nobody names it.
    pub(crate) fn of(named: Option<&EventTypeInfo>, said: Option<TenantEventType>) -> Option<Self> {
        let name = named.map(|info| &info.name).or(said.as_ref().map(|said| &said.name))?.to_string();
        let said_draft = said.as_ref().map(|said| said.draft.clone()).unwrap_or_default();
        let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
        Some(Self {
            group: name.split_once('.').map(|(group, _)| group.to_owned()),
            name,
            source: if named.is_some() { Source::Profile } else { Source::Tenant },
            wire_name: named.and_then(|info| info.wire_name.clone()),
            description: said_draft
                .description
                .or_else(|| named.map(|info| info.description.clone()))
                .unwrap_or_default(),
            sample: raw(said_draft.sample).or_else(|| named.map(|info| info.sample.clone())),
            schema: raw(said_draft.schema),
            version: said.as_ref().map(|said| said.version),
            created_at: said.as_ref().map(|said| shown(said.created_at)),
            updated_at: said.as_ref().map(|said| shown(said.updated_at)),
        })
    }
}

/// The profile's types of a group that come after a name, and what the tenant says, by name.
pub(crate) fn catalog_page(
    profile: &Profile,
    said: Vec<TenantEventType>,
    after: Option<&str>,
    group: Option<&str>,
) -> impl Iterator<Item = EventType> {
    let belongs = |name: &str| {
        let below = |group: &str| name.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        after.is_none_or(|after| name > after) && group.is_none_or(below)
    };
    let named = profile.catalog.iter().filter(|info| belongs(info.name.as_str()));
    let mut page: BTreeMap<String, (Option<&EventTypeInfo>, Option<TenantEventType>)> =
        named.map(|info| (info.name.to_string(), (Some(info), None))).collect();
    for said in said {
        let entry = page.entry(said.name.to_string()).or_default();
        entry.1 = Some(said);
    }
    page.into_values().filter_map(|(named, said)| EventType::of(named, said))
}

impl PutEventType {
    /// What is to be saved.
    ///
    /// # Errors
    /// 422 with each member that is wrong.
    pub(crate) fn check(self) -> Result<EventTypeDraft, Problem> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: String, detail: String| errors.push(FieldError::new(pointer, detail));
        if let Some(Err(detail)) = self.description.as_deref().map(check_description) {
            wrong("/description".into(), detail);
        }
        let (sample, schema) = (self.sample.as_deref().map(RawValue::get), self.schema.as_deref().map(RawValue::get));
        let mut compiled = None;
        match schema.map(EventSchema::read) {
            Some(Err(Mistake { pointer, detail })) => wrong(format!("/schema{pointer}"), detail),
            Some(Ok(schema)) => compiled = Some(schema),
            None => {}
        }
        for Mistake { pointer, detail } in
            sample.map_or_else(Vec::new, |sample| check_sample(sample, compiled.as_ref()))
        {
            wrong(format!("/sample{pointer}"), detail);
        }
        if !errors.is_empty() {
            return Err(Problem::unprocessable(errors));
        }
        let (sample, schema) = (sample.map(str::to_owned), schema.map(str::to_owned));
        Ok(EventTypeDraft { description: self.description, sample, schema })
    }
}

fn check_sample(sample: &str, schema: Option<&EventSchema>) -> Vec<Mistake> {
    let wrong = |detail: String| vec![Mistake { pointer: String::new(), detail }];
    if sample.len() > EVENT_SAMPLE_BYTES_MAX {
        return wrong(format!("at most {EVENT_SAMPLE_BYTES_MAX} bytes, got {}", sample.len()));
    }
    if json::depth(sample) > JSON_DEPTH_MAX {
        return wrong(format!("nested deeper than {JSON_DEPTH_MAX} levels"));
    }
    if let Err(error) = serde_json::from_str::<serde_json::Value>(sample) {
        return wrong(format!("not valid JSON: {}", syntax_error(&error)));
    }
    let mistakes = schema.and_then(|schema| schema.check(sample).err()).unwrap_or_default();
    let unfit =
        |mistake: Mistake| Mistake { detail: format!("does not fit the schema: {}", mistake.detail), ..mistake };
    mistakes.into_iter().map(unfit).collect()
}

/// The names of a tenant's catalog, for messages.
pub(crate) fn names(profile: &Profile, own: &[Name]) -> String {
    let named = profile.catalog.iter().map(|info| &info.name);
    let added = own.iter().filter(|name| profile.event_type(name.as_str()).is_none());
    named.chain(added).map(Name::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(request: Value) -> Result<EventTypeDraft, Vec<String>> {
        let text = request.to_string();
        let request: PutEventType = serde_json::from_str(&text).unwrap();
        request.check().map_err(|problem| problem.errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let pointers = |request| check(request).unwrap_err();
        let schema = json!({"properties": {"n": {"type": "integer"}}});
        assert!(check(json!({"description": "d", "sample": {"n": 1}, "schema": schema})).is_ok());
        assert_eq!(check(json!({})).unwrap(), EventTypeDraft::default());
        assert_eq!(check(json!({"schema": null, "sample": null})).unwrap(), EventTypeDraft::default());
        assert_eq!(pointers(json!({"sample": {"n": "1"}, "schema": schema})), ["/sample/n"]);
        assert_eq!(pointers(json!({"schema": {"properties": {"n": {"type": 1}}}})), ["/schema/properties/n/type"]);
        assert_eq!(pointers(json!({"schema": {"$ref": "https://example.com/"}})), ["/schema/$ref"]);
        assert_eq!(pointers(json!({"schema": 7, "description": "x".repeat(2_001)})), ["/description", "/schema"]);
        assert_eq!(pointers(json!({"sample": "x".repeat(17_000)})), ["/sample"]);
        let lone: PutEventType = serde_json::from_str(r#"{"sample": "\ud800"}"#).unwrap();
        assert_eq!(lone.check().unwrap_err().errors[0].pointer, "/sample");
        let deep = format!(r#"{{"sample": {}{}}}"#, "[".repeat(65), "]".repeat(65));
        let deep: PutEventType = serde_json::from_str(&deep).unwrap();
        assert_eq!(deep.check().unwrap_err().errors[0].pointer, "/sample");
    }
}
