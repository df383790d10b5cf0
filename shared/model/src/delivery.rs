//! Deliveries: one event for one endpoint, and the states it goes through.
//!
//! `pending -> delivered | failed | cancelled | discarded`. Terminal is terminal, but for a later `delivered`,
//! because then the POST did happen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that is none of the allowed ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {allowed}, got {got:?}")]
pub struct UnknownName {
    /// The allowed names.
    pub allowed: &'static str,
    /// What came instead.
    pub got: String,
}

/// An enum whose variants are names on the wire, in rows and in routing keys: `as_str`, `Display`, `FromStr`.
macro_rules! names {
    ($type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// The name on the wire, in rows and in routing keys.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    other => Err(UnknownName {
                        allowed: concat!($($name, " "),+).trim_ascii_end(),
                        got: other.chars().take(80).collect(),
                    }),
                }
            }
        }
    };
}

pub(crate) use names;

/// A separately budgeted queue of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Everything that is neither slow nor bulk.
    #[default]
    Live,
    /// Deliveries to endpoints known to be slow or broken.
    Slow,
    /// Replays and bursts.
    Bulk,
}
names!(Lane { Live => "live", Slow => "slow", Bulk => "bulk" });

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Live, Self::Slow, Self::Bulk];
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Attempts are still to come.
    Pending,
    /// The endpoint answered with a status of the profile's success class.
    Delivered,
    /// The last attempt of the schedule failed, or the answer is one that is not retried.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// It could not be delivered for a reason that is no attempt's outcome, see [`DiscardReason`].
    Discarded,
}
names!(DeliveryStatus {
    Pending => "pending", Delivered => "delivered", Failed => "failed", Cancelled => "cancelled", Discarded => "discarded",
});

impl DeliveryStatus {
    /// Whether no further attempt follows.
    pub fn is_terminal(self) -> bool {
        self != Self::Pending
    }

    /// Which of two reports about one delivery stands, whatever order they arrive in: `delivered` beats everything,
    /// then any terminal state beats `pending`. (Among equals the caller takes the higher epoch and attempt number.)
    pub fn rank(self) -> i16 {
        match self {
            Self::Pending => 0,
            Self::Failed | Self::Cancelled | Self::Discarded => 1,
            Self::Delivered => 2,
        }
    }
}

/// Why a delivery was discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DiscardReason {
    /// It was still pending at `expires_at`.
    Expired,
    /// Its endpoint no longer exists.
    EndpointDeleted,
    /// Its endpoint is inactive or was disabled.
    EndpointInactive,
    /// Its event's payload was expunged.
    Expunged,
}
names!(DiscardReason {
    Expired => "expired", EndpointDeleted => "endpoint_deleted", EndpointInactive => "endpoint_inactive", Expunged => "expunged",
});

/// What caused an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The first attempt of an event's own delivery.
    First,
    /// The retry schedule.
    Retry,
    /// A person asked for this delivery again.
    Manual,
    /// A replay.
    Replay,
    /// A test call.
    Test,
}
names!(Trigger { First => "first", Retry => "retry", Manual => "manual", Replay => "replay", Test => "test" });

/// Why a delivery was held before its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HeldReason {
    /// The endpoint's `rate_per_second`.
    Rate,
    /// The endpoint's concurrency was used up.
    Concurrency,
    /// The endpoint is known slow or broken, or asked for a pause (429 with `Retry-After`).
    Breaker,
}
names!(HeldReason { Rate => "rate", Concurrency => "concurrency", Breaker => "breaker" });

/// Whether an endpoint takes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndpointStatus {
    /// It does.
    #[default]
    Active,
    /// Its customer switched it off.
    Inactive,
    /// The engine switched it off, see its `disabled_reason`.
    Disabled,
}
names!(EndpointStatus { Active => "active", Inactive => "inactive", Disabled => "disabled" });

/// What the body of an endpoint's deliveries is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyKind {
    /// The profile's envelope.
    #[default]
    Json,
    /// The same with everything escaped that is not ASCII.
    AsciiJson,
    /// A [`PushoverMessage`](crate::pushover::PushoverMessage).
    Pushover,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_an_unknown_one_is_answered_with_the_allowed() {
        for lane in Lane::ALL {
            assert_eq!(lane.as_str().parse(), Ok(lane));
        }
        let error = "fast".parse::<Lane>().unwrap_err();
        assert_eq!(error.to_string(), "expected one of live slow bulk, got \"fast\"");
    }

    #[test]
    fn delivered_outranks_every_other_end() {
        use DeliveryStatus::{Cancelled, Delivered, Discarded, Failed, Pending};
        for other in [Pending, Failed, Cancelled, Discarded] {
            assert!(Delivered.rank() > other.rank());
        }
        for end in [Failed, Cancelled, Discarded] {
            assert!(end.is_terminal() && end.rank() > Pending.rank());
        }
    }
}
