//! The subscriptions of one tenant. They are arranged so that an event is checked only against endpoints that subscribe to its
//! type. If these endpoints filter an attribute by exact values, only endpoints with the event's value are checked.

use std::collections::HashMap;
use std::sync::Arc;

use postrider_model::delivery::BodyKind;
use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::EndpointId;
use postrider_model::ordering::KeyReader;
use postrider_model::payload_filter::{BoundFilter, Budget, FieldIndex, Payload, PayloadFilter};
use postrider_model::subscription::{Subscription, TypePattern};
use postrider_profiles::Profile;

use crate::metrics;
use crate::value_index::ValueIndex;

/// Maximum number of tests in the payload filters of a tenant, and maximum size of an event, at which evaluating the payload
/// filters takes less than a millisecond.
const LIGHT_TESTS_MAX: usize = 200;
const LIGHT_BYTES_MAX: usize = 16 * 1024;

/// The subscription of an active or paused endpoint. It is shared by all versions of its tenant's index.
#[derive(Debug)]
pub(crate) struct Active {
    /// The endpoint.
    pub(crate) endpoint: EndpointId,
    /// The endpoint's event types and filters.
    pub(crate) subscription: Subscription,
    /// The endpoint's condition on the event's content.
    pub(crate) payload_filter: Option<Arc<PayloadFilter>>,
    /// The kind of the endpoint's bodies.
    pub(crate) body_kind: BodyKind,
    /// Whether the endpoint is paused: its deliveries are set aside.
    pub(crate) paused: bool,
    /// Reads the key of an event, and the generation of the ordering; `None` if the endpoint is not ordered.
    pub(crate) ordering: Option<Box<(KeyReader, u32)>>,
}

/// One endpoint in its tenant's index.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// The endpoint and its subscription. All filters of the subscription must match the event's attributes.
    active: Arc<Active>,
    /// The endpoint's condition on the event's content, bound to the tenant's [`FieldIndex`].
    payload_filter: Option<Box<BoundFilter>>,
}

impl Candidate {
    /// Returns the endpoint's id.
    pub(crate) fn endpoint(&self) -> EndpointId {
        self.active.endpoint
    }

    /// Returns the kind of the endpoint's bodies.
    pub(crate) fn body_kind(&self) -> BodyKind {
        self.active.body_kind
    }

    /// Whether the endpoint is paused, so that its deliveries are set aside.
    pub(crate) fn is_paused(&self) -> bool {
        self.active.paused
    }

    /// Returns the key reader and the generation of an ordered endpoint.
    pub(crate) fn ordering(&self) -> Option<&(KeyReader, u32)> {
        self.active.ordering.as_deref()
    }
}

/// A tenant's profile and active subscriptions. It is immutable: an edit creates a new index.
#[derive(Debug)]
pub(crate) struct TenantIndex {
    /// The profile of the tenant's deliveries.
    pub(crate) profile: Arc<Profile>,
    candidates: Box<[Candidate]>,
    /// The fields that the tenant's payload filters read.
    fields: FieldIndex,
    /// The number of tests in all payload filters.
    tests: usize,
    /// Finds candidates by attribute values.
    values: ValueIndex,
    /// Subscriptions to a single type, by the name of the type.
    exact: HashMap<Box<str>, Bucket>,
    /// Subscriptions by prefix. The key is the prefix with its trailing dot, such as `email.`.
    below: HashMap<Box<str>, Bucket>,
    /// Subscriptions to every type.
    all: Bucket,
}

/// Indexes of candidates that subscribe to the same type or prefix. They are positions in `candidates`.
#[derive(Debug, Default)]
struct Bucket {
    /// Candidates that are checked for every event of the type.
    always: Vec<u32>,
    /// Candidates that are checked only for events with their key, sorted by key.
    keyed: Vec<(u64, u32)>,
}

impl Bucket {
    fn add(&mut self, position: u32, keys: &[u64]) {
        match keys {
            [] => self.always.push(position),
            keys => self.keyed.extend(keys.iter().map(|key| (*key, position))),
        }
    }

    fn finish(&mut self) {
        self.keyed.sort_unstable();
        self.keyed.shrink_to_fit();
        self.always.shrink_to_fit();
    }

    fn find<'a>(&'a self, keys: &'a [u64]) -> impl Iterator<Item = u32> + 'a {
        let keyed = keys.iter().flat_map(|key| {
            let first = self.keyed.partition_point(|(other, _)| other < key);
            self.keyed[first..].iter().take_while(move |(other, _)| other == key).map(|(_, position)| *position)
        });
        self.always.iter().copied().chain(keyed)
    }
}

impl TenantIndex {
    /// Arranges the active subscriptions of a tenant for fast matching.
    pub(crate) fn new(profile: Arc<Profile>, active: &[Arc<Active>]) -> Self {
        let (values, keys) = ValueIndex::choose(active.iter().map(|active| &*active.subscription.filters));
        let (mut exact, mut below, mut all) =
            (HashMap::<_, Bucket>::new(), HashMap::<_, Bucket>::new(), Bucket::default());
        for (position, (active, keys)) in (0_u32..).zip(active.iter().zip(&keys)) {
            for pattern in &active.subscription.event_types {
                let bucket = match pattern {
                    TypePattern::All => &mut all,
                    TypePattern::Below(prefix) => below.entry(prefix.clone()).or_default(),
                    TypePattern::Exact(exactly) => exact.entry(exactly.clone()).or_default(),
                };
                bucket.add(position, keys);
            }
        }
        exact.values_mut().chain(below.values_mut()).chain([&mut all]).for_each(Bucket::finish);
        let mut fields = FieldIndex::default();
        let candidates = active.iter().map(|active| Candidate {
            active: Arc::clone(active),
            payload_filter: active.payload_filter.clone().map(|filter| Box::new(fields.bind(filter))),
        });
        let candidates = candidates.collect();
        let tests = active.iter().filter_map(|active| active.payload_filter.as_deref()).map(PayloadFilter::tests).sum();
        Self { profile, candidates, fields, tests, values, exact, below, all }
    }

    /// Returns the endpoints that match this event, without duplicates. The event's content is read at most once, and only if a
    /// payload filter must be evaluated.
    pub(crate) fn matching(&self, event_type: &EventType, payload: &Payload<'_>) -> Vec<&Candidate> {
        let mut matching = self.matching_without_content(event_type, payload.attributes);
        if matching.iter().any(|candidate| candidate.payload_filter.is_some()) {
            let filters = matching.iter().filter_map(|candidate| candidate.payload_filter.as_deref());
            let found = self.fields.collect(filters, payload);
            let mut budget = Budget::default();
            matching.retain(|candidate| {
                candidate.payload_filter.as_ref().is_none_or(|filter| filter.matches(&found, &mut budget))
            });
            if budget.is_spent() {
                metrics::filter_budget_spent();
                tracing::warn!(event.r#type = %event_type, "payload filters exceeded the step budget of an event; the remaining filters match nothing");
            }
        }
        matching
    }

    /// Returns the endpoint with this id, whatever it subscribes to.
    pub(crate) fn candidate(&self, endpoint: EndpointId) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.endpoint() == endpoint)
    }

    /// Whether evaluating the payload filters for an event of this size may take more than a millisecond.
    pub(crate) fn is_heavy(&self, event_bytes: usize) -> bool {
        self.tests > 0 && (event_bytes > LIGHT_BYTES_MAX || self.tests > LIGHT_TESTS_MAX)
    }

    /// Returns the endpoints that match the event's type and attributes. Does not evaluate payload filters.
    fn matching_without_content(&self, event_type: &EventType, attributes: &Attributes) -> Vec<&Candidate> {
        let name = event_type.as_str();
        let keys = self.values.of_event(attributes);
        let mut positions: Vec<u32> = self.all.find(&keys).collect();
        positions.extend(self.exact.get(name).into_iter().flat_map(|bucket| bucket.find(&keys)));
        if !self.below.is_empty() {
            for (dot, _) in name.match_indices('.') {
                positions.extend(self.below.get(&name[..=dot]).into_iter().flat_map(|bucket| bucket.find(&keys)));
            }
        }
        positions.sort_unstable();
        positions.dedup();
        positions
            .into_iter()
            .map(|position| &self.candidates[position as usize])
            .filter(|candidate| candidate.active.subscription.filters_match(attributes))
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

    fn kind_of(name: &str) -> Option<MatchKind> {
        Some(match name {
            "sending_domain" => MatchKind::Domain,
            "dedicated_ip" => MatchKind::Ip,
            _ => MatchKind::Exact,
        })
    }

    fn subscription(types: &[&str], filters: &[(&str, &str)]) -> Subscription {
        let types: Vec<String> = types.iter().map(|t| (*t).to_owned()).collect();
        let filters: BTreeMap<String, Vec<String>> =
            filters.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
        Subscription::compile(&types, &filters, kind_of).unwrap()
    }

    fn index(subscriptions: Vec<Subscription>) -> (TenantIndex, Vec<EndpointId>) {
        filtered(subscriptions.into_iter().map(|subscription| (subscription, None)).collect())
    }

    fn filtered(subscriptions: Vec<(Subscription, Option<serde_json::Value>)>) -> (TenantIndex, Vec<EndpointId>) {
        let profile = Profiles::builtin().get("standard").unwrap().clone();
        let active: Vec<_> = subscriptions
            .into_iter()
            .map(|(subscription, filter)| {
                Arc::new(Active {
                    endpoint: EndpointId::generate(),
                    subscription,
                    payload_filter: filter.map(|json| Arc::new(PayloadFilter::read(&json).unwrap())),
                    body_kind: BodyKind::Json,
                    paused: false,
                    ordering: None,
                })
            })
            .collect();
        let ids = active.iter().map(|active| active.endpoint).collect();
        (TenantIndex::new(profile, &active), ids)
    }

    fn found(index: &TenantIndex, event_type: &str, data: &str, attributes: &Attributes) -> Vec<EndpointId> {
        let payload = Payload { data: data.as_bytes(), metadata: None, attributes };
        let matching = index.matching(&event_type.parse().unwrap(), &payload);
        matching.iter().map(|candidate| candidate.endpoint()).collect()
    }

    #[test]
    fn an_endpoint_that_matches_by_several_patterns_is_found_once() {
        let (index, ids) = index(vec![subscription(&["*", "email.*", "email.bounced"], &[])]);
        assert_eq!(found(&index, "email.bounced", "{}", &Attributes::default()), ids);
    }

    #[test]
    fn a_payload_filter_applies_to_its_own_endpoint_in_addition_to_types_and_filters() {
        let amount = |op: &str, value: u32| Some(serde_json::json!({"field": "data.amount", "op": op, "value": value}));
        let (index, ids) = filtered(vec![
            (subscription(&["*"], &[]), None),
            (subscription(&["*"], &[]), amount("gt", 5)),
            (subscription(&["*"], &[]), amount("lt", 5)),
            (subscription(&["a"], &[]), amount("gt", 5)),
            (subscription(&["*"], &[("bridge", "b1")]), amount("gt", 5)),
        ]);
        let of = |indices: &[usize]| indices.iter().map(|index| ids[*index]).collect::<Vec<_>>();
        let none = Attributes::default();
        let bridge = Attributes([("bridge".into(), "b1".into())].into());
        assert_eq!(found(&index, "a", r#"{"amount":6}"#, &none), of(&[0, 1, 3]));
        assert_eq!(found(&index, "b", r#"{"amount":6}"#, &bridge), of(&[0, 1, 4]));
        assert_eq!(found(&index, "b", r#"{"amount":4}"#, &bridge), of(&[0, 2]));
        assert_eq!(found(&index, "b", r#"{"amount":"6"}"#, &bridge), of(&[0]));
    }

    /// Returns the number of candidates that are checked for an event.
    fn checked(index: &TenantIndex, event_type: &str, attributes: &Attributes) -> usize {
        index.exact.get(event_type).map_or(0, |bucket| bucket.find(&index.values.of_event(attributes)).count())
    }

    #[test]
    fn only_endpoints_that_want_the_sending_domain_are_checked() {
        let (domains, mut subscriptions) = ((0..1_000).map(|n| format!("d{n}.example")), Vec::new());
        for domain in domains {
            subscriptions.push(subscription(&["a"], &[("bridge", "all-the-same"), ("sending_domain", &domain)]));
        }
        subscriptions.push(subscription(&["a"], &[("sending_domain", "*.example")]));
        let (index, ids) = index(subscriptions);
        let pairs = [("bridge", "all-the-same"), ("sending_domain", "D7.Example.")];
        let attributes = Attributes(pairs.map(|(name, value)| (name.into(), value.into())).into());
        assert_eq!(found(&index, "a", "{}", &attributes), [ids[7], ids[1_000]]);
        assert_eq!(checked(&index, "a", &attributes), 2);
        assert_eq!(checked(&index, "a", &Attributes::default()), 1);
    }

    /// Generates filters with few values, so that endpoints share values, and with several spellings of the same value.
    fn filters() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
        let values = |of: &'static [&'static str]| prop::collection::vec(prop::sample::select(of), 1..3);
        let filter = |name: &'static str, of| {
            values(of).prop_map(move |values| (name.to_owned(), values.into_iter().map(str::to_owned).collect()))
        };
        let one = prop_oneof![
            filter("bridge", &["x", "y", "X"]),
            filter("sending_node", &["x", "y"]),
            filter("sending_domain", &["a.b", "A.b.", "b", "c", "*.b"]),
            filter(
                "dedicated_ip",
                &["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2/32", "fd00::1", "fd00:0::1/128", "10.0.0.0/8"]
            ),
        ];
        prop::collection::vec(one, 0..4).prop_map(|filters| filters.into_iter().collect())
    }

    fn attributes() -> impl Strategy<Value = Attributes> {
        let value = |name: &'static str, of: &'static [&'static str]| {
            prop::option::weighted(0.8, prop::sample::select(of))
                .prop_map(move |value| value.map(|value| (name.into(), value.into())))
        };
        (
            value("bridge", &["x", "y", "X"]),
            value("sending_node", &["x", "y"]),
            value("sending_domain", &["a.b", "A.B", "b.", "c", "d"]),
            value("dedicated_ip", &["10.0.0.1", "::ffff:10.0.0.2", "fd00::1", "10.9.9.9", "none"]),
        )
            .prop_map(|(bridge, node, domain, ip)| {
                Attributes([bridge, node, domain, ip].into_iter().flatten().collect())
            })
    }

    proptest! {
        #[test]
        fn the_index_finds_the_same_endpoints_as_matching_one_by_one(
            wanted in prop::collection::vec(
                (prop::collection::vec("[ab](\\.[ab]){0,2}(\\.\\*)?|\\*", 1..4), filters()),
                0..40,
            ),
            event_type in "[ab](\\.[ab]){0,3}",
            attributes in attributes(),
        ) {
            let subscriptions: Vec<_> =
                wanted.iter().map(|(types, filters)| Subscription::compile(types, filters, kind_of).unwrap()).collect();
            let event_type: EventType = event_type.parse().unwrap();
            let (index, ids) = index(subscriptions.clone());
            let expected: Vec<_> = ids.iter().zip(&subscriptions)
                .filter(|(_, s)| s.matches(&event_type, &attributes)).map(|(id, _)| *id).collect();
            prop_assert_eq!(found(&index, event_type.as_str(), "{}", &attributes), expected);
        }
    }
}
