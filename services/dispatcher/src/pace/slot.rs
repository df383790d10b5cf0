//! The slot that was granted to a delivery. The delivery's message contains the slot while the delivery is on the ladder.

use std::time::Duration;

use postrider_model::delivery::HeldReason;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::{DeliveryTask, SlotTerms};

use super::gcra;

/// Maximum delay after a slot within which the delivery may still use it. After that, the delivery must request a new slot.
const MISSED_AFTER: Duration = Duration::from_secs(1);

/// A granted slot, as the delivery's message contains it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeldSlot {
    /// The time of the slot by the wall clock.
    pub(crate) slot_at: Option<UnixMillis>,
    /// Data that corrects the slot after a change of the clock or the rate.
    pub(crate) terms: Option<SlotTerms>,
    /// The time at which the delivery was first held.
    pub(crate) held_since: Option<UnixMillis>,
    /// The reason for which the delivery is held.
    pub(crate) reason: Option<HeldReason>,
}

/// A granted slot in relation to the current time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// The delivery has no slot.
    None,
    /// The slot is in the future.
    Ahead {
        remaining: Duration,
        reason: HeldReason,
        /// Whether another dispatcher, or an earlier instance of this dispatcher, granted the slot.
        foreign: bool,
    },
    /// The slot is due now, or was due at most a second ago.
    Due {
        reason: HeldReason,
        /// See [`SlotState::Ahead`].
        foreign: bool,
    },
    /// The slot was due more than a second ago.
    Missed,
}

impl HeldSlot {
    pub(crate) fn of(task: &DeliveryTask) -> Self {
        let DeliveryTask { slot_at, slot_terms: terms, held_since, held_reason: reason, .. } = *task;
        Self { slot_at, terms, held_since, reason }
    }

    /// Returns the slot's state at `now`. `foreign_before` is the time at which this process started. `interval` is the current
    /// interval between slots.
    ///
    /// If the wall clock was set back, the time until the slot is at most [`SlotTerms::left_ms`]. If the rate was edited, the
    /// number of slots before this slot does not change. If the rate was removed, the slot is void.
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
