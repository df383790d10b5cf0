//! What a pending delivery waits for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delivery::HeldReason;
use crate::text::names;
use crate::time::UnixMillis;

/// An attempt that has been due for less than this time is on its way. If it has been due for longer, something holds it back.
pub const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// What a pending delivery waits for. The phase is computed from the delivery's row and its endpoint, and is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeliveryPhase {
    /// The event's `deliver_at` is in the future.
    Scheduled,
    /// An attempt is due, or in progress.
    Queued,
    /// At least one attempt failed, and the next one is scheduled.
    Retrying,
    /// The attempt has been due for more than 10 s. The endpoint's breaker or its rate holds it back.
    Held,
    /// The attempt has been due for more than 10 s, behind other deliveries.
    Waiting,
    /// The delivery was set aside while its endpoint was paused. It is attempted after the endpoint was resumed.
    Paused,
    /// Its endpoint is ordered, and an earlier delivery with the same key has not ended.
    InLine,
}
names!(DeliveryPhase {
    Scheduled => "scheduled", Queued => "queued", Retrying => "retrying", Held => "held", Waiting => "waiting",
    Paused => "paused", InLine => "in_line",
});

impl DeliveryPhase {
    /// Every phase.
    pub const ALL: [Self; 7] =
        [Self::Scheduled, Self::Queued, Self::Retrying, Self::Held, Self::Waiting, Self::Paused, Self::InLine];

    /// The phase of a pending delivery that is not set aside, after `attempts` attempts, whose next attempt is due at `due`.
    /// `holds`: why the endpoint may hold its deliveries back, if it has a rate or an open breaker. [`Self::InLine`] depends on
    /// other deliveries, so this function does not return it.
    pub fn of(attempts: u16, due: Option<UnixMillis>, now: UnixMillis, holds: Option<HeldReason>) -> Self {
        match due {
            Some(due) if due > now => {
                if attempts == 0 {
                    Self::Scheduled
                } else {
                    Self::Retrying
                }
            }
            _ if !Self::is_overdue(due, now) => Self::Queued,
            _ if holds.is_some() => Self::Held,
            _ => Self::Waiting,
        }
    }

    /// Whether an attempt has been due for so long that something holds it back: the phase is held or waiting.
    pub fn is_overdue(due: Option<UnixMillis>, now: UnixMillis) -> bool {
        due.is_none_or(|due| now >= due.plus(ON_ITS_WAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeliveryPhase::{Held, Queued, Retrying, Scheduled, Waiting};

    #[test]
    fn the_phase_follows_from_attempts_and_the_time_of_the_next_one() {
        const BREAKER: Option<HeldReason> = Some(HeldReason::Breaker);
        let now = UnixMillis(100_000);
        let check = |attempts, due: Option<i64>, holds, expected| {
            assert_eq!(
                DeliveryPhase::of(attempts, due.map(UnixMillis), now, holds),
                expected,
                "{attempts} {due:?} {holds:?}"
            );
        };
        check(0, Some(100_001), BREAKER, Scheduled);
        check(0, Some(100_000), None, Queued);
        check(0, Some(90_001), BREAKER, Queued);
        check(3, Some(90_001), None, Queued);
        check(1, Some(100_001), BREAKER, Retrying);
        check(0, Some(90_000), BREAKER, Held);
        check(2, Some(1), BREAKER, Held);
        check(0, Some(90_000), None, Waiting);
        check(0, None, None, Waiting);
    }
}
