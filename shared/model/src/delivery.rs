//! Deliveries: one event for one endpoint, and its states.
//!
//! `pending -> delivered | failed | cancelled | discarded`. A terminal state is final, with one exception: a later report
//! `delivered` replaces it, because the endpoint did receive the POST.

use serde::{Deserialize, Serialize};

use crate::text::names;

/// A queue of deliveries with its own consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Deliveries that belong to no other lane.
    #[default]
    Live,
    /// Deliveries to slow or broken endpoints.
    Slow,
    /// Replays and bursts.
    Bulk,
}
names!(Lane { Live => "live", Slow => "slow", Bulk => "bulk" });

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Live, Self::Slow, Self::Bulk];
}

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// An attempt is due or scheduled.
    Pending,
    /// The endpoint answered with a status of the profile's success class.
    Delivered,
    /// The last attempt of the schedule failed, or the endpoint answered with a status that is not retried.
    Failed,
    /// A person cancelled the delivery.
    Cancelled,
    /// The delivery ended for another reason than an attempt, see [`DiscardReason`].
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

    /// Ranks the state, so that two reports about one delivery merge in any order: `delivered` replaces every other state, and
    /// every terminal state replaces `pending`. If two reports have the same rank, the report with the higher epoch is used,
    /// then the report with the higher attempt number.
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
    /// The delivery was still pending at `expires_at`.
    Expired,
    /// The endpoint was deleted.
    EndpointDeleted,
    /// The endpoint is inactive or was disabled.
    EndpointInactive,
    /// The event's payload was expunged.
    Expunged,
    /// A person skipped what waited for the paused endpoint.
    Skipped,
    /// The delivery waited for its paused endpoint beyond the tenant's limit of days or bytes.
    PauseLimit,
    /// The tenant's ordered endpoints had too many waiting deliveries.
    LinesFull,
}
names!(DiscardReason {
    Expired => "expired", EndpointDeleted => "endpoint_deleted", EndpointInactive => "endpoint_inactive", Expunged => "expunged",
    Skipped => "skipped", PauseLimit => "pause_limit", LinesFull => "lines_full",
});

/// What caused an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The first attempt of a delivery that an event caused.
    First,
    /// The retry schedule.
    Retry,
    /// A person who retried the delivery.
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
    /// The endpoint's concurrency.
    Concurrency,
    /// The endpoint is slow or broken, or requested a pause (429 with `Retry-After`).
    Breaker,
}
names!(HeldReason { Rate => "rate", Concurrency => "concurrency", Breaker => "breaker" });

/// Whether an endpoint receives events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndpointStatus {
    /// The endpoint receives events.
    #[default]
    Active,
    /// The customer deactivated the endpoint.
    Inactive,
    /// Postrider disabled the endpoint, see its `disabled_reason`.
    Disabled,
    /// The endpoint's deliveries are set aside until it is resumed. No attempt is made in the meantime.
    Paused,
}
names!(EndpointStatus { Active => "active", Inactive => "inactive", Disabled => "disabled", Paused => "paused" });

impl EndpointStatus {
    /// Whether fan-out decides events for the endpoint. If not, the endpoint is off and misses the events of that time.
    pub fn is_on(self) -> bool {
        matches!(self, Self::Active | Self::Paused)
    }
}

/// What Postrider does with an endpoint that has failed for too long, or whose answer asks for no further deliveries (410).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailingEndpoints {
    /// The endpoint is disabled: it misses further events.
    #[default]
    Disable,
    /// The endpoint is paused: its deliveries wait until it is resumed.
    Pause,
}
names!(FailingEndpoints { Disable => "disable", Pause => "pause" });

/// The format of a delivery's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyKind {
    /// The profile's envelope.
    #[default]
    Json,
    /// The profile's envelope in ASCII: all other characters are escaped.
    AsciiJson,
    /// A [`PushoverMessage`](crate::pushover::PushoverMessage).
    Pushover,
    /// A [`Notification`](crate::notification::Notification), for the chat channels.
    Notification,
}

impl BodyKind {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Json, Self::AsciiJson, Self::Pushover, Self::Notification];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_an_unknown_one_lists_the_allowed() {
        for lane in Lane::ALL {
            assert_eq!(lane.as_str().parse(), Ok(lane));
        }
        let error = "fast".parse::<Lane>().unwrap_err();
        assert_eq!(error.to_string(), "expected one of live slow bulk, got \"fast\"");
    }

    #[test]
    fn delivered_outranks_every_other_state() {
        use DeliveryStatus::{Cancelled, Delivered, Discarded, Failed, Pending};
        for other in [Pending, Failed, Cancelled, Discarded] {
            assert!(Delivered.rank() > other.rank());
        }
        for end in [Failed, Cancelled, Discarded] {
            assert!(end.is_terminal() && end.rank() > Pending.rank());
        }
    }
}
