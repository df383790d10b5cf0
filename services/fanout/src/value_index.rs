//! Finds the endpoints that filter an attribute by exact values. Each such value has a key: a hash of the attribute and the
//! value.
//!
//! Equal values have equal keys. Different values rarely have equal keys. Because they may, the whole filter of each endpoint
//! that was found is still evaluated.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};

use postrider_model::event::Attributes;
use postrider_model::subscription::{FilterValues, MatchKind};

/// The filters of an endpoint, by attribute.
pub(crate) type Filters = [(Box<str>, FilterValues)];

/// Finds the endpoints of a tenant by attribute values.
#[derive(Debug)]
pub(crate) struct ValueIndex {
    /// The hasher's seed is random, so that a tenant cannot choose values with equal keys.
    hasher: RandomState,
    /// The attributes by which at least one endpoint is found.
    attributes: Vec<(Box<str>, MatchKind)>,
}

impl ValueIndex {
    /// Chooses one filter of each endpoint, by which the endpoint is found. Filters with wildcards or address blocks are not
    /// considered. Of the other filters, it chooses the one whose most common value is shared by the fewest endpoints. Returns
    /// the keys of each endpoint. An endpoint without a suitable filter has no keys.
    pub(crate) fn choose<'a>(endpoints: impl Iterator<Item = &'a Filters> + Clone) -> (Self, Vec<Vec<u64>>) {
        let hasher = RandomState::new();
        let mut sharing: HashMap<u64, u32> = HashMap::new();
        for (_, _, keys) in endpoints.clone().flat_map(|filters| found_by(&hasher, filters)) {
            for key in keys {
                *sharing.entry(key).or_default() += 1;
            }
        }
        let most_common = |keys: &[u64]| keys.iter().filter_map(|key| sharing.get(key)).max().copied();
        let mut attributes = BTreeSet::new();
        let chosen = endpoints.map(|filters| {
            let rarest = found_by(&hasher, filters).min_by_key(|(_, _, keys)| most_common(keys));
            rarest.map_or_else(Vec::new, |(attribute, kind, keys)| {
                attributes.insert((attribute, kind));
                keys
            })
        });
        let chosen = chosen.collect();
        let attributes = attributes.into_iter().map(|(name, kind)| (name.into(), kind)).collect();
        (Self { hasher, attributes }, chosen)
    }

    /// Returns the keys of an event. An endpoint that has keys can match the event only if one of its keys is among them.
    pub(crate) fn of_event(&self, attributes: &Attributes) -> Vec<u64> {
        let of = |(name, kind): &(Box<str>, MatchKind)| {
            let value = kind.comparable(attributes.get(name)?)?;
            Some(key(&self.hasher, name, *kind, &value))
        };
        self.attributes.iter().filter_map(of).collect()
    }
}

/// Returns the filters by which an endpoint can be found: attribute, kind of comparison, and keys.
fn found_by<'a>(hasher: &RandomState, filters: &'a Filters) -> impl Iterator<Item = (&'a str, MatchKind, Vec<u64>)> {
    filters.iter().filter_map(|(name, values)| {
        let (kind, values) = values.whole()?;
        Some((name.as_ref(), kind, values.iter().map(|value| key(hasher, name, kind, value)).collect()))
    })
}

fn key(hasher: &RandomState, attribute: &str, kind: MatchKind, value: &str) -> u64 {
    hasher.hash_one((attribute, kind, value))
}
