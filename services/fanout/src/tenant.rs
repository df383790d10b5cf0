//! One tenant's subscriptions, arranged so that an event looks only at endpoints which want its type.

use std::collections::HashMap;
use std::sync::Arc;

use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::EndpointId;
use postrider_model::subscription::{FilterValues, Subscription, TypePattern};
use postrider_profiles::Profile;

/// One active endpoint, compiled.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// The endpoint.
    pub(crate) endpoint: EndpointId,
    /// Its filters; all must take the event's attributes.
    filters: Box<[(Box<str>, FilterValues)]>,
    /// Its body escapes non-ASCII.
    pub(crate) ascii_json: bool,
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
    /// Positions in `candidates` by exact type.
    exact: HashMap<Box<str>, Vec<u32>>,
    /// Positions by what stands before a wildcard, dot included: `email.`.
    below: HashMap<Box<str>, Vec<u32>>,
    /// Positions of those that take every type.
    all: Vec<u32>,
}

impl TenantIndex {
    /// Arranges the active subscriptions of a tenant.
    pub(crate) fn new(
        profile: Arc<Profile>,
        active: impl IntoIterator<Item = (EndpointId, Subscription, bool)>,
    ) -> Self {
        let (mut candidates, mut exact, mut below, mut all) =
            (Vec::new(), HashMap::<_, Vec<u32>>::new(), HashMap::<_, Vec<u32>>::new(), Vec::new());
        for (position, (endpoint, subscription, ascii_json)) in (0_u32..).zip(active) {
            for pattern in subscription.event_types {
                match pattern {
                    TypePattern::All => all.push(position),
                    TypePattern::Below(prefix) => below.entry(prefix).or_default().push(position),
                    TypePattern::Exact(exactly) => exact.entry(exactly).or_default().push(position),
                }
            }
            candidates.push(Candidate { endpoint, filters: subscription.filters.into(), ascii_json });
        }
        Self { profile, candidates: candidates.into(), exact, below, all }
    }

    /// The endpoints that want this event, each once.
    pub(crate) fn matching(&self, event_type: &EventType, attributes: &Attributes) -> Vec<&Candidate> {
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
        let profile = Profiles::builtin().get("standard").unwrap().clone();
        let ids: Vec<_> = subscriptions.iter().map(|_| EndpointId::generate()).collect();
        (TenantIndex::new(profile, ids.iter().copied().zip(subscriptions).map(|(id, s)| (id, s, false))), ids)
    }

    #[test]
    fn an_endpoint_that_matches_by_several_patterns_is_found_once() {
        let (index, ids) = index(vec![subscription(&["*", "email.*", "email.bounced"], &[])]);
        let found = index.matching(&"email.bounced".parse().unwrap(), &Attributes::default());
        assert_eq!(found.iter().map(|c| c.endpoint).collect::<Vec<_>>(), ids);
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
            let found: Vec<_> = index.matching(&event_type, &attributes).iter().map(|c| c.endpoint).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
