//! What tending an endpoint reads, decides and returns.

use std::time::Duration;

use postrider_model::delivery::{DiscardReason, EndpointStatus};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::limits::SET_ASIDE_OVERHEAD_BYTES;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::DeliveryTask;

use crate::config::{EndpointDocument, EndpointVersion};
use crate::history::EventRow;
use crate::reconcile::LostDelivery;

/// Limits of one page.
#[derive(Debug, Clone, Copy)]
pub struct TendLimits {
    /// Maximum number of deliveries that are released; 0: none, because the bulk lane is too long.
    pub releases: u32,
    /// Maximum number of deliveries that are discarded.
    pub discards: u32,
    /// Retention of the history in days.
    pub retention_days: u32,
    /// Minimum pause before the endpoint's next page.
    pub pause: Duration,
}

/// An endpoint that is or was paused.
#[derive(Debug, Clone)]
pub struct PauseState {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its status; `None`: it was deleted.
    pub status: Option<EndpointStatus>,
    /// Deliveries that were set aside until this time, and whose events were accepted until this time, are skipped.
    pub skip_before: Option<UnixMillis>,
    /// Deliveries are over the limit of days if their event was accepted before this time; those of a replay or a manual retry
    /// if they were created before it.
    pub oldest_allowed: UnixMillis,
    /// Number of bytes that are over the tenant's limit and that this endpoint has to give up.
    pub excess_bytes: u64,
    /// Its own maximum number of attempts per second, if it has one.
    pub rate_per_second: Option<f64>,
    /// The maximum rate of the tenant's endpoints, if the tenant has one.
    pub rate_per_second_max: Option<f64>,
    /// The profile of its tenant.
    pub profile: String,
    /// The current time.
    pub now: UnixMillis,
}

/// A delivery that is set aside.
#[derive(Debug, Clone)]
pub struct SetAsideDelivery {
    /// The delivery and what its next attempt needs.
    pub delivery: LostDelivery,
    /// When it was set aside.
    pub set_aside_at: UnixMillis,
    /// Whether the broker may still have a copy: a dispatcher set the delivery aside less than an hour ago, and may have crashed
    /// before it acknowledged the copy.
    pub(super) may_have_copy: bool,
}

impl SetAsideDelivery {
    /// The bytes with which the delivery counts.
    pub fn bytes(&self) -> u64 {
        u64::from(self.delivery.row.set_aside_bytes.unwrap_or_default()) + SET_ASIDE_OVERHEAD_BYTES
    }
}

/// What becomes of a delivery that is set aside.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It stays set aside, and so do the deliveries after it.
    Keep,
    /// It stays set aside until a later look. The deliveries after it do not wait for it.
    Later,
    /// It is published in its next epoch.
    Release(Box<DeliveryTask>),
    /// It ends.
    Discard(DiscardReason),
}

/// A delivery to render and to publish.
#[derive(Debug)]
pub struct Release {
    /// The head of its message.
    pub task: DeliveryTask,
    /// Its event, with its payload.
    pub event: EventRow,
}

/// Deliveries of one endpoint to render and to publish, in this order.
#[derive(Debug)]
pub struct ReleasePage {
    /// The profile of the endpoint's tenant.
    pub profile: String,
    /// The endpoint as it is now.
    pub document: EndpointDocument,
    /// Every version of the endpoint, oldest first.
    pub versions: Vec<EndpointVersion>,
    /// The deliveries.
    pub releases: Vec<Release>,
}

/// The result of tending an endpoint once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tended {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Number of deliveries that were published.
    pub released: u64,
    /// Number of deliveries that were discarded.
    pub discarded: u64,
}
