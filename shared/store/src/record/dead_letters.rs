//! Inserts dead letters.

use std::borrow::Cow;

use postrider_model::limits::{DEAD_LETTER_BYTES_PER_TENANT_AND_DAY_MAX, DEAD_LETTERS_PER_TENANT_AND_DAY_MAX};
use postrider_wire::headers::HeaderList;

use super::DeadLetter;
use super::array_params::{self, array_params};
use crate::sql::{Ts, clean, signed};

/// SQL that inserts dead letters, and returns how many were kept and how many were only counted. A redelivered letter adds no
/// row. Recorders that write at the same time may together exceed the limits by a few.
pub(super) fn insert() -> String {
    let given = array_params::select(Letters::COLUMNS);
    format!(
        "WITH letters AS (
    SELECT l.*, (l.received_at AT TIME ZONE 'UTC')::date AS day FROM ({given}) l
    WHERE NOT EXISTS (SELECT FROM dead_letters d WHERE d.identity = l.identity)
), placed AS (
    SELECT letters.*, row_number() OVER so_far AS place, sum(length(body)) OVER so_far AS bytes_so_far
    FROM letters WINDOW so_far AS (PARTITION BY producer, day ORDER BY identity ROWS UNBOUNDED PRECEDING)
), judged AS (
    SELECT p.*, p.producer IS NULL
        OR (coalesce(t.kept, 0) + p.place <= {DEAD_LETTERS_PER_TENANT_AND_DAY_MAX} AND coalesce(t.kept_bytes, 0) + p.bytes_so_far <= {DEAD_LETTER_BYTES_PER_TENANT_AND_DAY_MAX}) AS keep
    FROM placed p LEFT JOIN dead_letter_days t ON t.producer = p.producer AND t.day = p.day
), counted AS (
    INSERT INTO dead_letter_days AS t (producer, day, kept, kept_bytes, not_kept)
    SELECT producer, day, count(*) FILTER (WHERE keep), coalesce(sum(length(body)) FILTER (WHERE keep), 0),
        count(*) FILTER (WHERE NOT keep)
    FROM judged WHERE producer IS NOT NULL GROUP BY producer, day ORDER BY producer, day
    ON CONFLICT (producer, day) DO UPDATE SET kept = t.kept + excluded.kept, kept_bytes = t.kept_bytes + excluded.kept_bytes,
        not_kept = t.not_kept + excluded.not_kept
), kept AS (
    INSERT INTO dead_letters (identity, received_at, source, reason, body, headers, routing_key, content_type, message_id,
        whole_bytes)
    SELECT identity, received_at, source, reason, body, headers, routing_key, content_type, message_id, whole_bytes
    FROM judged WHERE keep ORDER BY identity
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM judged WHERE NOT keep)"
    )
}

array_params! {
    /// Dead letters as parameters of [`insert`].
    Letters<'a> of (identity: [u8; 32], letter: &'a DeadLetter) {
        identity: Vec<u8> = identity.to_vec(),
        received_at: Ts = Ts(letter.received_at),
        source: Cow<'a, str> = clean(&letter.source),
        reason: Cow<'a, str> = clean(&letter.reason),
        body: &'a [u8] = &letter.body,
        headers: String = HeaderList::from(letter.headers.as_slice()).as_json().to_owned(),
        routing_key: Cow<'a, str> = clean(&letter.routing_key),
        content_type: Option<Cow<'a, str>> = letter.content_type.as_deref().map(clean),
        message_id: Option<Cow<'a, str>> = letter.message_id.as_deref().map(clean),
        whole_bytes: Option<i64> = letter.whole_bytes.map(signed),
        producer: Option<Cow<'a, str>> = letter.producer.as_deref().map(clean),
    }
}

impl<'a> Letters<'a> {
    pub(super) fn of(letters: &'a [DeadLetter]) -> Self {
        let mut sorted: Vec<_> = letters.iter().map(|letter| (letter.identity(), letter)).collect();
        sorted.sort_unstable_by_key(|(identity, _)| *identity);
        let mut rows = Self::default();
        sorted.into_iter().for_each(|(identity, letter)| rows.push(identity, letter));
        rows
    }
}
