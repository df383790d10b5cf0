//! Why a subscription took an event or did not: its conditions one by one, by the very code that matches.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::event::EventType;
use crate::payload_filter::{Payload, PayloadFilter};
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

impl Wants {
    /// Whether an event is taken: [`Wanted::checks`] would pass, all of them.
    pub fn take(&self, event_type: &EventType, payload: &Payload<'_>) -> bool {
        self.subscription.matches(event_type, payload.attributes)
            && self.payload_filter.as_ref().is_none_or(|filter| filter.look(payload).0)
    }

    /// Whether it depends on what the event holds, not on its type and attributes alone.
    pub fn look_inside(&self) -> bool {
        self.payload_filter.is_some()
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

    /// Every condition, in the order in which they are asked. The event is taken when all of them passed. What cannot be read
    /// (the profile lost a filter) takes nothing, and the check `subscription` says why.
    pub fn checks(
        &self,
        kind_of: impl Fn(&str) -> Option<MatchKind>,
        event_type: &EventType,
        payload: &Payload<'_>,
    ) -> Vec<Check> {
        let Wants { subscription, payload_filter } = match self.compile(kind_of) {
            Ok(wants) => wants,
            Err(error) => {
                let (expected, actual) = (json!("one that fits the tenant's profile"), json!(error.to_string()));
                return vec![Check { check: "subscription".into(), expected, actual, passed: false }];
            }
        };
        let mut checks = vec![Check {
            check: "event_types".into(),
            expected: json!(self.event_types),
            actual: json!(event_type),
            passed: subscription.event_types.iter().any(|pattern| pattern.matches(event_type)),
        }];
        for (name, values) in &subscription.filters {
            let actual = payload.attributes.get(name);
            checks.push(Check {
                check: format!("filters.{name}"),
                expected: json!(self.filters.get(name.as_ref())),
                actual: json!(actual),
                passed: actual.is_some_and(|actual| values.matches(actual)),
            });
        }
        if let (Some(filter), Some(expected)) = (payload_filter, self.payload_filter) {
            let (passed, held) = filter.look(payload);
            let (expected, actual) = (expected.clone(), Value::Object(held));
            checks.push(Check { check: "payload_filter".into(), expected, actual, passed });
        }
        checks
    }
}
