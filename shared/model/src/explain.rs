//! Why a subscription took an event or did not: its conditions one by one, by the very code that matches.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::event::EventType;
use crate::limits::PAYLOAD_FILTER_STEPS_MAX;
use crate::payload_filter::{BoundFilter, Budget, Fields, Found, Payload, PayloadFilter};
use crate::subscription::{InvalidSubscription, MatchKind, Subscription};

/// One condition of an endpoint, and how an event stands to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Which: `event_types`, `filters.<attribute>`, `payload_filter`, and what callers add.
    pub check: String,
    /// What the endpoint asks for, as its customer wrote it.
    pub expected: Value,
    /// What the event has; `null`: nothing.
    pub actual: Value,
    /// Whether that fulfils the condition.
    pub passed: bool,
}

/// What an endpoint asks for, as its customer wrote it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Patterns of types.
    pub event_types: &'a [String],
    /// Attribute -> values.
    pub filters: &'a BTreeMap<String, Vec<String>>,
    /// The condition on what the event holds.
    pub payload_filter: Option<&'a Value>,
}

/// What an endpoint asks for, compiled once for many events.
#[derive(Debug, Clone)]
pub struct Wants {
    subscription: Subscription,
    payload_filter: Option<PayloadFilter>,
}

/// What an endpoint asks for, with its payload filter bound to the [`Fields`] of all endpoints that are asked about one
/// event: an event is taken when both take it.
#[derive(Debug, Clone)]
pub struct BoundWants {
    /// Its types and filters.
    pub subscription: Subscription,
    /// Its condition on what the event holds.
    pub payload_filter: Option<BoundFilter>,
}

impl Wants {
    /// Binds the payload filter, if there is one.
    pub fn bind(self, fields: &mut Fields) -> BoundWants {
        let payload_filter = self.payload_filter.map(|filter| fields.bind(filter));
        BoundWants { subscription: self.subscription, payload_filter }
    }
}

/// What many endpoints ask for, to be explained for one event that is read once.
#[derive(Default)]
pub struct Explainer<'a> {
    fields: Fields,
    asked: Vec<Result<Asked<'a>, InvalidSubscription>>,
}

struct Asked<'a> {
    wanted: Wanted<'a>,
    subscription: Subscription,
    /// As it was read, and bound.
    payload_filter: Option<(PayloadFilter, BoundFilter)>,
}

impl<'a> Explainer<'a> {
    /// Adds an endpoint, in the order in which fan-out asks.
    pub fn add(&mut self, wanted: Wanted<'a>, kind_of: impl Fn(&str) -> Option<MatchKind>) {
        self.asked.push(wanted.compile(kind_of).map(|Wants { subscription, payload_filter }| {
            let payload_filter = payload_filter.map(|filter| (filter.clone(), self.fields.bind(filter)));
            Asked { wanted, subscription, payload_filter }
        }));
    }

    /// Every condition of each endpoint, in the order in which they were added and are asked. An endpoint takes the event when
    /// all of its conditions passed. What cannot be read (the profile lost a filter) takes nothing, and the check
    /// `subscription` says why.
    pub fn explain(&self, event_type: &EventType, payload: &Payload<'_>) -> Vec<Vec<Check>> {
        let filters = self.asked.iter().flatten().filter_map(|asked| asked.payload_filter.as_ref());
        let found = self.fields.collect(filters.map(|(_, bound)| bound), payload);
        let mut budget = Budget::default();
        let mut checks = |asked: &Result<Asked<'a>, _>| match asked {
            Ok(asked) => asked.checks(event_type, payload, &found, &mut budget),
            Err(error) => vec![unreadable(error)],
        };
        self.asked.iter().map(&mut checks).collect()
    }
}

fn unreadable(error: &InvalidSubscription) -> Check {
    let (expected, actual) = (json!("one that fits the tenant's profile"), json!(error.to_string()));
    Check { check: "subscription".into(), expected, actual, passed: false }
}

impl Asked<'_> {
    fn checks(
        &self,
        event_type: &EventType,
        payload: &Payload<'_>,
        found: &Found<'_>,
        budget: &mut Budget,
    ) -> Vec<Check> {
        let mut checks = vec![Check {
            check: "event_types".into(),
            expected: json!(self.wanted.event_types),
            actual: json!(event_type),
            passed: self.subscription.event_types.iter().any(|pattern| pattern.matches(event_type)),
        }];
        for (name, values) in &self.subscription.filters {
            let actual = payload.attributes.get(name);
            checks.push(Check {
                check: format!("filters.{name}"),
                expected: json!(self.wanted.filters.get(name.as_ref())),
                actual: json!(actual),
                passed: actual.is_some_and(|actual| values.matches(actual)),
            });
        }
        if let (Some((filter, bound)), Some(expected)) = (&self.payload_filter, self.wanted.payload_filter) {
            // Fan-out asks only where all else passed, and so spends nothing on others.
            let is_asked = checks.iter().all(|check| check.passed);
            let mut own = Budget::default();
            let budget = if is_asked { budget } else { &mut own };
            let passed = bound.takes(found, budget);
            let actual = if budget.is_spent() {
                json!(format!("budget: the filters take more than {PAYLOAD_FILTER_STEPS_MAX} steps over this event"))
            } else {
                Value::Object(filter.held(bound, found))
            };
            checks.push(Check { check: "payload_filter".into(), expected: expected.clone(), actual, passed });
        }
        checks
    }
}

impl Wanted<'_> {
    /// Compiles it.
    ///
    /// # Errors
    /// What no longer fits the profile: it takes nothing.
    pub fn compile(&self, kind_of: impl Fn(&str) -> Option<MatchKind>) -> Result<Wants, InvalidSubscription> {
        let payload_filter = self.payload_filter.map(PayloadFilter::read).transpose();
        let subscription = Subscription::compile(self.event_types, self.filters, kind_of)?;
        Ok(Wants { subscription, payload_filter: payload_filter? })
    }

    /// Every condition, for one endpoint alone; see [`Explainer::explain`].
    pub fn checks(
        &self,
        kind_of: impl Fn(&str) -> Option<MatchKind>,
        event_type: &EventType,
        payload: &Payload<'_>,
    ) -> Vec<Check> {
        let mut explainer = Explainer::default();
        explainer.add(*self, kind_of);
        explainer.explain(event_type, payload).pop().unwrap_or_default()
    }
}
