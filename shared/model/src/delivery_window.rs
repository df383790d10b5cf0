//! When the deliveries of an event may be attempted: not before its `deliver_at`, and not after its expiry.

use std::time::Duration;

use crate::limits::{DELIVER_AT_AHEAD_MAX, DELIVERY_LIFETIME};
use crate::time::UnixMillis;

/// The end of an event's window, as its producer stated it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// A point in time.
    At(UnixMillis),
    /// A duration from the time at which the deliveries are due: the event's `deliver_at`, otherwise its acceptance.
    After(Duration),
}

/// An event's window, as its producer stated it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatedWindow {
    /// When the first attempts are due; `None`: at once.
    pub deliver_at: Option<UnixMillis>,
    /// When the event expires; `None`: after the `ttl_seconds` of its type, if the type has one.
    pub expiry: Option<Expiry>,
}

/// An event's window as points in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliveryWindow {
    /// When the first attempts are due; `None`: at once.
    pub deliver_at: Option<UnixMillis>,
    /// No attempt starts at this time or later; `None`: only [`DELIVERY_LIFETIME`] limits the attempts.
    pub expires_at: Option<UnixMillis>,
}

/// Why an event's window is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The event has expired.
    #[error("{expires_at} has passed: expected a time in the future, it is {now}")]
    Expired {
        /// The event's expiry.
        expires_at: UnixMillis,
        /// When the window was checked.
        now: UnixMillis,
    },
    /// The event expires before its first attempts are due.
    #[error("{deliver_at} is not before the event's expires_at, {expires_at}")]
    NeverOpen {
        /// When the first attempts are due.
        deliver_at: UnixMillis,
        /// The event's expiry.
        expires_at: UnixMillis,
    },
    /// The first attempts are due too late.
    #[error("{deliver_at} is too far ahead: at most {} days, until {latest}", DELIVER_AT_AHEAD_MAX.as_secs() / 86_400)]
    TooFarAhead {
        /// When the first attempts are due.
        deliver_at: UnixMillis,
        /// The latest time that is allowed.
        latest: UnixMillis,
    },
}

impl WindowError {
    /// The field of the event that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expires_at",
            Self::NeverOpen { .. } | Self::TooFarAhead { .. } => "deliver_at",
        }
    }
}

impl StatedWindow {
    /// Whether the producer stated nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The window as points in time. `default_ttl` is that of the event's type.
    pub fn resolve(self, accepted_at: UnixMillis, default_ttl: Option<Duration>) -> DeliveryWindow {
        let due = self.deliver_at.map_or(accepted_at, |at| at.max(accepted_at));
        let expires_at = match self.expiry.or(default_ttl.map(Expiry::After)) {
            None => None,
            Some(Expiry::At(at)) => Some(at),
            Some(Expiry::After(ttl)) => Some(due.plus(ttl)),
        };
        DeliveryWindow { deliver_at: self.deliver_at, expires_at }
    }
}

impl DeliveryWindow {
    /// Checks the window of an event that is published at `now`. A `deliver_at` that has passed is allowed: the first attempts
    /// are due at once.
    ///
    /// # Errors
    /// See [`WindowError`].
    pub fn check(&self, now: UnixMillis) -> Result<(), WindowError> {
        if let (Some(deliver_at), Some(expires_at)) = (self.deliver_at, self.expires_at)
            && deliver_at >= expires_at
        {
            return Err(WindowError::NeverOpen { deliver_at, expires_at });
        }
        let latest = now.plus(DELIVER_AT_AHEAD_MAX);
        match (self.deliver_at, self.expires_at) {
            (Some(deliver_at), _) if deliver_at > latest => Err(WindowError::TooFarAhead { deliver_at, latest }),
            (_, Some(expires_at)) if expires_at <= now => Err(WindowError::Expired { expires_at, now }),
            _ => Ok(()),
        }
    }

    /// When a delivery that is created at `created_at` is discarded: at the event's expiry, but at the latest after
    /// [`DELIVERY_LIFETIME`].
    pub fn delivery_expires_at(&self, created_at: UnixMillis) -> UnixMillis {
        let latest = created_at.plus(DELIVERY_LIFETIME);
        self.expires_at.map_or(latest, |at| at.min(latest))
    }

    /// When the first attempts are due, if that is after `now`.
    pub fn scheduled_after(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.deliver_at.filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn window(deliver_at: Option<UnixMillis>, expiry: Option<Expiry>, default_ttl: Option<Duration>) -> DeliveryWindow {
        StatedWindow { deliver_at, expiry }.resolve(NOW, default_ttl)
    }

    #[test]
    fn a_ttl_counts_from_the_time_at_which_the_event_is_due() {
        let expires = |deliver_at, expiry, default| window(deliver_at, expiry, default).expires_at;
        let later = Some(NOW.plus(10 * MINUTE));
        assert_eq!(expires(None, None, None), None);
        assert_eq!(expires(None, Some(Expiry::After(MINUTE)), None), Some(NOW.plus(MINUTE)));
        assert_eq!(expires(later, Some(Expiry::After(MINUTE)), None), Some(NOW.plus(11 * MINUTE)));
        assert_eq!(expires(Some(NOW.minus(MINUTE)), Some(Expiry::After(MINUTE)), None), Some(NOW.plus(MINUTE)));
        assert_eq!(expires(None, None, Some(MINUTE)), Some(NOW.plus(MINUTE)), "the type's default");
        assert_eq!(expires(None, Some(Expiry::At(NOW)), Some(MINUTE)), Some(NOW), "the event's own expiry wins");
    }

    #[test]
    fn a_window_that_never_opens_or_has_closed_is_refused() {
        let check = |deliver_at, expiry, expected: Option<&str>| {
            let error = window(deliver_at, expiry, None).check(NOW).err();
            assert_eq!(error.map(|error| error.field()), expected, "{deliver_at:?} {expiry:?} {error:?}");
        };
        let at = |by| Some(Expiry::At(NOW.plus(by)));
        check(None, None, None);
        check(None, at(MINUTE), None);
        check(None, Some(Expiry::At(NOW)), Some("expires_at"));
        check(Some(NOW.minus(MINUTE)), None, None);
        check(Some(NOW.minus(2 * MINUTE)), Some(Expiry::At(NOW.minus(MINUTE))), Some("expires_at"));
        check(Some(NOW.plus(MINUTE)), at(MINUTE), Some("deliver_at"));
        check(Some(NOW.plus(MINUTE)), at(2 * MINUTE), None);
        check(Some(NOW.plus(DELIVER_AT_AHEAD_MAX)), None, None);
        check(Some(NOW.plus(DELIVER_AT_AHEAD_MAX + MINUTE)), None, Some("deliver_at"));
    }

    #[test]
    fn a_delivery_expires_with_its_event_and_never_later_than_its_lifetime() {
        let lifetime = NOW.plus(DELIVERY_LIFETIME);
        let expires = |expires_at| DeliveryWindow { expires_at, ..DeliveryWindow::default() }.delivery_expires_at(NOW);
        assert_eq!(expires(None), lifetime);
        assert_eq!(expires(Some(NOW.plus(MINUTE))), NOW.plus(MINUTE));
        assert_eq!(expires(Some(lifetime.plus(MINUTE))), lifetime);
    }
}
