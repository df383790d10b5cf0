//! Filters pending deliveries by what they wait for.

use postrider_model::delivery::DeliveryStatus;
use postrider_model::delivery_phase::{DeliveryPhase, ON_ITS_WAY};
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use uuid::Uuid;

use super::query::Query;
use crate::lines::{DOES_NOT_WAIT, WAITS_FOR_ITS_TURN};
use crate::sql::{Coded, Ts};

impl Query {
    /// Adds the conditions of [`DeliveryPhase`].
    pub(super) fn filter_phase(&mut self, phase: DeliveryPhase, holding: &[EndpointId]) {
        let due = Ts(UnixMillis::now());
        let on_its_way = Ts(UnixMillis(due.0.0 - ON_ITS_WAY.as_millis() as i64));
        let holding = || Box::new(holding.iter().map(|id| id.0).collect::<Vec<Uuid>>());
        self.filter("status = ?", [Box::new(DeliveryStatus::Pending.code()) as _]);
        if phase == DeliveryPhase::Paused {
            return self.filter("set_aside_bytes IS NOT NULL", []);
        }
        self.filter("set_aside_bytes IS NULL", []);
        if phase != DeliveryPhase::InLine {
            self.filter(DOES_NOT_WAIT, []);
        }
        match phase {
            DeliveryPhase::Scheduled => self.filter("number = 0 AND next_attempt_at > ?", [Box::new(due) as _]),
            DeliveryPhase::InLine => self.filter(WAITS_FOR_ITS_TURN, []),
            DeliveryPhase::Retrying => self.filter("number > 0 AND next_attempt_at > ?", [Box::new(due) as _]),
            DeliveryPhase::Queued => self.filter(
                "next_attempt_at > ? AND next_attempt_at <= ?",
                [Box::new(on_its_way) as _, Box::new(due) as _],
            ),
            DeliveryPhase::Held => self.filter(
                "coalesce(next_attempt_at <= ?, true) AND endpoint = ANY(?)",
                [Box::new(on_its_way) as _, holding() as _],
            ),
            DeliveryPhase::Waiting => self.filter(
                "coalesce(next_attempt_at <= ?, true) AND endpoint <> ALL(?)",
                [Box::new(on_its_way) as _, holding() as _],
            ),
            DeliveryPhase::Paused => {}
        }
    }
}
