//! Replays: the past events that are delivered again, and the endpoints that receive them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::delivery::DeliveryStatus;
use crate::ids::{EndpointId, EventId};
use crate::subscription::TypePattern;
use crate::text::names;
use crate::time::UnixMillis;

/// Which endpoints receive the events again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReplayMode {
    /// The endpoints that matched when fan-out decided about the event, if they are active today.
    #[default]
    Redeliver,
    /// The endpoints that match the event today.
    Rematch,
    /// One endpoint receives the events that it missed: events whose deliveries to it failed or were discarded, and events that
    /// match it today and were decided while it was inactive or disabled. Its deliveries that wait for a retry are attempted
    /// now.
    Recover,
}
names!(ReplayMode { Redeliver => "redeliver", Rematch => "rematch", Recover => "recover" });

/// What a replay does for an event and an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayChoice {
    /// Nothing.
    Skip,
    /// Makes a new delivery.
    Deliver,
    /// Attempts the pending delivery now, if it waits for a retry.
    Hurry,
}

/// The state of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReplayStatus {
    /// The replay is creating its deliveries.
    Running,
    /// The replay creates no deliveries until it is resumed.
    Paused,
    /// All of its deliveries were created; they may still be pending.
    Finished,
    /// A person cancelled the replay and its pending deliveries.
    Cancelled,
}
names!(ReplayStatus { Running => "running", Paused => "paused", Finished => "finished", Cancelled => "cancelled" });

/// The events that a replay delivers again, and the endpoints that receive them. A field that is `None` or empty does not
/// filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaySelection {
    /// Delivers to this endpoint only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointId>,
    /// Selects this event only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// Selects events accepted at or after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<UnixMillis>,
    /// Selects events accepted before this time. It is not after the time of the request, so that the replay ends.
    pub to: UnixMillis,
    /// Selects events whose type matches one of these patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<TypePattern>,
    /// Selects events with all of these attribute values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Selects only failed events, see [`ReplaySelection::choose`].
    #[serde(default)]
    pub only_failed: bool,
    /// Which endpoints receive the events.
    #[serde(default)]
    pub mode: ReplayMode,
}

/// Whether an endpoint could receive an event when fan-out decided about the event. Only recoveries distinguish this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidedWhile {
    /// The endpoint was active, or the replay is not a recovery.
    EndpointOn,
    /// The endpoint was inactive or disabled, so it missed the event.
    EndpointOff,
}

impl ReplaySelection {
    /// Returns what to do for an event and an endpoint. `standing` contains the states of the event's earlier deliveries to the
    /// endpoint.
    ///
    /// An event with a pending delivery gets no new delivery, because the pending one is still attempted. An event failed if
    /// none of its deliveries was delivered and at least one failed or was discarded; cancelled deliveries do not count.
    pub fn choose(&self, standing: &[DeliveryStatus], decided_while: DecidedWhile) -> ReplayChoice {
        let any = |status| standing.contains(&status);
        let delivered = any(DeliveryStatus::Delivered);
        let failed = !delivered && (any(DeliveryStatus::Failed) || any(DeliveryStatus::Discarded));
        match self.mode {
            ReplayMode::Recover if delivered => ReplayChoice::Skip,
            ReplayMode::Recover if any(DeliveryStatus::Pending) => ReplayChoice::Hurry,
            _ if any(DeliveryStatus::Pending) => ReplayChoice::Skip,
            ReplayMode::Recover if failed || decided_while == DecidedWhile::EndpointOff => ReplayChoice::Deliver,
            ReplayMode::Recover => ReplayChoice::Skip,
            ReplayMode::Redeliver | ReplayMode::Rematch if self.only_failed && !failed => ReplayChoice::Skip,
            ReplayMode::Redeliver | ReplayMode::Rematch => ReplayChoice::Deliver,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_replay_does_follows_from_the_earlier_deliveries() {
        use DecidedWhile::{EndpointOff, EndpointOn};
        use DeliveryStatus::{Cancelled, Delivered, Discarded, Failed, Pending};
        use ReplayChoice::{Deliver, Hurry, Skip};
        let selection = |mode, only_failed| ReplaySelection {
            endpoint: None,
            event: None,
            from: None,
            to: UnixMillis(0),
            event_types: Vec::new(),
            attributes: BTreeMap::new(),
            only_failed,
            mode,
        };
        for (standing, any, failed, recover) in [
            (&[][..], Deliver, Skip, Skip),
            (&[Delivered], Deliver, Skip, Skip),
            (&[Failed], Deliver, Deliver, Deliver),
            (&[Discarded], Deliver, Deliver, Deliver),
            (&[Cancelled], Deliver, Skip, Skip),
            (&[Failed, Delivered], Deliver, Skip, Skip),
            (&[Failed, Cancelled], Deliver, Deliver, Deliver),
            (&[Pending], Skip, Skip, Hurry),
            (&[Failed, Pending], Skip, Skip, Hurry),
            (&[Pending, Delivered], Skip, Skip, Skip),
        ] {
            assert_eq!(selection(ReplayMode::Redeliver, false).choose(standing, EndpointOn), any, "{standing:?}");
            assert_eq!(selection(ReplayMode::Rematch, true).choose(standing, EndpointOn), failed, "{standing:?}");
            assert_eq!(selection(ReplayMode::Recover, false).choose(standing, EndpointOn), recover, "{standing:?}");
        }
        let recover = selection(ReplayMode::Recover, false);
        assert_eq!((recover.choose(&[], EndpointOff), recover.choose(&[Cancelled], EndpointOff)), (Deliver, Deliver));
        assert_eq!((recover.choose(&[Delivered], EndpointOff), recover.choose(&[Pending], EndpointOff)), (Skip, Hurry));
    }
}
