//! A tenant's definition of an event type, and its checks.

use postrider_http::problem::syntax_error;
use postrider_model::json;
use postrider_model::limits::{EVENT_SAMPLE_BYTES_MAX, EVENT_TTL_MAX, JSON_DEPTH_MAX};
use postrider_schema::{EventSchema, Mistake};
use postrider_store::config::EventTypeDraft;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::error::{Error, Mistakes};
use crate::text::check_description;

/// The tenant's definition of an event type. The profile's value applies to a field that is left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "description": "An order was paid", "sample": {"order": "4711", "amount": 42},
    "schema": {"type": "object", "required": ["order"], "properties": {"order": {"type": "string"}, "amount": {"type": "number"}}},
}))]
pub struct PutEventType {
    /// A description for people, at most 2,000 bytes.
    pub description: Option<String>,
    /// An example of `data` that matches the schema, at most 16 KiB. Test calls send it.
    #[schema(value_type = serde_json::Value, required = false)]
    pub sample: Option<Box<RawValue>>,
    /// A JSON Schema of `data` (drafts 4, 6, 7, 2019-09, 2020-12), at most 64 KiB, without references to other documents.
    /// Enforced if the tenant has `enforce_schemas`.
    #[schema(value_type = serde_json::Value, required = false)]
    pub schema: Option<Box<RawValue>>,
    /// The number of seconds after which events of this type expire, unless they state another expiry: 1 to 604,800. Counted
    /// from the event's `deliver_at`, or from its acceptance.
    #[schema(minimum = 1, maximum = 604_800)]
    pub ttl_seconds: Option<i64>,
}

impl PutEventType {
    /// Checks the definition and returns what to store.
    pub(super) fn check(self) -> Result<EventTypeDraft, Error> {
        let mut mistakes = Mistakes::default();
        if let Some(description) = &self.description {
            mistakes.check("/description", check_description(description));
        }
        let ttl_seconds = self.ttl_seconds.map(check_ttl).transpose().unwrap_or_else(|detail| {
            mistakes.add("/ttl_seconds", detail);
            None
        });
        let (sample, schema) = (self.sample.as_deref().map(RawValue::get), self.schema.as_deref().map(RawValue::get));
        let compiled = match schema.map(EventSchema::read) {
            Some(Ok(schema)) => Some(schema),
            Some(Err(Mistake { pointer, detail })) => {
                mistakes.add(format!("/schema{pointer}"), detail);
                None
            }
            None => None,
        };
        let wrong = sample.map(|sample| check_sample(sample, compiled.as_ref())).unwrap_or_default();
        for Mistake { pointer, detail } in wrong {
            mistakes.add(format!("/sample{pointer}"), detail);
        }
        mistakes.finish()?;
        let (sample, schema) = (sample.map(str::to_owned), schema.map(str::to_owned));
        Ok(EventTypeDraft { description: self.description, sample, schema, ttl_seconds })
    }
}

fn check_ttl(seconds: i64) -> Result<u32, String> {
    let max = EVENT_TTL_MAX.as_secs();
    let allowed = u32::try_from(seconds).ok().filter(|seconds| *seconds > 0 && u64::from(*seconds) <= max);
    allowed.ok_or_else(|| format!("1 to {max} seconds, got {seconds}"))
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
    let describe =
        |mistake: Mistake| Mistake { detail: format!("does not fit the schema: {}", mistake.detail), ..mistake };
    mistakes.into_iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(request: &str) -> Result<EventTypeDraft, Vec<String>> {
        let request: PutEventType = serde_json::from_str(request).unwrap();
        match request.check() {
            Ok(draft) => Ok(draft),
            Err(Error::Invalid(errors)) => Err(errors.into_iter().map(|error| error.pointer).collect()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn each_mistake_is_reported_at_its_place() {
        let good = |request: Value| check(&request.to_string()).unwrap();
        let pointers = |request: Value| check(&request.to_string()).unwrap_err();
        let schema = json!({"properties": {"n": {"type": "integer"}}});
        good(json!({"description": "d", "sample": {"n": 1}, "schema": schema}));
        assert_eq!(good(json!({})), EventTypeDraft::default());
        assert_eq!(good(json!({"schema": null, "sample": null})), EventTypeDraft::default());
        assert_eq!(pointers(json!({"sample": {"n": "1"}, "schema": schema})), ["/sample/n"]);
        assert_eq!(pointers(json!({"schema": {"properties": {"n": {"type": 1}}}})), ["/schema/properties/n/type"]);
        assert_eq!(pointers(json!({"schema": {"$ref": "https://example.com/"}})), ["/schema/$ref"]);
        assert_eq!(pointers(json!({"schema": 7, "description": "x".repeat(2_001)})), ["/description", "/schema"]);
        assert_eq!(good(json!({"ttl_seconds": 60})).ttl_seconds, Some(60));
        for seconds in [0, -1, 604_801] {
            assert_eq!(pointers(json!({"ttl_seconds": seconds})), ["/ttl_seconds"]);
        }
        assert_eq!(pointers(json!({"sample": "x".repeat(17_000)})), ["/sample"]);
        assert_eq!(check(r#"{"sample": "\ud800"}"#).unwrap_err(), ["/sample"]);
        let deep = format!(r#"{{"sample": {}{}}}"#, "[".repeat(65), "]".repeat(65));
        assert_eq!(check(&deep).unwrap_err(), ["/sample"]);
    }
}
