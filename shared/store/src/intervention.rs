//! Interventions make messages of deliveries stale that are already in queues. The queues are not searched: a dispatcher drops
//! a stale message when it receives it.

use deadpool_postgres::Transaction;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{DeliveryId, EventId, ReplayId, TenantId};
use postrider_model::time::{Day, UnixMillis};

use crate::error::StoreError;
use crate::sql::{Coded, Column, Date, Ts, coded, from_row};

/// An epoch above the epoch of every copy. As the least epoch of an intervention, it makes every copy stale.
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

/// SQL for the target of the event in a row `e`, in the text form of [`InterventionTarget::Event`].
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

/// Why copies are stale. The reason decides what the dispatcher reports about a stale copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterventionReason {
    /// A retry or a repair made a newer copy. The dispatcher drops the stale copy without a report.
    Superseded,
    /// The delivery was cancelled. The dispatcher drops the copy and reports `cancelled`.
    Cancelled,
    /// The payload was expunged. The dispatcher drops the copy and reports `discarded` with the reason `expunged`.
    Expunged,
}

impl InterventionReason {
    /// The status that a dispatcher reports when it drops a stale copy; `None`: no report.
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
    /// The event's day, if known: another event may have the same id on a later day.
    pub event_day: Option<Day>,
    /// Copies with a lower epoch are stale.
    pub least_epoch: u32,
    /// Why the copies are stale.
    pub reason: InterventionReason,
    /// When it was made. The intervention is kept for as long as a delivery of that time may be pending.
    pub created_at: UnixMillis,
    /// The configuration version that made it.
    pub version: i64,
}

coded!(InterventionReason: Superseded = 0, Cancelled = 1, Expunged = 2);
from_row!(Intervention { target, event_day, least_epoch, reason, created_at, version });

impl Column for InterventionTarget {
    type Stored = String;

    fn of_stored(text: String) -> Result<Self, String> {
        Self::of_column(&text).ok_or(text)
    }
}

impl Intervention {
    /// Writes the intervention as part of an edit. The least epoch of a target never decreases while it concerns the same
    /// event.
    pub(crate) async fn save(&self, tx: &Transaction<'_>) -> Result<(), StoreError> {
        Self::save_all(std::slice::from_ref(self), tx).await
    }

    /// Writes interventions with different targets, see [`Intervention::save`].
    pub(crate) async fn save_all(all: &[Self], tx: &Transaction<'_>) -> Result<(), StoreError> {
        let targets: Vec<_> = all.iter().map(|one| one.target.to_column()).collect();
        let epochs: Vec<_> = all.iter().map(|one| i32::try_from(one.least_epoch).unwrap_or(i32::MAX)).collect();
        let reasons: Vec<_> = all.iter().map(|one| one.reason.code()).collect();
        let versions: Vec<_> = all.iter().map(|one| one.version).collect();
        let created: Vec<_> = all.iter().map(|one| Ts(one.created_at)).collect();
        let days: Vec<_> = all.iter().map(|one| one.event_day.map(Date)).collect();
        let sql = "INSERT INTO interventions AS i (target, least_epoch, reason, version, created_at, event_day)
             SELECT * FROM unnest($1::text[], $2::int[], $3::smallint[], $4::bigint[], $5::timestamptz[], $6::date[])
             ON CONFLICT (target) DO UPDATE SET event_day = excluded.event_day,
                 least_epoch = CASE WHEN i.event_day <> excluded.event_day THEN excluded.least_epoch
                     ELSE greatest(i.least_epoch, excluded.least_epoch) END,
                 reason = excluded.reason, version = excluded.version, created_at = excluded.created_at";
        tx.execute(sql, &[&targets, &epochs, &reasons, &versions, &created, &days]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back() {
        crate::sql::tests::codes_read_back::<InterventionReason>();
    }

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
