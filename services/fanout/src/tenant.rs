//! One tenant's subscriptions, arranged so that an event looks only at endpoints which want its type.

use std::collections::HashMap;
use std::sync::Arc;

use postrider_model::delivery::BodyKind;
use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::EndpointId;
use postrider_model::payload_filter::{BoundFilter, Fields, Payload, PayloadFilter};
use postrider_model::subscription::{FilterValues, Subscription, TypePattern};
use postrider_profiles::Profile;

/// What an active endpoint wants.
#[derive(Debug)]
pub(crate) struct Active {
    /// The endpoint.
    pub(crate) endpoint: EndpointId,
    /// Its types and filters.
    pub(crate) subscription: Subscription,
    /// Its condition on what the event holds.
    pub(crate) payload_filter: Option<PayloadFilter>,
    /// What its bodies are written as.
    pub(crate) body_kind: BodyKind,
}

/// One active endpoint, compiled.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// The endpoint.
    pub(crate) endpoint: EndpointId,
    /// Its filters; all must take the event's attributes.
    filters: Box<[(Box<str>, FilterValues)]>,
    /// Its condition on what the event holds.
    payload_filter: Option<BoundFilter>,
    /// What its bodies are written as.
    pub(crate) body_kind: BodyKind,
}

impl Candidate {
    fn takes(&self, attributes: &Attributes) -> bool {
        self.filters.iter().all(|(name, values)| attributes.get(name).is_some_and(|actual| values.matches(actual)))
    }
}

/// A tenant's profile and active subscriptions. Immutable: an edit builds a new one.
#[derive(Debug)]
pub(crate) struct TenantIndex {
    /// What the tenant's deliveries look like.
    pub(crate) profile: Arc<Profile>,
    candidates: Box<[Candidate]>,
    /// What the candidates' payload filters look at.
    fields: Fields,
    /// Positions in `candidates` by exact type.
    exact: HashMap<Box<str>, Vec<u32>>,
    /// Positions by what stands before a wildcard, dot included: `email.`.
    below: HashMap<Box<str>, Vec<u32>>,
    /// Positions of those that take every type.
    all: Vec<u32>,
}

impl TenantIndex {
    /// Arranges the active subscriptions of a tenant.
    pub(crate) fn new(profile: Arc<Profile>, active: impl IntoIterator<Item = Active>) -> Self {
        let (mut candidates, mut exact, mut below, mut all) =
            (Vec::new(), HashMap::<_, Vec<u32>>::new(), HashMap::<_, Vec<u32>>::new(), Vec::new());
        let mut fields = Fields::default();
        for (position, active) in (0_u32..).zip(active) {
            let Active { endpoint, subscription, payload_filter, body_kind } = active;
            for pattern in subscription.event_types {
                match pattern {
                    TypePattern::All => all.push(position),
                    TypePattern::Below(prefix) => below.entry(prefix).or_default().push(position),
                    TypePattern::Exact(exactly) => exact.entry(exactly).or_default().push(position),
                }
            }
            let payload_filter = payload_filter.map(|filter| fields.bind(filter));
            candidates.push(Candidate { endpoint, filters: subscription.filters.into(), payload_filter, body_kind });
        }
        Self { profile, candidates: candidates.into(), fields, exact, below, all }
    }

    /// The endpoints that want this event, each once. What the event holds is looked at only when it comes to a payload
    /// filter, and then once for all of them.
    pub(crate) fn matching(&self, event_type: &EventType, payload: &Payload<'_>) -> Vec<&Candidate> {
        let mut matching = self.matching_outside(event_type, payload.attributes);
        if matching.iter().any(|candidate| candidate.payload_filter.is_some()) {
            let filters = matching.iter().filter_map(|candidate| candidate.payload_filter.as_ref());
            let found = self.fields.collect(filters, payload);
            matching.retain(|candidate| candidate.payload_filter.as_ref().is_none_or(|filter| filter.takes(&found)));
        }
        matching
    }

    /// By type and attributes alone.
    fn matching_outside(&self, event_type: &EventType, attributes: &Attributes) -> Vec<&Candidate> {
        let name = event_type.as_str();
        let mut positions = self.all.clone();
        positions.extend(self.exact.get(name).into_iter().flatten());
        if !self.below.is_empty() {
            for (dot, _) in name.match_indices('.') {
                positions.extend(self.below.get(&name[..=dot]).into_iter().flatten());
            }
        }
        positions.sort_unstable();
        positions.dedup();
        positions
            .into_iter()
            .map(|position| &self.candidates[position as usize])
            .filter(|candidate| candidate.takes(attributes))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use postrider_model::subscription::MatchKind;
    use postrider_profiles::Profiles;
    use proptest::prelude::*;

    use super::*;

    fn subscription(types: &[&str], filters: &[(&str, &str)]) -> Subscription {
        let types: Vec<String> = types.iter().map(|t| (*t).to_owned()).collect();
        let filters: BTreeMap<String, Vec<String>> =
            filters.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
        Subscription::compile(&types, &filters, |_| Some(MatchKind::Exact)).unwrap()
    }

    fn index(subscriptions: Vec<Subscription>) -> (TenantIndex, Vec<EndpointId>) {
        filtered(subscriptions.into_iter().map(|subscription| (subscription, None)).collect())
    }

    fn filtered(subscriptions: Vec<(Subscription, Option<serde_json::Value>)>) -> (TenantIndex, Vec<EndpointId>) {
        let profile = Profiles::builtin().get("standard").unwrap().clone();
        let active: Vec<_> = subscriptions
            .into_iter()
            .map(|(subscription, filter)| Active {
                endpoint: EndpointId::generate(),
                subscription,
                payload_filter: filter.map(|json| PayloadFilter::read(&json).unwrap()),
                body_kind: BodyKind::Json,
            })
            .collect();
        let ids = active.iter().map(|active| active.endpoint).collect();
        (TenantIndex::new(profile, active), ids)
    }

    fn found(index: &TenantIndex, event_type: &str, data: &str, attributes: &Attributes) -> Vec<EndpointId> {
        let payload = Payload { data: data.as_bytes(), metadata: None, attributes };
        let matching = index.matching(&event_type.parse().unwrap(), &payload);
        matching.iter().map(|candidate| candidate.endpoint).collect()
    }

    #[test]
    fn an_endpoint_that_matches_by_several_patterns_is_found_once() {
        let (index, ids) = index(vec![subscription(&["*", "email.*", "email.bounced"], &[])]);
        assert_eq!(found(&index, "email.bounced", "{}", &Attributes::default()), ids);
    }

    #[test]
    fn each_payload_filter_decides_for_its_own_endpoint_beside_types_and_filters() {
        let amount = |op: &str, value: u32| Some(serde_json::json!({"field": "data.amount", "op": op, "value": value}));
        let (index, ids) = filtered(vec![
            (subscription(&["*"], &[]), None),
            (subscription(&["*"], &[]), amount("gt", 5)),
            (subscription(&["*"], &[]), amount("lt", 5)),
            (subscription(&["a"], &[]), amount("gt", 5)),
            (subscription(&["*"], &[("bridge", "b1")]), amount("gt", 5)),
        ]);
        let of = |places: &[usize]| places.iter().map(|place| ids[*place]).collect::<Vec<_>>();
        let none = Attributes::default();
        let bridge = Attributes([("bridge".into(), "b1".into())].into());
        assert_eq!(found(&index, "a", r#"{"amount":6}"#, &none), of(&[0, 1, 3]));
        assert_eq!(found(&index, "b", r#"{"amount":6}"#, &bridge), of(&[0, 1, 4]));
        assert_eq!(found(&index, "b", r#"{"amount":4}"#, &bridge), of(&[0, 2]));
        assert_eq!(found(&index, "b", r#"{"amount":"6"}"#, &bridge), of(&[0]));
    }

    proptest! {
        #[test]
        fn the_index_finds_what_each_subscription_alone_would_take(
            patterns in prop::collection::vec(prop::collection::vec("[ab](\\.[ab]){0,2}(\\.\\*)?|\\*", 1..4), 0..20),
            bridges in prop::collection::vec(prop::option::of("[xy]"), 20),
            event_type in "[ab](\\.[ab]){0,3}",
            bridge in prop::option::of("[xy]"),
        ) {
            let subscriptions: Vec<_> = patterns.iter().zip(&bridges).map(|(types, bridge)| {
                let types: Vec<&str> = types.iter().map(String::as_str).collect();
                let filter: Vec<_> = bridge.iter().map(|b| ("bridge", b.as_str())).collect();
                subscription(&types, &filter)
            }).collect();
            let event_type: EventType = event_type.parse().unwrap();
            let attributes = Attributes(bridge.iter().map(|b| ("bridge".into(), b.as_str().into())).collect());
            let (index, ids) = index(subscriptions.clone());
            let expected: Vec<_> = ids.iter().zip(&subscriptions)
                .filter(|(_, s)| s.matches(&event_type, &attributes)).map(|(id, _)| *id).collect();
            prop_assert_eq!(found(&index, event_type.as_str(), "{}", &attributes), expected);
        }
    }
}
