//! The slot that a delivery was granted and carries through the ladder.

use std::time::Duration;

use postrider_model::delivery::HeldReason;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::{DeliveryTask, SlotTerms};

use super::gcra;

/// A slot missed by more than this is charged again.
const MISSED_AFTER: Duration = Duration::from_secs(1);

/// A granted slot, as a delivery's message carries it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeldSlot {
    /// The slot, by the wall clock.
    pub(crate) slot_at: Option<UnixMillis>,
    /// What it was granted for.
    pub(crate) terms: Option<SlotTerms>,
    /// Since when the delivery is held.
    pub(crate) held_since: Option<UnixMillis>,
    /// Why it is held.
    pub(crate) reason: Option<HeldReason>,
}

/// A granted slot, relative to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// None was granted.
    None,
    /// It is in the future.
    Ahead {
        remaining: Duration,
        reason: HeldReason,
        /// Another process granted it: another dispatcher, or an earlier run of this one.
        foreign: bool,
    },
    /// It is now.
    Due {
        reason: HeldReason,
        /// See [`SlotState::Ahead`].
        foreign: bool,
    },
    /// It passed more than a second ago.
    Missed,
}

impl HeldSlot {
    pub(crate) fn of(task: &DeliveryTask) -> Self {
        let DeliveryTask { slot_at, slot_terms: terms, held_since, held_reason: reason, .. } = *task;
        Self { slot_at, terms, held_since, reason }
    }

    /// The slot's state at `now`. `foreign_before`: when this dispatcher started. `interval`: the current interval of slots.
    ///
    /// Two changes in between are allowed for. If the wall clock was set back, the slot is no further away than it was due to
    /// be when the delivery came back. If the rate was edited, the slot stays as many slots away; without a rate it is void.
    pub(crate) fn state(&self, now: UnixMillis, foreign_before: UnixMillis, interval: Option<Duration>) -> SlotState {
        let Some(slot_at) = self.slot_at else { return SlotState::None };
        let reason = self.reason.unwrap_or(HeldReason::Rate);
        let foreign = self.held_since.is_some_and(|since| since < foreign_before);
        if slot_at > now {
            let mut remaining = now.until(slot_at);
            if let Some(terms) = self.terms {
                remaining = remaining.min(Duration::from_millis(terms.left_ms));
            }
            if reason == HeldReason::Rate {
                let Some(interval) = interval else { return SlotState::None };
                let before = self.terms.map_or(Duration::ZERO, |terms| Duration::from_micros(terms.interval_us));
                remaining = gcra::rescaled(remaining, before, interval);
            }
            SlotState::Ahead { remaining, reason, foreign }
        } else if slot_at.until(now) <= MISSED_AFTER {
            SlotState::Due { reason, foreign }
        } else {
            SlotState::Missed
        }
    }
}
