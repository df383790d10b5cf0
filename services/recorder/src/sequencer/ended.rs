//! The deliveries that ended recently.

use std::collections::{HashSet, VecDeque};

use postrider_model::ids::DeliveryId;

/// Number of remembered deliveries. A crashed fan-out repeats far fewer events.
const REMEMBERED: usize = 100_000;

/// The ids of the last [`REMEMBERED`] deliveries that ended.
#[derive(Default)]
pub(super) struct RecentlyEnded {
    ids: HashSet<DeliveryId>,
    oldest_first: VecDeque<DeliveryId>,
}

impl RecentlyEnded {
    pub(super) fn contains(&self, id: DeliveryId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn extend(&mut self, ended: impl Iterator<Item = DeliveryId>) {
        for id in ended {
            if self.ids.insert(id) {
                self.oldest_first.push_back(id);
            }
        }
        while self.oldest_first.len() > REMEMBERED {
            if let Some(forgotten) = self.oldest_first.pop_front() {
                self.ids.remove(&forgotten);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_ends_are_remembered() {
        let (mut ended, ids) =
            (RecentlyEnded::default(), (0..REMEMBERED + 2).map(|n| DeliveryId(uuid::Uuid::from_u128(n as u128))));
        let ids: Vec<_> = ids.collect();
        ended.extend(ids.iter().copied());
        ended.extend(ids[5..6].iter().copied());
        assert!(!ended.contains(ids[0]) && !ended.contains(ids[1]) && ended.contains(ids[2]));
        assert_eq!(ended.oldest_first.len(), REMEMBERED);
    }
}
