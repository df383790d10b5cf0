//! Inserts attempts, and counts the new ones by endpoint, minute and hour.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use postrider_model::ids::Generation;
use postrider_model::time::UnixMillis;
use postrider_wire::headers::HeaderList;
use postrider_wire::messages::{AttemptRecord, OutcomeReport};
use uuid::Uuid;

use super::array_params::{self, array_params};
use super::conflict_mode::InsertMode;
use super::health;
use super::minutes;
use crate::sql::{Coded, Date, Ts, clean, signed};

/// SQL that inserts attempts, counts the new ones, and updates the health of their endpoints. Returns the number of new
/// attempts. An attempt whose POST is already on record is not counted again.
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
    format!(
        "WITH fresh AS ({}{} RETURNING {RETURNING}), {counted}, {followed} SELECT count(*) AS fresh FROM fresh",
        array_params::insert("attempts", Attempts::COLUMNS),
        mode.on_conflict()
    )
}

const RETURNING: &str = "endpoint, started_at, outcome, trigger, number, status_code, duration_us, since_accepted_ms, error, batch_position, batch_size";

/// When an attempt ended.
pub(crate) fn ended_at(attempt: &AttemptRecord) -> UnixMillis {
    attempt.started_at.plus(Duration::from_micros(attempt.duration_us))
}

array_params! {
    /// Attempts as parameters of [`insert`].
    Attempts<'a> of (report: &'a OutcomeReport, attempt: &'a AttemptRecord, excerpt: &'a Bytes) {
        delivery_id: Uuid = report.delivery.id.0,
        send_id: Uuid = attempt.send_id.0,
        endpoint: Uuid = report.delivery.endpoint.0,
        started_at: Ts = Ts(attempt.started_at),
        next_attempt_at: Option<Ts> = report.next_attempt_at.map(Ts),
        duration_us: i64 = signed(attempt.duration_us),
        first_byte_us: Option<i64> = attempt.first_byte_us.map(signed),
        held_ms: i64 = signed(attempt.held_ms),
        late_ms: Option<i64> = attempt.late_ms.map(signed),
        since_accepted_ms: Option<i64> = since_accepted_ms(report, attempt),
        delivery_day: Date = Date(report.delivery.delivery_day),
        number: i32 = i32::from(attempt.number),
        trigger: i16 = attempt.trigger.code(),
        outcome: i16 = attempt.outcome.code(),
        status_code: Option<i16> = attempt.status_code.and_then(|code| i16::try_from(code).ok()),
        held_reason: Option<i16> = attempt.held_reason.map(Coded::code),
        url: Cow<'a, str> = clean(&attempt.url),
        error: Option<Cow<'a, str>> = attempt.error.as_deref().map(clean),
        request_headers: &'a str = attempt.request_headers.as_json(),
        response_headers: Option<&'a str> =
            Some(&attempt.response_headers).filter(|headers| !headers.is_empty()).map(HeaderList::as_json),
        response_excerpt: Option<&'a [u8]> = Some(excerpt.as_ref()).filter(|excerpt| !excerpt.is_empty()),
        batch_id: Option<Uuid> = attempt.batch.map(|batch| batch.id.0),
        batch_position: Option<i16> = attempt.batch.and_then(|batch| i16::try_from(batch.position).ok()),
        batch_size: Option<i16> = attempt.batch.and_then(|batch| i16::try_from(batch.size).ok()),
    }
}

/// Time from the acceptance of an event to the end of its first attempt, in milliseconds; `None` for any other attempt. For an
/// event with a `deliver_at`, the time from then; of a delivery that waited for a pause, the time from its release. Only these first attempts have `late_ms`.
fn since_accepted_ms(report: &OutcomeReport, attempt: &AttemptRecord) -> Option<i64> {
    let counts = attempt.number == 1 && report.delivery.generation == Generation::First;
    let since = || match attempt.late_ms {
        Some(late) => signed(late.saturating_add(attempt.duration_us / 1_000)),
        None => ended_at(attempt).0.saturating_sub(report.delivery.accepted_at.0).max(0),
    };
    counts.then(since)
}

impl<'a> Attempts<'a> {
    /// The attempts in these outcomes, sorted by key.
    pub(super) fn of(outcomes: &[&'a (OutcomeReport, Bytes)]) -> Self {
        let mut attempts: Vec<_> = outcomes
            .iter()
            .filter_map(|(report, excerpt)| report.attempt.as_ref().map(|attempt| (report, attempt, excerpt)))
            .collect();
        let key = |(report, attempt, _): &(&OutcomeReport, &AttemptRecord, &Bytes)| {
            (report.delivery.delivery_day, report.delivery.id, attempt.send_id)
        };
        attempts.sort_unstable_by_key(key);
        attempts.dedup_by_key(|attempt| key(attempt));
        let mut rows = Self::default();
        for (report, attempt, excerpt) in attempts {
            rows.push(report, attempt, excerpt);
        }
        rows
    }
}
