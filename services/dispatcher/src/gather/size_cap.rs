//! The sizes of batches that endpoints accept. A 413 halves the size; accepted batches double it again.

use std::collections::HashMap;

use postrider_model::ids::EndpointId;

/// Number of accepted batches of the maximum size after which the size doubles.
const DOUBLE_AFTER: u32 = 50;
/// A cap of at least this size is removed, because `events_max` is at most 1,000.
const FORGET_FROM: usize = 1_000;
/// Maximum number of endpoints with a cap. At the maximum, all caps are forgotten, which costs one 413 per halving.
const ENDPOINTS_MAX: usize = 10_000;

/// The caps of the endpoints that answered with 413.
#[derive(Debug, Default)]
pub(super) struct SizeCaps(HashMap<EndpointId, SizeCap>);

#[derive(Debug, Clone, Copy)]
struct SizeCap {
    events: usize,
    accepted: u32,
}

impl SizeCaps {
    /// The maximum number of members, if the endpoint has a cap.
    pub(super) fn of(&self, endpoint: EndpointId) -> Option<usize> {
        self.0.get(&endpoint).map(|cap| cap.events)
    }

    /// Halves the size of a batch that was too large. Concurrent batches of the same size halve once.
    pub(super) fn halve(&mut self, endpoint: EndpointId, size: usize) {
        if self.0.len() >= ENDPOINTS_MAX && !self.0.contains_key(&endpoint) {
            self.0.clear();
        }
        let half = (size / 2).max(1);
        let cap = self.0.entry(endpoint).or_insert(SizeCap { events: half, accepted: 0 });
        *cap = SizeCap { events: cap.events.min(half), accepted: 0 };
    }

    /// Counts an accepted batch.
    pub(super) fn accepted(&mut self, endpoint: EndpointId, size: usize) {
        let Some(cap) = self.0.get_mut(&endpoint) else { return };
        if size < cap.events {
            return;
        }
        cap.accepted += 1;
        if cap.accepted >= DOUBLE_AFTER {
            *cap = SizeCap { events: cap.events * 2, accepted: 0 };
            if cap.events >= FORGET_FROM {
                self.0.remove(&endpoint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_halves_down_to_one_and_doubles_after_accepted_batches() {
        let (mut caps, endpoint) = (SizeCaps::default(), EndpointId::generate());
        assert_eq!(caps.of(endpoint), None);
        caps.halve(endpoint, 1_000);
        // A concurrent batch of the same size.
        caps.halve(endpoint, 1_000);
        assert_eq!(caps.of(endpoint), Some(500));
        for size in [500, 250, 3, 1] {
            caps.halve(endpoint, size);
        }
        assert_eq!(caps.of(endpoint), Some(1));
        for _ in 0..DOUBLE_AFTER {
            caps.accepted(endpoint, 1);
        }
        assert_eq!(caps.of(endpoint), Some(2));
        for _ in 0..DOUBLE_AFTER {
            caps.accepted(endpoint, 1);
        }
        assert_eq!(caps.of(endpoint), Some(2), "smaller batches prove nothing");
        caps.halve(endpoint, 2);
        assert_eq!(caps.of(endpoint), Some(1));
        for size in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] {
            (0..DOUBLE_AFTER).for_each(|_| caps.accepted(endpoint, size));
        }
        assert_eq!(caps.of(endpoint), None, "forgotten");
    }
}
