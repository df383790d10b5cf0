//! Replays: which past events are delivered again, and to which endpoints.

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
    /// The endpoints that matched when the event was decided and are active today.
    #[default]
    Redeliver,
    /// The endpoints that match the event today.
    Rematch,
}
names!(ReplayMode { Redeliver => "redeliver", Rematch => "rematch" });

/// The state of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReplayStatus {
    /// Its deliveries are being created.
    Running,
    /// No deliveries are created until it is resumed.
    Paused,
    /// All its deliveries were created; they may still be pending.
    Finished,
    /// A person cancelled it and its pending deliveries.
    Cancelled,
}
names!(ReplayStatus { Running => "running", Paused => "paused", Finished => "finished", Cancelled => "cancelled" });

/// Which events a replay delivers again, and to which endpoints. A field that is `None` or empty does not filter.
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
    /// Selects events accepted before this time: at most the time of the request, so that the replay ends.
    pub to: UnixMillis,
    /// Selects events whose type matches one of these patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<TypePattern>,
    /// Selects events with all of these attribute values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Selects only failed events, see [`ReplaySelection::selects`].
    #[serde(default)]
    pub only_failed: bool,
    /// Which endpoints receive the events.
    #[serde(default)]
    pub mode: ReplayMode,
}

impl ReplaySelection {
    /// Whether to deliver an event again to an endpoint. `standing` has the states of its earlier deliveries to that endpoint.
    ///
    /// An event with a pending delivery is not selected, because that delivery is still attempted. An event failed if none of its
    /// deliveries was delivered and at least one failed or was discarded; cancelled deliveries do not count.
    pub fn selects(&self, standing: &[DeliveryStatus]) -> bool {
        let any = |status| standing.contains(&status);
        if any(DeliveryStatus::Pending) {
            return false;
        }
        let failed = any(DeliveryStatus::Failed) || any(DeliveryStatus::Discarded);
        !self.only_failed || (failed && !any(DeliveryStatus::Delivered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_events_are_skipped_and_only_failed_selects_undelivered_ones() {
        use DeliveryStatus::{Cancelled, Delivered, Discarded, Failed, Pending};
        let selection = |only_failed| ReplaySelection {
            endpoint: None,
            event: None,
            from: None,
            to: UnixMillis(0),
            event_types: Vec::new(),
            attributes: BTreeMap::new(),
            only_failed,
            mode: ReplayMode::Redeliver,
        };
        for (standing, any, failed) in [
            (&[][..], true, false),
            (&[Delivered], true, false),
            (&[Failed], true, true),
            (&[Discarded], true, true),
            (&[Cancelled], true, false),
            (&[Failed, Delivered], true, false),
            (&[Failed, Cancelled], true, true),
            (&[Pending], false, false),
            (&[Failed, Pending], false, false),
        ] {
            assert_eq!(selection(false).selects(standing), any, "{standing:?}");
            assert_eq!(selection(true).selects(standing), failed, "{standing:?}");
        }
    }
}
