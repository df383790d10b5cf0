//! Attempts, and the counts by endpoint, minute and hour of the newly inserted ones.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use postrider_model::ids::Generation;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::{AttemptRecord, OutcomeReport};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::conflict_mode::InsertMode;
use super::health;
use super::minutes;
use crate::sql::{Coded, Date, Ts, clean, signed};

/// Inserts attempts, adds the new ones to the counts, and updates the health of their endpoints. Returns the number of new
/// attempts. A POST that is already on record is not counted again.
pub(super) fn insert(mode: InsertMode) -> &'static str {
    static PLAIN: LazyLock<String> = LazyLock::new(|| statement(InsertMode::Plain));
    static KEEPING: LazyLock<String> = LazyLock::new(|| statement(InsertMode::KeepExisting));
    match mode {
        InsertMode::Plain => &PLAIN,
        InsertMode::KeepExisting => &KEEPING,
    }
}

fn statement(mode: InsertMode) -> String {
    let (counted, followed) = (minutes::count("fresh"), health::follow());
    format!("{INSERT}{}{RETURNING}{counted}, {followed}{ANSWER}", mode.on_conflict())
}

const INSERT: &str = "\
WITH fresh AS (
    INSERT INTO attempts (delivery_id, send_id, endpoint, started_at, next_attempt_at, duration_us, first_byte_us, held_ms,
        late_ms, since_accepted_ms, delivery_day, number, trigger, outcome, status_code, held_reason, url, error,
        request_headers, response_headers, response_excerpt)
    SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::timestamptz[]),
    unnest($5::timestamptz[]), unnest($6::bigint[]), unnest($7::bigint[]), unnest($8::bigint[]),
    unnest($9::bigint[]), unnest($10::bigint[]), unnest($11::date[]), unnest($12::int[]),
    unnest($13::smallint[]), unnest($14::smallint[]), unnest($15::smallint[]), unnest($16::smallint[]),
    unnest($17::text[]), unnest($18::text[]), unnest($19::text[]), unnest($20::text[]), unnest($21::bytea[])
";

const RETURNING: &str = "
    RETURNING endpoint, started_at, outcome, trigger, number, status_code, duration_us, since_accepted_ms
), ";

const ANSWER: &str = "
SELECT count(*) AS fresh FROM fresh";

/// When an attempt ended.
pub(crate) fn ended_at(attempt: &AttemptRecord) -> UnixMillis {
    attempt.started_at.plus(Duration::from_micros(attempt.duration_us))
}

/// Attempts as array parameters of [`insert`].
#[derive(Default)]
pub(super) struct Columns<'a> {
    delivery_id: Vec<Uuid>,
    send_id: Vec<Uuid>,
    endpoint: Vec<Uuid>,
    started_at: Vec<Ts>,
    next_attempt_at: Vec<Option<Ts>>,
    duration_us: Vec<i64>,
    first_byte_us: Vec<Option<i64>>,
    held_ms: Vec<i64>,
    late_ms: Vec<Option<i64>>,
    since_accepted_ms: Vec<Option<i64>>,
    delivery_day: Vec<Date>,
    number: Vec<i32>,
    trigger: Vec<i16>,
    outcome: Vec<i16>,
    status_code: Vec<Option<i16>>,
    held_reason: Vec<Option<i16>>,
    url: Vec<std::borrow::Cow<'a, str>>,
    error: Vec<Option<std::borrow::Cow<'a, str>>>,
    request_headers: Vec<&'a str>,
    response_headers: Vec<Option<&'a str>>,
    response_excerpt: Vec<Option<&'a [u8]>>,
}

impl<'a> Columns<'a> {
    /// The attempts of these outcomes, sorted by key.
    pub(super) fn of(outcomes: &[&'a (OutcomeReport, Bytes)]) -> Self {
        let mut attempts: Vec<_> = outcomes
            .iter()
            .filter_map(|(report, excerpt)| report.attempt.as_ref().map(|attempt| (report, attempt, excerpt)))
            .collect();
        attempts.sort_unstable_by_key(|(report, attempt, _)| {
            (report.delivery.delivery_day, report.delivery.id, attempt.send_id)
        });
        attempts
            .dedup_by_key(|(report, attempt, _)| (report.delivery.delivery_day, report.delivery.id, attempt.send_id));
        let mut columns = Self::default();
        for (report, attempt, excerpt) in attempts {
            let delivery = &report.delivery;
            // The time to the first attempt counts for an event's own deliveries only, not for retries and replays.
            let promised = attempt.number == 1 && delivery.generation == Generation::First;
            let waited = || ended_at(attempt).0.saturating_sub(delivery.accepted_at.0).max(0);
            columns.delivery_id.push(delivery.id.0);
            columns.send_id.push(attempt.send_id.0);
            columns.endpoint.push(delivery.endpoint.0);
            columns.started_at.push(Ts(attempt.started_at));
            columns.next_attempt_at.push(report.next_attempt_at.map(Ts));
            columns.duration_us.push(signed(attempt.duration_us));
            columns.first_byte_us.push(attempt.first_byte_us.map(signed));
            columns.held_ms.push(signed(attempt.held_ms));
            columns.late_ms.push(attempt.late_ms.map(signed));
            columns.since_accepted_ms.push(promised.then(waited));
            columns.delivery_day.push(Date(delivery.delivery_day));
            columns.number.push(i32::from(attempt.number));
            columns.trigger.push(attempt.trigger.code());
            columns.outcome.push(attempt.outcome.code());
            columns.status_code.push(attempt.status_code.and_then(|code| i16::try_from(code).ok()));
            columns.held_reason.push(attempt.held_reason.map(Coded::code));
            columns.url.push(clean(&attempt.url));
            columns.error.push(attempt.error.as_deref().map(clean));
            columns.request_headers.push(attempt.request_headers.as_json());
            let answered = !attempt.response_headers.is_empty();
            columns.response_headers.push(answered.then(|| attempt.response_headers.as_json()));
            columns.response_excerpt.push(Some(excerpt.as_ref()).filter(|excerpt| !excerpt.is_empty()));
        }
        columns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.send_id.is_empty()
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 21] {
        [
            &self.delivery_id,
            &self.send_id,
            &self.endpoint,
            &self.started_at,
            &self.next_attempt_at,
            &self.duration_us,
            &self.first_byte_us,
            &self.held_ms,
            &self.late_ms,
            &self.since_accepted_ms,
            &self.delivery_day,
            &self.number,
            &self.trigger,
            &self.outcome,
            &self.status_code,
            &self.held_reason,
            &self.url,
            &self.error,
            &self.request_headers,
            &self.response_headers,
            &self.response_excerpt,
        ]
    }
}
