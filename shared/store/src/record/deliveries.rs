//! The upsert of deliveries.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use postrider_model::ids::Generation;

use super::merge::Report;
use crate::sql::{Coded, Date, Ts};

/// Merges as [`super::merge`] does. A row that would not change is not written.
pub(super) const UPSERT: &str = "\
INSERT INTO deliveries AS d (id, tenant, endpoint, created_at, accepted_at, expires_at, reported_at, standing,
    next_attempt_at, first_attempt_at, delivery_day, event_day, epoch, status, discard_reason, number, status_code,
    event_id, type, generation, origin)
SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::timestamptz[]),
    unnest($5::timestamptz[]), unnest($6::timestamptz[]), unnest($7::timestamptz[]), unnest($8::bigint[]),
    unnest($9::timestamptz[]), unnest($10::timestamptz[]), unnest($11::date[]), unnest($12::date[]),
    unnest($13::int[]), unnest($14::smallint[]), unnest($15::smallint[]), unnest($16::int[]),
    unnest($17::smallint[]), unnest($18::text[]), unnest($19::text[]), unnest($20::text[]), unnest($21::uuid[])
ON CONFLICT (id, delivery_day) DO UPDATE SET
    status = CASE WHEN (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
                  THEN excluded.status ELSE d.status END,
    epoch = CASE WHEN (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
                 THEN excluded.epoch ELSE d.epoch END,
    discard_reason = CASE WHEN (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
                          THEN excluded.discard_reason ELSE d.discard_reason END,
    next_attempt_at = CASE WHEN (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
                           THEN excluded.next_attempt_at ELSE d.next_attempt_at END,
    reported_at = CASE WHEN (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
                       THEN excluded.reported_at ELSE d.reported_at END,
    standing = greatest(d.standing, excluded.standing),
    status_code = CASE WHEN excluded.number > d.number THEN excluded.status_code
                       WHEN excluded.number < d.number THEN d.status_code
                       ELSE least(excluded.status_code, d.status_code) END,
    number = greatest(d.number, excluded.number),
    created_at = least(d.created_at, excluded.created_at),
    expires_at = least(d.expires_at, excluded.expires_at),
    first_attempt_at = least(d.first_attempt_at, excluded.first_attempt_at)
WHERE (excluded.standing, excluded.reported_at) > (d.standing, d.reported_at)
    OR excluded.number > d.number
    OR (excluded.number = d.number AND least(excluded.status_code, d.status_code) IS DISTINCT FROM d.status_code)
    OR excluded.created_at < d.created_at
    OR excluded.expires_at < d.expires_at
    OR least(excluded.first_attempt_at, d.first_attempt_at) IS DISTINCT FROM d.first_attempt_at";

/// Reports as array parameters of [`UPSERT`].
#[derive(Default)]
pub(super) struct Columns<'a> {
    id: Vec<Uuid>,
    tenant: Vec<Uuid>,
    endpoint: Vec<Uuid>,
    created_at: Vec<Ts>,
    accepted_at: Vec<Ts>,
    expires_at: Vec<Ts>,
    reported_at: Vec<Ts>,
    standing: Vec<i64>,
    next_attempt_at: Vec<Option<Ts>>,
    first_attempt_at: Vec<Option<Ts>>,
    delivery_day: Vec<Date>,
    event_day: Vec<Date>,
    epoch: Vec<i32>,
    status: Vec<i16>,
    discard_reason: Vec<Option<i16>>,
    number: Vec<i32>,
    status_code: Vec<Option<i16>>,
    event_id: Vec<&'a str>,
    event_type: Vec<&'a str>,
    generation: Vec<Option<String>>,
    origin: Vec<Option<Uuid>>,
}

impl<'a> Columns<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    pub(super) fn of(reports: &[Report<'a>]) -> Self {
        let mut columns = Self::default();
        for report in reports {
            let of = &report.of;
            columns.id.push(of.id.0);
            columns.tenant.push(of.tenant.0);
            columns.endpoint.push(of.endpoint.0);
            columns.created_at.push(Ts(report.created_at));
            columns.accepted_at.push(Ts(of.accepted_at));
            columns.expires_at.push(Ts(report.expires_at));
            columns.reported_at.push(Ts(report.reported_at));
            columns.standing.push(report.standing());
            columns.next_attempt_at.push(report.next_attempt_at.map(Ts));
            columns.first_attempt_at.push(report.first_attempt_at.map(Ts));
            columns.delivery_day.push(Date(of.delivery_day));
            columns.event_day.push(Date(of.event_day));
            columns.epoch.push(i32::try_from(report.epoch).unwrap_or(i32::MAX));
            columns.status.push(report.status.code());
            columns.discard_reason.push(report.discard_reason.map(Coded::code));
            columns.number.push(i32::from(report.number));
            columns.status_code.push(report.status_code.and_then(|code| i16::try_from(code).ok()));
            columns.event_id.push(of.event.as_str());
            columns.event_type.push(of.event_type);
            let again = Some(of.generation).filter(|generation| *generation != Generation::First);
            columns.generation.push(again.map(|generation| generation.to_string()));
            columns.origin.push(of.origin.map(|origin| origin.0));
        }
        columns
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 21] {
        [
            &self.id,
            &self.tenant,
            &self.endpoint,
            &self.created_at,
            &self.accepted_at,
            &self.expires_at,
            &self.reported_at,
            &self.standing,
            &self.next_attempt_at,
            &self.first_attempt_at,
            &self.delivery_day,
            &self.event_day,
            &self.epoch,
            &self.status,
            &self.discard_reason,
            &self.number,
            &self.status_code,
            &self.event_id,
            &self.event_type,
            &self.generation,
            &self.origin,
        ]
    }
}
