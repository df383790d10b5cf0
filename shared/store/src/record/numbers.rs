//! The sequence numbers of ingest processes: which numbers are settled, and which are excused. No event needs to have an
//! excused number.
//!
//! With the settled and the excused numbers, an audit can distinguish a lost event from one that was never accepted.

use postrider_wire::messages::{AcceptedEvent, NumbersReport};
use uuid::Uuid;

use super::array_params::{self, array_params};
use crate::sql::{Date, Ts};

/// SQL that stores reports. The settled number of a process never decreases.
pub(super) fn report() -> String {
    let rows = array_params::select(Reports::COLUMNS);
    format!(
        "INSERT INTO ingest_numbers AS n (instance, settled_below, first_at, reported_at)
         SELECT r.instance, max(r.settled_below), min(r.at), max(r.at) FROM ({rows}) r
         GROUP BY r.instance ORDER BY r.instance
         ON CONFLICT (instance) DO UPDATE SET settled_below = greatest(n.settled_below, excluded.settled_below),
             first_at = least(n.first_at, excluded.first_at), reported_at = greatest(n.reported_at, excluded.reported_at)"
    )
}

/// SQL that excuses numbers that ingest gave up.
pub(super) fn excuse() -> String {
    let rows = array_params::select(Excused::COLUMNS);
    format!(
        "INSERT INTO ingest_numbers_excused (instance, number)
         SELECT DISTINCT u.instance, u.number FROM ({rows}) u ORDER BY 1, 2 ON CONFLICT DO NOTHING"
    )
}

/// SQL that excuses the numbers of repeats: events that are on record under another number. Runs after the events are inserted.
pub(super) fn excuse_repeats() -> String {
    let rows = array_params::select(Repeats::COLUMNS);
    format!(
        "INSERT INTO ingest_numbers_excused (instance, number)
         SELECT DISTINCT u.instance, u.number FROM ({rows}) u
         JOIN events e ON e.tenant = u.tenant AND e.id = u.id AND e.event_day = u.event_day
         WHERE (e.instance, e.sequence) IS DISTINCT FROM (u.instance, u.number)
         ORDER BY 1, 2 ON CONFLICT DO NOTHING"
    )
}

array_params! {
    /// Reports as parameters of [`report`].
    Reports of (report: &NumbersReport) {
        instance: i64 = report.instance.cast_signed(),
        settled_below: i64 = report.settled_below.cast_signed(),
        at: Ts = Ts(report.reported_at),
    }
}

impl Reports {
    pub(super) fn of(reports: &[NumbersReport]) -> Self {
        let mut rows = Self::default();
        reports.iter().for_each(|report| rows.push(report));
        rows
    }
}

array_params! {
    /// Given-up numbers as parameters of [`excuse`].
    Excused of (report: &NumbersReport, number: u64) {
        instance: i64 = report.instance.cast_signed(),
        number: i64 = number.cast_signed(),
    }
}

impl Excused {
    pub(super) fn of(reports: &[NumbersReport]) -> Self {
        let mut rows = Self::default();
        for report in reports {
            report.given_up.iter().for_each(|number| rows.push(report, *number));
        }
        rows
    }
}

array_params! {
    /// Events with their numbers as parameters of [`excuse_repeats`].
    Repeats<'a> of (event: &'a AcceptedEvent) {
        instance: i64 = event.instance.cast_signed(),
        number: i64 = event.sequence.cast_signed(),
        tenant: Uuid = event.tenant.0,
        id: &'a str = event.id.as_str(),
        event_day: Date = Date(event.event_day),
    }
}

impl<'a> Repeats<'a> {
    pub(super) fn of(events: impl Iterator<Item = &'a AcceptedEvent>) -> Self {
        let mut rows = Self::default();
        events.for_each(|event| rows.push(event));
        rows
    }
}
