//! The sample that a test call sends: the event types to choose from, the rendered body, and the checks of edited data.

use std::sync::Arc;

use postrider_http::problem::syntax_error;
use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::EventId;
use postrider_model::json;
use postrider_model::limits::{EVENT_SAMPLE_BYTES_MAX, JSON_DEPTH_MAX};
use postrider_model::scope::Scope;
use postrider_model::subscription::TypePattern;
use postrider_model::time::UnixMillis;
use postrider_profiles::Profile;
use postrider_schema::EventSchema;
use postrider_store::config::{Endpoint, Tenant, TenantEventType};
use serde_json::value::RawValue;

use crate::error::Mistakes;
use crate::event_types::{SAMPLE_ID, SAMPLED_AT, names};
use crate::test_event::TestBody;
use crate::{Caller, Error, Operations};

/// The event types with which an endpoint can be tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestTypes {
    /// The types to which the endpoint subscribes.
    pub subscribed: Vec<String>,
    /// The other types.
    pub others: Vec<String>,
    /// The type to propose: one to which the endpoint subscribes, if there is one. `None` if there are no types.
    pub proposed: Option<String>,
}

impl TestTypes {
    /// Sorts the types of a catalog by an endpoint's subscription. Types that the subscription names and an open catalog does not
    /// contain are added. `documented` is the type of the product's test event, and is proposed if the endpoint subscribes to it.
    fn of(catalog: Vec<String>, patterns: &[String], open: bool, documented: Option<String>) -> Self {
        let named = patterns.iter().filter(|pattern| open && pattern.parse::<EventType>().is_ok());
        let mut all = catalog;
        let added: Vec<String> = named.filter(|name| !all.contains(name)).cloned().collect();
        all.extend(added);
        // An open catalog may be empty.
        all.extend(documented.clone().filter(|documented| !all.contains(documented)));
        let patterns: Vec<TypePattern> = patterns.iter().filter_map(|pattern| pattern.parse().ok()).collect();
        let is_subscribed = |name: &String| {
            let name = name.parse::<EventType>();
            name.is_ok_and(|name| patterns.iter().any(|pattern| pattern.matches(&name)))
        };
        let (subscribed, others): (Vec<String>, Vec<String>) = all.into_iter().partition(is_subscribed);
        let proposed = documented.clone().filter(|documented| subscribed.contains(documented));
        let proposed = proposed.or_else(|| subscribed.first().cloned()).or(documented);
        Self { proposed: proposed.or_else(|| others.first().cloned()), subscribed, others }
    }
}

/// The sample of a test call.
#[derive(Debug)]
pub struct TestSample {
    /// The sample's `data`, which a test call may replace.
    pub data: Box<RawValue>,
    /// The body that the endpoint receives for it. Id and time are examples.
    pub body: String,
}

/// A test call before it is sent.
pub(super) struct PreparedTest<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) tenant: Tenant,
    pub(super) profile: &'a Arc<Profile>,
    definition: Option<TenantEventType>,
    pub(super) body: TestBody,
}

impl Operations {
    /// Returns the event types with which an endpoint can be tested. Requires the scope `manage`.
    pub async fn test_types(&self, caller: Caller, id: &str) -> Result<TestTypes, Error> {
        let endpoint = self.stored_endpoint(caller, Scope::Manage, id).await?;
        let tenant = self.stored_tenant(endpoint.tenant).await?;
        let profile = self.profile(&tenant.draft.profile)?;
        let catalog = self.whole_catalog(tenant.id).await?.into_iter().map(|of| of.name).collect();
        let documented = profile.test_event(None).map(|event| event.event_type.to_string());
        Ok(TestTypes::of(catalog, &endpoint.document.event_types, profile.open_catalog, documented))
    }

    /// Returns the sample of a test call with this event type, and the body that the endpoint receives for it. With `data`, returns
    /// the body with this data instead of the sample's.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Invalid`] for an unknown event type, and for `data` that a test call refuses.
    pub async fn test_sample(
        &self,
        caller: Caller,
        id: &str,
        event_type: &str,
        data: Option<Box<RawValue>>,
    ) -> Result<TestSample, Error> {
        let event: EventId = SAMPLE_ID.parse().map_err(|_| Error::Internal)?;
        let prepared = self.prepare_test(caller, id, Some(event_type), &event, SAMPLED_AT).await?;
        let sample = prepared.body.data().to_owned();
        let (prepared, _) = self.with_data(prepared, data).await?;
        let body = prepared.body.render(prepared.profile, prepared.endpoint.document.body_kind());
        Ok(TestSample { data: sample, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Prepares a test call with the sample of an event type. If none is named, it is the product's test event.
    pub(super) async fn prepare_test(
        &self,
        caller: Caller,
        id: &str,
        event_type: Option<&str>,
        event: &EventId,
        at: UnixMillis,
    ) -> Result<PreparedTest<'_>, Error> {
        let endpoint = self.stored_endpoint(caller, Scope::Manage, id).await?;
        let tenant = self.stored_tenant(endpoint.tenant).await?;
        let profile = self.profile(&tenant.draft.profile)?;
        let asked = event_type.map(str::parse::<EventType>).transpose();
        let asked = asked.map_err(|error| Error::invalid("/event_type", error.to_string()))?;
        let event_type = asked.or_else(|| profile.test_event(None).map(|event| event.event_type));
        let definition = match &event_type {
            Some(name) => self.store.config().get_event_type(tenant.id, name).await?,
            None => None,
        };
        let Some(body) = TestBody::of(profile, event_type.as_ref(), definition.as_ref(), event, at, at) else {
            let known = names(profile, &self.added_event_types(profile, &tenant).await?);
            return Err(Error::invalid("/event_type", format!("no such event type; there are: {known}")));
        };
        Ok(PreparedTest { endpoint, tenant, profile, definition, body })
    }

    /// Replaces the sample's data. Returns the data if it differs from the sample's in more than whitespace.
    ///
    /// # Errors
    /// [`Error::Invalid`]: publishing would refuse the data, or it is larger than a sample may be.
    pub(super) async fn with_data<'a>(
        &self,
        mut prepared: PreparedTest<'a>,
        data: Option<Box<RawValue>>,
    ) -> Result<(PreparedTest<'a>, Option<Box<RawValue>>), Error> {
        let sample = prepared.body.data();
        let Some(data) = data.filter(|data| json::compact(data.get()) != json::compact(sample.get())) else {
            return Ok((prepared, None));
        };
        check_data(data.get(), sample.get()).map_err(|detail| Error::invalid("/data", detail))?;
        prepared.body = prepared.body.with_data(data.clone());
        let mut mistakes = Mistakes::default();
        let attributes = Attributes::default();
        let missing = prepared.profile.check_event(&prepared.body.view(&attributes)).err().unwrap_or_default();
        // A test call has no attributes, and the metadata is the product's.
        for wrong in missing.into_iter().filter(|wrong| is_at_data(&wrong.pointer)) {
            mistakes.add(wrong.pointer, wrong.detail);
        }
        mistakes.finish()?;
        self.check_by_schema(&prepared, data.get()).await?;
        Ok((prepared, Some(data)))
    }

    /// Checks data by the schema of its event type, if the tenant enforces schemas.
    async fn check_by_schema(&self, prepared: &PreparedTest<'_>, data: &str) -> Result<(), Error> {
        let schema = prepared.definition.as_ref().and_then(|own| own.draft.schema.clone());
        let Some(schema) = schema.filter(|_| prepared.tenant.draft.enforce_schemas) else { return Ok(()) };
        let (data, event_type) = (data.to_owned(), prepared.body.event_type().clone());
        let check = move || EventSchema::read(&schema).map(|schema| schema.check(&data).err().unwrap_or_default());
        let wrong = self.heavy.check_schema(prepared.tenant.id, check).await?.map_err(|mistake| {
            tracing::error!(event.r#type = %event_type, error = mistake.detail, "cannot read an event type's schema");
            Error::Internal
        })?;
        let mut mistakes = Mistakes::default();
        for mistake in wrong {
            let detail = format!("does not fit the schema: {}", mistake.detail);
            mistakes.add(format!("/data{}", mistake.pointer), detail);
        }
        mistakes.finish()
    }
}

fn is_at_data(pointer: &str) -> bool {
    pointer.strip_prefix("/data").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Checks the size and the kind of edited data. `sample` is the data that it replaces.
fn check_data(data: &str, sample: &str) -> Result<(), String> {
    if data.len() > EVENT_SAMPLE_BYTES_MAX {
        return Err(format!("at most {EVENT_SAMPLE_BYTES_MAX} bytes, got {}", data.len()));
    }
    if json::depth(data) > JSON_DEPTH_MAX {
        return Err(format!("nested deeper than {JSON_DEPTH_MAX} levels"));
    }
    let value: serde_json::Value =
        serde_json::from_str(data).map_err(|error| format!("not valid JSON: {}", syntax_error(&error)))?;
    if sample.trim_start().starts_with('{') && !value.is_object() {
        return Err("expected a JSON object, as the sample is".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(patterns: &[&str], open: bool, documented: &str) -> TestTypes {
        let catalog = ["a.one", "a.two", "b.one"].map(str::to_owned).to_vec();
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        TestTypes::of(catalog, &patterns, open, Some(documented.to_owned()))
    }

    #[test]
    fn a_type_is_proposed_to_which_the_endpoint_subscribes() {
        let check = |patterns: &[&str], subscribed: &[&str], proposed: &str| {
            let found = types(patterns, false, "a.two");
            assert_eq!(
                (found.subscribed, found.proposed.as_deref()),
                (subscribed.iter().map(ToString::to_string).collect(), Some(proposed))
            );
        };
        check(&["*"], &["a.one", "a.two", "b.one"], "a.two");
        check(&["a.*"], &["a.one", "a.two"], "a.two");
        check(&["b.one"], &["b.one"], "b.one");
        check(&["gone"], &[], "a.two");
    }

    #[test]
    fn an_open_catalog_also_has_the_types_that_the_subscription_names() {
        let found = types(&["b.*", "own.type"], true, "test.event");
        assert_eq!(found.subscribed, ["b.one", "own.type"]);
        assert_eq!(found.others, ["a.one", "a.two", "test.event"]);
        assert_eq!(found.proposed.as_deref(), Some("b.one"));
    }

    #[test]
    fn edited_data_is_an_object_of_limited_size() {
        let check = |data: &str, expected: Result<(), &str>| {
            assert_eq!(
                check_data(data, "{}").map_err(|detail| detail.split(&[',', ':'][..]).next().unwrap().to_owned()),
                expected.map_err(str::to_owned),
                "{data}"
            );
        };
        check(r#"{"a": [1]}"#, Ok(()));
        check("[1]", Err("expected a JSON object"));
        check(r#""\ud800""#, Err("not valid JSON"));
        check(&format!("{{\"a\":\"{}\"}}", "x".repeat(EVENT_SAMPLE_BYTES_MAX)), Err("at most 16384 bytes"));
        check(&format!("{}{}", "[".repeat(65), "]".repeat(65)), Err("nested deeper than 64 levels"));
        assert_eq!(check_data("[1]", "[]"), Ok(()));
    }
}
