//! Upserts deliveries.

use std::sync::LazyLock;

use postrider_model::ids::Generation;
use uuid::Uuid;

use super::array_params::{self, array_params};
use super::merge::Report;
use crate::sql::{Coded, Date, Ts};

/// SQL that inserts deliveries, or merges them as [`super::merge`] does. A row that would not change is not written.
pub(super) fn upsert() -> &'static str {
    static UPSERT: LazyLock<String> =
        LazyLock::new(|| array_params::insert("deliveries AS d", Deliveries::COLUMNS) + MERGE);
    &UPSERT
}

const MERGE: &str = "\
ON CONFLICT (id, delivery_day) DO UPDATE SET
    status = CASE WHEN (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
                  THEN excluded.status ELSE d.status END,
    epoch = CASE WHEN (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
                 THEN excluded.epoch ELSE d.epoch END,
    discard_reason = CASE WHEN (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
                          THEN excluded.discard_reason ELSE d.discard_reason END,
    next_attempt_at = CASE WHEN (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
                           THEN excluded.next_attempt_at ELSE d.next_attempt_at END,
    set_aside_bytes = CASE WHEN (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
                           THEN excluded.set_aside_bytes ELSE d.set_aside_bytes END,
    reported_at = CASE WHEN (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
                       THEN excluded.reported_at ELSE d.reported_at END,
    standing = greatest(d.standing, excluded.standing),
    status_code = CASE WHEN excluded.number > d.number THEN excluded.status_code
                       WHEN excluded.number < d.number THEN d.status_code
                       ELSE least(excluded.status_code, d.status_code) END,
    outcome = CASE WHEN excluded.number > d.number THEN excluded.outcome
                   WHEN excluded.number < d.number THEN d.outcome
                   ELSE least(excluded.outcome, d.outcome) END,
    number = greatest(d.number, excluded.number),
    created_at = least(d.created_at, excluded.created_at),
    expires_at = least(d.expires_at, excluded.expires_at),
    first_attempt_at = least(d.first_attempt_at, excluded.first_attempt_at)
WHERE (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
    OR excluded.number > d.number
    OR (excluded.number = d.number AND least(excluded.status_code, d.status_code) IS DISTINCT FROM d.status_code)
    OR (excluded.number = d.number AND least(excluded.outcome, d.outcome) IS DISTINCT FROM d.outcome)
    OR excluded.created_at < d.created_at
    OR excluded.expires_at < d.expires_at
    OR least(excluded.first_attempt_at, d.first_attempt_at) IS DISTINCT FROM d.first_attempt_at";

array_params! {
    /// Reports as parameters of [`upsert`].
    Deliveries<'a> of (report: &'a Report<'_>) {
        id: Uuid = report.of.id.0,
        tenant: Uuid = report.of.tenant.0,
        endpoint: Uuid = report.of.endpoint.0,
        created_at: Ts = Ts(report.created_at),
        accepted_at: Ts = Ts(report.of.accepted_at),
        expires_at: Ts = Ts(report.expires_at),
        reported_at: Ts = Ts(report.reported_at),
        standing: i64 = report.standing(),
        next_attempt_at: Option<Ts> = report.next_attempt_at.map(Ts),
        first_attempt_at: Option<Ts> = report.first_attempt_at.map(Ts),
        set_aside_bytes: Option<i32> = report.set_aside_bytes.map(|bytes| i32::try_from(bytes).unwrap_or(i32::MAX)),
        delivery_day: Date = Date(report.of.delivery_day),
        event_day: Date = Date(report.of.event_day),
        epoch: i32 = i32::try_from(report.epoch).unwrap_or(i32::MAX),
        status: i16 = report.status.code(),
        discard_reason: Option<i16> = report.discard_reason.map(Coded::code),
        number: i32 = i32::from(report.number),
        status_code: Option<i16> = report.status_code.and_then(|code| i16::try_from(code).ok()),
        outcome: Option<i16> = report.outcome.map(Coded::code),
        event_id: &'a str = report.of.event.as_str(),
        event_type as "type": &'a str = report.of.event_type.as_str(),
        generation: Option<String> =
            Some(report.of.generation).filter(|of| *of != Generation::First).map(|of| of.to_string()),
        origin: Option<Uuid> = report.of.repeats.map(|delivery| delivery.0),
    }
}

impl<'a> Deliveries<'a> {
    pub(super) fn of(reports: &'a [Report<'_>]) -> Self {
        let mut rows = Self::default();
        reports.iter().for_each(|report| rows.push(report));
        rows
    }
}
