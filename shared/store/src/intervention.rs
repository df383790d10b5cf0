//! Interventions: what people decide about deliveries that are already on their way. Queues are never searched; a copy
//! that an intervention made stale is dropped when it surfaces.

use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{DeliveryId, EventId, ReplayId, TenantId};
use postrider_model::time::UnixMillis;

/// What an intervention is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InterventionTarget {
    /// One delivery.
    Delivery(DeliveryId),
    /// Every delivery of a replay.
    Replay(ReplayId),
    /// Every delivery of an event.
    Event(TenantId, EventId),
}

/// Why, and so what becomes of a stale copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterventionReason {
    /// A newer copy is on its way (retry-now, a repair): drop this one without a word.
    Superseded,
    /// Drop it and report `cancelled`.
    Cancelled,
    /// Drop it and report `discarded`, reason `expunged`.
    Expunged,
}

impl InterventionReason {
    /// The status that dropping a stale copy reports; `None`: nothing is reported.
    pub fn reports(self) -> Option<DeliveryStatus> {
        match self {
            Self::Superseded => None,
            Self::Cancelled => Some(DeliveryStatus::Cancelled),
            Self::Expunged => Some(DeliveryStatus::Discarded),
        }
    }

    pub(crate) fn code(self) -> i16 {
        match self {
            Self::Superseded => 0,
            Self::Cancelled => 1,
            Self::Expunged => 2,
        }
    }

    pub(crate) fn from_code(code: i16) -> Option<Self> {
        [Self::Superseded, Self::Cancelled, Self::Expunged].into_iter().find(|reason| reason.code() == code)
    }
}

/// One intervention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intervention {
    /// What it is about.
    pub target: InterventionTarget,
    /// Copies with a lower epoch are stale.
    pub least_epoch: u32,
    /// What becomes of a stale copy.
    pub reason: InterventionReason,
    /// When it was made; it matters as long as a delivery may be pending.
    pub created_at: UnixMillis,
    /// Configuration version that made it.
    pub version: i64,
}
