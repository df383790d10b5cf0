//! Merges reports about a delivery. The result is the same in every order of arrival.
//!
//! Each field is a maximum or a minimum in some order, so merging is commutative, associative and idempotent. The upsert's SQL
//! applies the same rules.
//!
//! - The **state** comes from the report with the greatest (rank, epoch, attempt number, status, time); for the rank see
//!   [`DeliveryStatus::rank`].
//! - The **last attempt** is the attempt with the highest number. If two POSTs have that number, the merge takes the lower
//!   status code, and the outcome with the lower stored code: an answer before no answer, success before failure.
//! - The delivery's own times are the earliest in any report.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use postrider_model::attempt::Outcome;
use postrider_model::delivery::{DeliveryStatus, DiscardReason};
use postrider_model::ids::{DeliveryId, Generation};
use postrider_model::time::{Day, UnixMillis};
use postrider_wire::messages::{Decision, DeliveryRef, DeliveryTask, EventRef, OutcomeReport};

use crate::history::DeliveryRow;
use crate::sql::Coded;

/// The merged reports of one or more messages about a delivery.
#[derive(Debug, Clone)]
pub(crate) struct Report<'a> {
    pub(crate) of: Cow<'a, DeliveryRef>,
    pub(crate) status: DeliveryStatus,
    pub(crate) epoch: u32,
    pub(crate) state_number: u16,
    pub(crate) reported_at: UnixMillis,
    pub(crate) discard_reason: Option<DiscardReason>,
    pub(crate) next_attempt_at: Option<UnixMillis>,
    pub(crate) number: u16,
    pub(crate) status_code: Option<u16>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) created_at: UnixMillis,
    pub(crate) expires_at: UnixMillis,
    pub(crate) first_attempt_at: Option<UnixMillis>,
    /// Bytes of the payload, if the delivery is set aside. Part of the state.
    pub(crate) set_aside_bytes: Option<u32>,
}

impl<'a> Report<'a> {
    /// The reports of a decision: one pending delivery for each matched endpoint. Deliveries to paused endpoints are set aside.
    pub(crate) fn decided(decision: &'a Decision) -> impl Iterator<Item = Self> {
        let set_aside = |endpoint| decision.paused.contains(endpoint).then_some(decision.payload_bytes);
        decision.matched.iter().map(move |endpoint| (endpoint, set_aside(endpoint))).map(|(endpoint, set_aside)| Self {
            of: Cow::Owned(DeliveryRef::new(event_of(decision), *endpoint, Generation::First, decision.decided_at)),
            status: DeliveryStatus::Pending,
            epoch: decision.epoch,
            state_number: 0,
            reported_at: decision.decided_at,
            discard_reason: None,
            next_attempt_at: Some(decision.deliver_at.unwrap_or(decision.decided_at)).filter(|_| set_aside.is_none()),
            number: 0,
            status_code: None,
            outcome: None,
            created_at: decision.decided_at,
            expires_at: decision.expires_at,
            first_attempt_at: None,
            set_aside_bytes: set_aside,
        })
    }

    /// The report of an outcome.
    pub(crate) fn reported(outcome: &'a OutcomeReport) -> Self {
        let attempt = outcome.attempt.as_ref();
        let first = attempt.filter(|attempt| attempt.number == 1);
        let number = attempt.map_or(0, |attempt| attempt.number);
        Self {
            of: Cow::Borrowed(&outcome.delivery),
            status: outcome.status,
            epoch: outcome.epoch,
            // A delivery is set aside after its last attempt, so the report replaces the report of that attempt.
            state_number: outcome.set_aside.map_or(number, |set_aside| set_aside.number),
            reported_at: outcome.at,
            discard_reason: outcome.discard_reason,
            next_attempt_at: outcome.next_attempt_at.filter(|_| outcome.set_aside.is_none()),
            number,
            status_code: attempt.and_then(|attempt| attempt.status_code),
            outcome: attempt.map(|attempt| attempt.outcome),
            created_at: outcome.delivery.created_at,
            expires_at: outcome.expires_at,
            first_attempt_at: first.map(super::attempts::ended_at),
            set_aside_bytes: outcome.set_aside.map(|set_aside| set_aside.bytes),
        }
    }

    /// The report of a delivery that was requested: pending, and due now.
    pub(crate) fn requested(task: &'a DeliveryTask, now: UnixMillis) -> Self {
        Self {
            of: Cow::Borrowed(&task.delivery),
            status: DeliveryStatus::Pending,
            epoch: task.epoch,
            state_number: 0,
            reported_at: now,
            discard_reason: None,
            next_attempt_at: Some(now),
            number: 0,
            status_code: None,
            outcome: None,
            created_at: task.delivery.created_at,
            expires_at: task.expires_at,
            first_attempt_at: None,
            set_aside_bytes: None,
        }
    }

    /// The report of a delivery that a person or a repair ended. It keeps the attempts of the row.
    pub(crate) fn withdrawn(
        row: &'a DeliveryRow,
        status: DeliveryStatus,
        discard_reason: Option<DiscardReason>,
        now: UnixMillis,
    ) -> Self {
        Self {
            of: Cow::Borrowed(&row.delivery),
            status,
            epoch: row.epoch,
            state_number: row.number,
            reported_at: now,
            discard_reason,
            next_attempt_at: None,
            number: row.number,
            status_code: row.status_code,
            outcome: row.outcome,
            created_at: row.delivery.created_at,
            expires_at: row.expires_at,
            first_attempt_at: row.first_attempt_at,
            set_aside_bytes: None,
        }
    }

    /// Rank (2 bits), epoch (31), attempt number (16) and status (8) as one number. The upsert's SQL computes the same number.
    pub(crate) fn standing(&self) -> i64 {
        let rank = i64::from(self.status.rank()) << 55;
        let epoch = i64::from(self.epoch.min(i32::MAX as u32)) << 24;
        rank | epoch | i64::from(self.state_number) << 8 | i64::from(self.status.code())
    }

    /// Orders two reports by their state. A merge keeps the greater report's state.
    fn state_order(&self, other: &Self) -> Ordering {
        (self.standing(), self.reported_at).cmp(&(other.standing(), other.reported_at))
    }

    /// Merges another report about the same delivery.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.state_order(other) == Ordering::Less {
            self.status = other.status;
            self.epoch = other.epoch;
            self.state_number = other.state_number;
            self.reported_at = other.reported_at;
            self.discard_reason = other.discard_reason;
            self.next_attempt_at = other.next_attempt_at;
            self.set_aside_bytes = other.set_aside_bytes;
        }
        match self.number.cmp(&other.number) {
            Ordering::Less => {
                (self.number, self.status_code, self.outcome) = (other.number, other.status_code, other.outcome);
            }
            Ordering::Equal => {
                self.status_code = least(self.status_code, other.status_code);
                self.outcome = self.outcome.into_iter().chain(other.outcome).min_by_key(|outcome| outcome.code());
            }
            Ordering::Greater => {}
        }
        self.created_at = self.created_at.min(other.created_at);
        self.expires_at = self.expires_at.min(other.expires_at);
        self.first_attempt_at = least(self.first_attempt_at, other.first_attempt_at);
    }
}

fn event_of(decision: &Decision) -> EventRef {
    EventRef {
        id: decision.event.clone(),
        day: decision.event_day,
        event_type: decision.event_type.clone(),
        tenant: decision.tenant,
        accepted_at: decision.accepted_at,
    }
}

fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    a.into_iter().chain(b).min()
}

/// Merges the reports so that each delivery has one. Sorts them, so that concurrent upserts lock rows in the same order.
pub(crate) fn merged<'a>(reports: impl Iterator<Item = Report<'a>>) -> Vec<Report<'a>> {
    let mut by_key: BTreeMap<(Day, DeliveryId), Report<'a>> = BTreeMap::new();
    for report in reports {
        by_key.entry((report.of.delivery_day, report.of.id)).and_modify(|known| known.merge(&report)).or_insert(report);
    }
    by_key.into_values().collect()
}
