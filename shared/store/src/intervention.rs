//! Interventions: changes to deliveries whose messages are already queued. Queues are never searched: a message that an
//! intervention makes stale is dropped when a dispatcher gets it.

use deadpool_postgres::Transaction;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{DeliveryId, EventId, ReplayId, TenantId};
use postrider_model::time::{Day, UnixMillis};

use crate::error::StoreError;
use crate::sql::{Coded, Column, Date, Ts, from_row};

/// A least epoch that no copy reaches: every copy is stale.
pub const EVERY_EPOCH: u32 = i32::MAX as u32;

/// The target of an intervention.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InterventionTarget {
    /// One delivery.
    Delivery(DeliveryId),
    /// Every delivery of a replay.
    Replay(ReplayId),
    /// Every delivery of an event.
    Event(TenantId, EventId),
}

/// SQL for the target of an event `e`, in the text form of [`InterventionTarget::Event`].
pub(crate) const EVENT_TARGET: &str = "'event:' || CASE WHEN e.tenant = '00000000-0000-0000-0000-000000000000' \
    THEN 'ten_operator' ELSE 'ten_' || replace(e.tenant::text, '-', '') END || '/' || e.id";

impl InterventionTarget {
    fn to_column(&self) -> String {
        match self {
            Self::Delivery(id) => format!("delivery:{id}"),
            Self::Replay(id) => format!("replay:{id}"),
            Self::Event(tenant, id) => format!("event:{tenant}/{id}"),
        }
    }

    fn of_column(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("delivery", id) => id.parse().ok().map(Self::Delivery),
            ("replay", id) => id.parse().ok().map(Self::Replay),
            ("event", both) => {
                let (tenant, id) = both.split_once('/')?;
                Some(Self::Event(tenant.parse().ok()?, id.parse().ok()?))
            }
            _ => None,
        }
    }
}

/// The reason, which decides how a stale copy ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterventionReason {
    /// A newer copy exists (a retry or a repair): drop this one without a report.
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
}

/// One intervention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intervention {
    /// Its target.
    pub target: InterventionTarget,
    /// The event's day, if known. A later event may have the same id.
    pub event_day: Option<Day>,
    /// Copies with a lower epoch are stale.
    pub least_epoch: u32,
    /// How a stale copy ends.
    pub reason: InterventionReason,
    /// When it was made. It is needed as long as a delivery may be pending.
    pub created_at: UnixMillis,
    /// Configuration version that made it.
    pub version: i64,
}

from_row!(Intervention { target, event_day, least_epoch, reason, created_at, version });

impl Column for InterventionTarget {
    type Stored = String;

    fn of_stored(text: String) -> Result<Self, String> {
        Self::of_column(&text).ok_or(text)
    }
}

impl Intervention {
    /// Writes it as part of an edit. The least epoch of a target never decreases for the same event.
    pub(crate) async fn save(&self, tx: &Transaction<'_>) -> Result<(), StoreError> {
        let least_epoch = i32::try_from(self.least_epoch).unwrap_or(i32::MAX);
        tx.execute(
            "INSERT INTO interventions AS i (target, least_epoch, reason, version, created_at, event_day)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (target) DO UPDATE SET event_day = excluded.event_day,
                 least_epoch = CASE WHEN i.event_day <> excluded.event_day THEN excluded.least_epoch
                     ELSE greatest(i.least_epoch, excluded.least_epoch) END,
                 reason = excluded.reason, version = excluded.version, created_at = excluded.created_at",
            &[
                &self.target.to_column(),
                &least_epoch,
                &self.reason.code(),
                &self.version,
                &Ts(self.created_at),
                &self.event_day.map(Date),
            ],
        )
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_back_from_their_column() {
        let event = InterventionTarget::Event(TenantId::OPERATOR, "a-b_c".parse().unwrap());
        let targets = [
            InterventionTarget::Delivery(DeliveryId::generate()),
            InterventionTarget::Replay(ReplayId::generate()),
            event,
        ];
        for target in targets {
            assert_eq!(InterventionTarget::of_column(&target.to_column()), Some(target));
        }
        assert_eq!(InterventionTarget::of_column("endpoint:x"), None);
    }
}
