//! Explains, condition by condition, why a subscription matched an event or did not match it. Fan-out matches with the same
//! code.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::event::EventType;
use crate::limits::PAYLOAD_FILTER_STEPS_MAX;
use crate::payload_filter::{BoundFilter, Budget, FieldIndex, FieldValues, Payload, PayloadFilter};
use crate::subscription::{InvalidSubscription, MatchKind, Subscription};

/// One condition of an endpoint, and whether an event meets it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Reason))]
pub struct Condition {
    /// What the condition is about: `status`, `origin`, `event_types`, `filters.<attribute>` or `payload_filter`; `subscription` if
    /// the endpoint's subscription cannot be read.
    #[cfg_attr(feature = "openapi", schema(example = "filters.bridge"))]
    pub check: String,
    /// What the endpoint requires, in the words of its configuration.
    #[cfg_attr(feature = "openapi", schema(value_type = Value, example = json!(["b1"])))]
    pub expected: Value,
    /// The event's value; `null` if it has none.
    #[cfg_attr(feature = "openapi", schema(value_type = Value, example = "b2"))]
    pub actual: Value,
    /// Whether the event meets the condition.
    pub passed: bool,
}

/// A subscription as the customer wrote it.
#[derive(Debug, Clone, Copy)]
pub struct SubscriptionText<'a> {
    /// Patterns of event types.
    pub event_types: &'a [String],
    /// The accepted values of attributes, by attribute.
    pub filters: &'a BTreeMap<String, Vec<String>>,
    /// The condition on the payload.
    pub payload_filter: Option<&'a Value>,
}

/// A subscription whose payload filter is bound to a [`FieldIndex`]. All endpoints that are evaluated for one event share the
/// index. An event matches if both parts match.
#[derive(Debug, Clone)]
pub struct BoundSubscription {
    /// The event types and filters.
    pub subscription: Subscription,
    /// The condition on the payload.
    pub payload_filter: Option<BoundFilter>,
}

/// Explains one event for many subscriptions, and reads the event once for all of them.
#[derive(Default)]
pub struct Explainer<'a> {
    index: FieldIndex,
    subscriptions: Vec<(SubscriptionText<'a>, Result<BoundSubscription, InvalidSubscription>)>,
}

impl<'a> Explainer<'a> {
    /// Adds a subscription. Add subscriptions in the order in which fan-out evaluates them, because they share one budget.
    pub fn add(&mut self, text: SubscriptionText<'a>, kind_of: impl Fn(&str) -> Option<MatchKind>) {
        self.subscriptions.push((text, text.bind(&mut self.index, kind_of)));
    }

    /// Returns the conditions of each subscription, in the order of [`Explainer::add`]. A subscription matches if all of its
    /// conditions passed. An invalid subscription, for example with an attribute that the tenant's profile does not have,
    /// matches nothing: its only condition is `subscription`, which failed and contains the mistake.
    pub fn explain(&self, event_type: &EventType, payload: &Payload<'_>) -> Vec<Vec<Condition>> {
        let valid = self.subscriptions.iter().filter_map(|(_, bound)| bound.as_ref().ok());
        let values = self.index.collect(valid.filter_map(|bound| bound.payload_filter.as_ref()), payload);
        let mut budget = Budget::default();
        let mut conditions = |(text, bound): &(SubscriptionText<'a>, Result<BoundSubscription, _>)| match bound {
            Ok(bound) => bound.conditions(text, event_type, payload, &values, &mut budget),
            Err(error) => vec![invalid(error)],
        };
        self.subscriptions.iter().map(&mut conditions).collect()
    }
}

fn invalid(error: &InvalidSubscription) -> Condition {
    let (expected, actual) = (json!("one that fits the tenant's profile"), json!(error.to_string()));
    Condition { check: "subscription".into(), expected, actual, passed: false }
}

impl BoundSubscription {
    fn conditions(
        &self,
        text: &SubscriptionText<'_>,
        event_type: &EventType,
        payload: &Payload<'_>,
        values: &FieldValues<'_>,
        budget: &mut Budget,
    ) -> Vec<Condition> {
        let mut conditions = vec![Condition {
            check: "event_types".into(),
            expected: json!(text.event_types),
            actual: json!(event_type),
            passed: self.subscription.event_types.iter().any(|pattern| pattern.matches(event_type)),
        }];
        for (name, allowed) in &self.subscription.filters {
            let actual = payload.attributes.get(name);
            conditions.push(Condition {
                check: format!("filters.{name}"),
                expected: json!(text.filters.get(name.as_ref())),
                actual: json!(actual),
                passed: actual.is_some_and(|actual| allowed.matches(actual)),
            });
        }
        if let (Some(filter), Some(expected)) = (&self.payload_filter, text.payload_filter) {
            // Fan-out evaluates a payload filter only if all other conditions passed; otherwise the filter must not spend the
            // shared budget.
            let is_evaluated = conditions.iter().all(|condition| condition.passed);
            let mut own = Budget::default();
            let budget = if is_evaluated { budget } else { &mut own };
            let passed = filter.matches(values, budget);
            let actual = if budget.is_spent() {
                json!(format!("budget: the filters take more than {PAYLOAD_FILTER_STEPS_MAX} steps over this event"))
            } else {
                Value::Object(filter.actual_values(values))
            };
            conditions.push(Condition { check: "payload_filter".into(), expected: expected.clone(), actual, passed });
        }
        conditions
    }
}

impl SubscriptionText<'_> {
    /// Compiles the subscription, and binds its payload filter to `index`.
    ///
    /// # Errors
    /// The subscription does not fit the profile. Such a subscription matches nothing.
    pub fn bind(
        &self,
        index: &mut FieldIndex,
        kind_of: impl Fn(&str) -> Option<MatchKind>,
    ) -> Result<BoundSubscription, InvalidSubscription> {
        let payload_filter = self.payload_filter.map(PayloadFilter::read).transpose();
        let subscription = Subscription::compile(self.event_types, self.filters, kind_of)?;
        let payload_filter = payload_filter?.map(|filter| index.bind(filter));
        Ok(BoundSubscription { subscription, payload_filter })
    }

    /// Returns every condition of this subscription; see [`Explainer::explain`].
    pub fn explain(
        &self,
        kind_of: impl Fn(&str) -> Option<MatchKind>,
        event_type: &EventType,
        payload: &Payload<'_>,
    ) -> Vec<Condition> {
        let mut explainer = Explainer::default();
        explainer.add(*self, kind_of);
        explainer.explain(event_type, payload).pop().unwrap_or_default()
    }
}
