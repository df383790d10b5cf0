//! Creates the next attempt of a delivery on record.

use postrider_model::delivery::{Lane, Trigger};
use postrider_model::limits::DELIVERY_LIFETIME;
use postrider_store::history::DeliveryRow;
use postrider_wire::messages::DeliveryTask;

/// The attempt after a delivery's last attempt. It has the next epoch, which makes older copies stale. Its `occurred_at` is the
/// time of the event's acceptance until the caller replaces that value. A person's order ignores the event's `deliver_at` and
/// expiry: the attempt is due at once, and only the delivery's lifetime limits it.
pub(crate) fn next_attempt(
    row: &DeliveryRow,
    extra: u16,
    trigger: Trigger,
    lane: Lane,
    config_version: i64,
) -> DeliveryTask {
    DeliveryTask {
        number: row.number.saturating_add(1),
        extra,
        epoch: row.epoch.saturating_add(1),
        lane,
        expires_at: match trigger {
            Trigger::Manual => row.expires_at.max(row.delivery.created_at.plus(DELIVERY_LIFETIME)),
            _ => row.expires_at,
        },
        ..DeliveryTask::first_attempt(row.delivery.clone(), trigger, row.delivery.accepted_at, config_version)
    }
}
