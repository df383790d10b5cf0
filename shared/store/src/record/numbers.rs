//! The sequence numbers of ingest processes: which are settled, and which are excused, so that no event on record needs to have
//! them.
//!
//! With both an audit can tell a lost event from one that was never accepted.

use postrider_wire::messages::{AcceptedEvent, NumbersReport};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::sql::{Date, Ts};

/// Stores reports. The settled number never decreases.
pub(super) const REPORT: &str = "\
INSERT INTO ingest_numbers AS n (instance, settled_below, first_at, reported_at)
SELECT r.instance, max(r.settled_below), min(r.at), max(r.at)
FROM (SELECT unnest($1::bigint[]) AS instance, unnest($2::bigint[]) AS settled_below, unnest($3::timestamptz[]) AS at) r
GROUP BY r.instance ORDER BY r.instance
ON CONFLICT (instance) DO UPDATE SET settled_below = greatest(n.settled_below, excluded.settled_below),
    first_at = least(n.first_at, excluded.first_at), reported_at = greatest(n.reported_at, excluded.reported_at)";

/// Excuses numbers that ingest gave up.
pub(super) const EXCUSE: &str = "\
INSERT INTO ingest_numbers_excused (instance, number)
SELECT DISTINCT u.instance, u.number FROM (SELECT unnest($1::bigint[]) AS instance, unnest($2::bigint[]) AS number) u
ORDER BY 1, 2 ON CONFLICT DO NOTHING";

/// Excuses the numbers of repeats: their event is on record under another number. Runs after the insert of the events.
pub(super) const EXCUSE_REPEATS: &str = "\
INSERT INTO ingest_numbers_excused (instance, number)
SELECT DISTINCT u.instance, u.number
FROM (SELECT unnest($1::bigint[]) AS instance, unnest($2::bigint[]) AS number, unnest($3::uuid[]) AS tenant,
        unnest($4::text[]) AS id, unnest($5::date[]) AS event_day) u
JOIN events e ON e.tenant = u.tenant AND e.id = u.id AND e.event_day = u.event_day
WHERE (e.instance, e.sequence) IS DISTINCT FROM (u.instance, u.number)
ORDER BY 1, 2 ON CONFLICT DO NOTHING";

/// Reports as array parameters of [`REPORT`] and [`EXCUSE`].
#[derive(Default)]
pub(super) struct Columns {
    instance: Vec<i64>,
    settled_below: Vec<i64>,
    reported_at: Vec<Ts>,
    excused_instance: Vec<i64>,
    excused_number: Vec<i64>,
}

impl Columns {
    pub(super) fn of(reports: &[NumbersReport]) -> Self {
        let mut columns = Self::default();
        for report in reports {
            columns.instance.push(report.instance.cast_signed());
            columns.settled_below.push(report.settled_below.cast_signed());
            columns.reported_at.push(Ts(report.reported_at));
            for number in &report.given_up {
                columns.excused_instance.push(report.instance.cast_signed());
                columns.excused_number.push(number.cast_signed());
            }
        }
        columns
    }

    pub(super) fn has_reports(&self) -> bool {
        !self.instance.is_empty()
    }

    pub(super) fn has_excused(&self) -> bool {
        !self.excused_instance.is_empty()
    }

    pub(super) fn reports(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.instance, &self.settled_below, &self.reported_at]
    }

    pub(super) fn excused(&self) -> [&(dyn ToSql + Sync); 2] {
        [&self.excused_instance, &self.excused_number]
    }
}

/// Events with their numbers as array parameters of [`EXCUSE_REPEATS`].
#[derive(Default)]
pub(super) struct Repeats<'a> {
    instance: Vec<i64>,
    number: Vec<i64>,
    tenant: Vec<Uuid>,
    id: Vec<&'a str>,
    event_day: Vec<Date>,
}

impl<'a> Repeats<'a> {
    pub(super) fn of(events: impl Iterator<Item = &'a AcceptedEvent>) -> Self {
        let mut repeats = Self::default();
        for event in events {
            repeats.instance.push(event.instance.cast_signed());
            repeats.number.push(event.sequence.cast_signed());
            repeats.tenant.push(event.tenant.0);
            repeats.id.push(event.id.as_str());
            repeats.event_day.push(Date(event.event_day));
        }
        repeats
    }

    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 5] {
        [&self.instance, &self.number, &self.tenant, &self.id, &self.event_day]
    }
}
