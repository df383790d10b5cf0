//! A profile: the way one product delivers, loaded and checked.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_model::attempt::StatusClasses;
use postrider_model::brand::Brand;
use postrider_model::endpoint::{Channel, UrlRule};
use postrider_model::event::{EventType, Origin};
use postrider_model::retry_schedule::{RetryPolicy, RetrySchedule};
use postrider_model::subscription::MatchKind;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::batch::BatchEnvelope;
use crate::catalog::{EventTypeInfo, OriginRule, TestEvent};
use crate::envelope::{BodyStyle, EnvelopeField, Source};
use crate::event_view::EventView;
use crate::header::HeaderTemplate;
use crate::json::JsonMembers;
use crate::signature_scheme::{SchemeKind, SignatureScheme};

/// The way one product delivers. Only [`crate::Profiles`] creates it.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The profile's name, which is the stem of its file's name.
    pub name: String,
    /// A description in one sentence, for people.
    pub description: String,
    /// The body's fields, in order.
    pub envelope: Vec<EnvelopeField>,
    /// How the values of the body are written.
    pub body: BodyStyle,
    /// The form of the bodies of batches.
    pub batch: BatchEnvelope,
    /// The product's own signature, with or instead of `webhook-signature`.
    pub signature: Option<SignatureScheme>,
    /// Whether `webhook-id`, `webhook-timestamp` and `webhook-signature` are sent.
    pub standard_headers: bool,
    /// Whether `traceparent` is sent.
    pub traceparent: bool,
    /// The product's own headers, in order.
    pub headers: Vec<HeaderTemplate>,
    /// The value of `User-Agent`; `None` for Postrider's own value.
    pub user_agent: Option<String>,
    /// The delays between attempts.
    pub retry_schedule: RetrySchedule,
    /// Maximum share by which a delay is lengthened, 0 to 1; 0 if the product promises exact times.
    pub jitter_max: f64,
    /// Maximum wait that an endpoint can request with `Retry-After`.
    pub retry_after_max: Duration,
    /// The timeout of an attempt.
    pub timeout: Duration,
    /// The meaning of status codes.
    pub statuses: StatusClasses,
    /// The URLs that endpoints may have.
    pub url_rule: UrlRule,
    /// The attributes by which events can be filtered, and how each is matched. Four common attributes are always included.
    pub attributes: BTreeMap<String, MatchKind>,
    /// Maximum number of requests per second to an endpoint that has no rate of its own; `None` for no limit.
    pub rate_per_second: Option<f64>,
    /// The event types that the product documents.
    pub catalog: Vec<EventTypeInfo>,
    /// Whether types outside the catalog are allowed.
    pub open_catalog: bool,
    /// The sample of event types without a sample of their own; `None` if the catalog does not define one.
    pub(crate) sample: Option<TestEvent>,
    /// The event of a test call that names no event type, if the product documents one.
    pub(crate) test_event: Option<TestEvent>,
    /// The origins whose events are delivered, by event type. The first rule that matches an event's type
    /// applies. Events whose type matches no rule are delivered for every origin.
    pub origins: Vec<OriginRule>,
    /// Number of days of failures after which an endpoint is disabled; `None` if endpoints are never disabled.
    pub disable_after_days: Option<u32>,
    /// The channels that endpoints may use.
    pub channels: Vec<Channel>,
    /// What the product promises about the time of the first attempt.
    pub promise: Promise,
    /// What the dashboard shows of the product.
    pub brand: Brand,
}

/// The times within which a product promises the first attempt of a delivery. The dashboard shows customers how well their
/// product's promise is kept, and nothing about times that it does not promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Promise {
    /// Within 5 s of the acceptance of the event.
    pub within_5s: bool,
    /// Within 30 s of the acceptance of the event.
    pub within_30s: bool,
}

impl Promise {
    /// Whether the product promises anything.
    pub fn is_made(self) -> bool {
        self.within_5s || self.within_30s
    }
}

impl Profile {
    /// Returns how an attribute is matched, or `None` if events cannot be filtered by it.
    pub fn attribute_kind(&self, name: &str) -> Option<MatchKind> {
        self.attributes.get(name).copied()
    }

    /// Returns an event type of the catalog.
    pub fn event_type(&self, event_type: &str) -> Option<&EventTypeInfo> {
        self.catalog.iter().find(|info| info.name.as_str() == event_type)
    }

    /// Whether the product has this event type, because the catalog contains it or is open.
    pub fn knows(&self, event_type: &EventType) -> bool {
        self.open_catalog || self.event_type(event_type.as_str()).is_some()
    }

    /// Returns the name of an event type in bodies and headers.
    pub fn wire_name<'a>(&'a self, event_type: &'a EventType) -> &'a str {
        let mapped = self.event_type(event_type.as_str()).and_then(|info| info.wire_name.as_deref());
        mapped.unwrap_or_else(|| event_type.as_str())
    }

    /// Whether `webhook-signature` is the only signature. Ed25519 keys require it.
    pub fn only_standard_signature(&self) -> bool {
        self.standard_headers && self.signature.is_none()
    }

    /// Whether the product's signature header contains the secret itself.
    pub fn sends_token(&self) -> bool {
        self.signature.as_ref().is_some_and(|scheme| scheme.kind == SchemeKind::Token)
    }

    /// Returns the retry policy of an endpoint, with the endpoint's own schedule if it has one.
    pub fn retry_policy<'a>(&'a self, schedule: Option<&'a RetrySchedule>) -> RetryPolicy<'a> {
        RetryPolicy {
            schedule: schedule.unwrap_or(&self.retry_schedule),
            statuses: &self.statuses,
            retry_after_max: self.retry_after_max,
            jitter_max: self.jitter_max,
        }
    }

    /// Whether an event of this type and origin is delivered.
    pub fn origin_fires(&self, event_type: &EventType, origin: Origin) -> bool {
        let rule = self.origins.iter().find(|rule| rule.types.iter().any(|pattern| pattern.matches(event_type)));
        rule.is_none_or(|rule| rule.fire.contains(&origin))
    }

    /// Returns the test event of a type. Its `data` is the tenant's sample, and its `metadata` is from the product's sample.
    pub fn test_event_of(&self, event_type: &EventType, data: Box<RawValue>) -> TestEvent {
        let known = self.event_type(event_type.as_str()).or(self.catalog.first());
        let metadata = match known {
            Some(info) => info.sample_metadata.clone(),
            None => self.sample.as_ref().and_then(|sample| sample.metadata.clone()),
        };
        TestEvent::generic(event_type.clone(), data, metadata)
    }

    /// Returns the test event of the chosen type. If no type is chosen, returns the product's documented test event, or a test
    /// event of its first type. Returns `None` if the product has no such type.
    pub fn test_event(&self, event_type: Option<&EventType>) -> Option<TestEvent> {
        let fixed = self.test_event.as_ref().filter(|test| event_type.is_none_or(|wanted| *wanted == test.event_type));
        if let Some(fixed) = fixed {
            return Some(fixed.clone());
        }
        let known = match event_type {
            Some(wanted) => self.event_type(wanted.as_str()),
            None => self.catalog.first(),
        };
        match known {
            Some(info) => {
                Some(TestEvent::generic(info.name.clone(), info.sample.clone(), info.sample_metadata.clone()))
            }
            None if self.open_catalog => {
                let mut test = self.sample.clone()?;
                if let Some(wanted) = event_type {
                    test.event_type = wanted.clone();
                }
                Some(test)
            }
            None => None,
        }
    }

    /// Returns the members of `metadata`, or no members if the envelope uses none of them.
    pub(crate) fn metadata_members<'a>(&self, event: &EventView<'a>) -> JsonMembers<'a> {
        let needed = self.envelope.iter().any(|field| matches!(field.source, Source::MetadataMember(_)));
        event.metadata.filter(|_| needed).and_then(|raw| JsonMembers::parse(raw.get())).unwrap_or_default()
    }
}
