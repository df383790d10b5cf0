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
    /// The endpoints that matched then, if they are active today.
    #[default]
    Redeliver,
    /// The endpoints that match today.
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

/// The events of a replay. A field that is `None` or empty does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaySelection {
    /// To this endpoint only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointId>,
    /// This event only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// Accepted at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<UnixMillis>,
    /// Accepted before this: at most the time of the request, so that the replay ends.
    pub to: UnixMillis,
    /// Of a type that matches one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<TypePattern>,
    /// With these attribute values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Only failed events, see [`ReplaySelection::selects`].
    #[serde(default)]
    pub only_failed: bool,
    /// Which endpoints receive them.
    #[serde(default)]
    pub mode: ReplayMode,
}

impl ReplaySelection {
    /// Whether an event is delivered again to an endpoint for which it has deliveries of these states.
    ///
    /// An event with a pending delivery is not: it is on its way. An event failed if no delivery was delivered and at least one
    /// failed or was discarded; cancelled deliveries do not count.
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
