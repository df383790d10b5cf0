//! Replays: which past events are delivered again, and to whom.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::delivery::{DeliveryStatus, UnknownName, names};
use crate::ids::{EndpointId, EventId};
use crate::subscription::TypePattern;
use crate::time::UnixMillis;

/// Who gets the events again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReplayMode {
    /// The endpoints that were decided then, as far as they are active today.
    #[default]
    Redeliver,
    /// Whoever subscribes to them today.
    Rematch,
}
names!(ReplayMode { Redeliver => "redeliver", Rematch => "rematch" });

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReplayStatus {
    /// Its deliveries are being made.
    Running,
    /// No further ones are made until it is resumed.
    Paused,
    /// All of them were made; they end as all deliveries do.
    Finished,
    /// Somebody stopped it, with what of it was pending.
    Cancelled,
}
names!(ReplayStatus { Running => "running", Paused => "paused", Finished => "finished", Cancelled => "cancelled" });

/// What is replayed; what is `None` or empty does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaySelection {
    /// For this endpoint only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointId>,
    /// This event only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// Accepted at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<UnixMillis>,
    /// Accepted before this: never later than the replay was asked for, so that its end does not run away.
    pub to: UnixMillis,
    /// Of a type that any of these takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<TypePattern>,
    /// With these attribute values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Only where delivering failed, see [`ReplaySelection::wants`].
    #[serde(default)]
    pub only_failed: bool,
    /// Who gets them.
    #[serde(default)]
    pub mode: ReplayMode,
}

impl ReplaySelection {
    /// Whether an event is delivered again to an endpoint for which it has deliveries that stand so, in whatever order.
    ///
    /// While one is pending the event is on its way there, and is left alone. "Failed" is where none was delivered and at
    /// least one failed or was discarded; what a person cancelled is neither.
    pub fn wants(&self, standing: &[DeliveryStatus]) -> bool {
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
    fn what_is_on_its_way_is_left_alone_and_only_failed_takes_what_never_arrived() {
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
            assert_eq!(selection(false).wants(standing), any, "{standing:?}");
            assert_eq!(selection(true).wants(standing), failed, "{standing:?}");
        }
    }
}
