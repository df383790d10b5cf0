//! What a profile holds, loaded and checked.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_model::attempt::StatusClasses;
use postrider_model::endpoint::Channel;
use postrider_model::event::EventType;
use postrider_model::retry::{RetryPolicy, RetrySchedule};
use postrider_model::subscription::MatchKind;
use serde::{Deserialize, Serialize};

use crate::catalog::{EventTypeInfo, OriginRule, TestEvent};
use crate::envelope::{BodyStyle, EnvelopeField};
use crate::header::HeaderTemplate;
use crate::signature_scheme::{SchemeKind, SignatureScheme};

/// Which URLs a profile's endpoints may have (before the deployment's own rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UrlRule {
    /// `https` only.
    HttpsOnly,
    /// `https` is recommended, `http` allowed.
    HttpAllowed,
}

/// One product's way of delivering. Built by [`crate::Profiles`] only.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name: the stem of its file.
    pub name: String,
    /// For people, one sentence.
    pub description: String,
    /// The body's fields in the order they are written.
    pub envelope: Vec<EnvelopeField>,
    /// How the body is written.
    pub body: BodyStyle,
    /// The product's own signature, beside or instead of `webhook-signature`.
    pub signature: Option<SignatureScheme>,
    /// Whether `webhook-id`, `webhook-timestamp` and `webhook-signature` are sent.
    pub standard_headers: bool,
    /// Whether `traceparent` is sent.
    pub traceparent: bool,
    /// The product's own headers, in order.
    pub headers: Vec<HeaderTemplate>,
    /// `User-Agent`, unless Postrider's own is sent.
    pub user_agent: Option<String>,
    /// Delays between attempts.
    pub retry_schedule: RetrySchedule,
    /// Share by which a delay may be lengthened, 0 to 1; 0 where the product promises exact times.
    pub jitter_max: f64,
    /// Longest `Retry-After` that is honoured.
    pub retry_after_max: Duration,
    /// Deadline of an attempt.
    pub timeout: Duration,
    /// What status codes mean.
    pub statuses: StatusClasses,
    /// Which URLs endpoints may have.
    pub url_rule: UrlRule,
    /// The attributes that can be filtered by, and how each matches. Always has the four common ones.
    pub attributes: BTreeMap<String, MatchKind>,
    /// Requests a second to one endpoint unless it says otherwise; `None`: no limit.
    pub default_rate: Option<f64>,
    /// The event types that the product documents.
    pub catalog: Vec<EventTypeInfo>,
    /// Whether types outside the catalog are the product's, too.
    pub open_catalog: bool,
    /// The sample for types without one of their own.
    pub(crate) sample: Option<TestEvent>,
    /// The body of the test call when no type is chosen, where the product documents one.
    pub(crate) test_event: Option<TestEvent>,
    /// Which origins fire for which types; the first rule that takes a type decides, none: every origin fires.
    pub origins: Vec<OriginRule>,
    /// An endpoint that failed for this many days is switched off; `None`: never.
    pub disable_after_days: Option<u32>,
    /// The channels that endpoints may use.
    pub channels: Vec<Channel>,
}

impl Profile {
    /// How an attribute is matched, `None` for one that cannot be filtered by.
    pub fn attribute_kind(&self, name: &str) -> Option<MatchKind> {
        self.attributes.get(name).copied()
    }

    /// What the catalog says about a type, `None` for one that it does not name.
    pub fn event_type(&self, event_type: &str) -> Option<&EventTypeInfo> {
        self.catalog.iter().find(|info| info.name.as_str() == event_type)
    }

    /// Whether the product has such a type: the catalog names it, or is open.
    pub fn knows(&self, event_type: &EventType) -> bool {
        self.open_catalog || self.event_type(event_type.as_str()).is_some()
    }

    /// The name a type has on the wire.
    pub fn wire_name<'a>(&'a self, event_type: &'a EventType) -> &'a str {
        let mapped = self.event_type(event_type.as_str()).and_then(|info| info.wire_name.as_deref());
        mapped.unwrap_or_else(|| event_type.as_str())
    }

    /// Whether `webhook-signature` is the only signature: what ed25519 keys need.
    pub fn only_standard_signature(&self) -> bool {
        self.standard_headers && self.signature.is_none()
    }

    /// Whether the product's header carries the endpoint's secret itself.
    pub fn sends_token(&self) -> bool {
        self.signature.as_ref().is_some_and(|scheme| scheme.kind == SchemeKind::Token)
    }

    /// The retry policy of a delivery, with the endpoint's own schedule where it has one.
    pub fn retry_policy<'a>(&'a self, schedule: Option<&'a RetrySchedule>) -> RetryPolicy<'a> {
        RetryPolicy {
            schedule: schedule.unwrap_or(&self.retry_schedule),
            statuses: &self.statuses,
            retry_after_max: self.retry_after_max,
            jitter_max: self.jitter_max,
        }
    }
}
