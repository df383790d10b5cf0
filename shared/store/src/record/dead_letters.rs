//! Dead letters.

use std::borrow::Cow;

use postrider_model::limits::{DEAD_LETTER_BYTES_PER_TENANT_AND_DAY_MAX, DEAD_LETTERS_PER_TENANT_AND_DAY_MAX};
use postrider_wire::headers::HeaderList;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

use super::DeadLetter;
use crate::sql::{Ts, clean};

/// Inserts letters and returns how many were kept and how many only counted. A redelivered letter makes no second row.
/// Recorders that write concurrently may together exceed the limit by a few.
pub(super) const INSERT: &str = "\
WITH letters AS (
    SELECT l.*, (l.received_at AT TIME ZONE 'UTC')::date AS day
    FROM unnest($1::bytea[], $2::timestamptz[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::bigint[], $11::text[])
        AS l (identity, received_at, source, reason, body, headers, routing_key, content_type, message_id, whole_bytes, producer)
    WHERE NOT EXISTS (SELECT FROM dead_letters d WHERE d.identity = l.identity)
), placed AS (
    SELECT letters.*, row_number() OVER so_far AS place, sum(length(body)) OVER so_far AS bytes_so_far
    FROM letters WINDOW so_far AS (PARTITION BY producer, day ORDER BY identity ROWS UNBOUNDED PRECEDING)
), judged AS (
    SELECT p.*, p.producer IS NULL
        OR (coalesce(t.kept, 0) + p.place <= $12 AND coalesce(t.kept_bytes, 0) + p.bytes_so_far <= $13) AS keep
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
SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM judged WHERE NOT keep)";

/// Dead letters as array parameters of [`INSERT`].
#[derive(Default)]
pub(super) struct Columns<'a> {
    identity: Vec<Vec<u8>>,
    received_at: Vec<Ts>,
    source: Vec<Cow<'a, str>>,
    reason: Vec<Cow<'a, str>>,
    body: Vec<&'a [u8]>,
    headers: Vec<String>,
    routing_key: Vec<Cow<'a, str>>,
    content_type: Vec<Option<Cow<'a, str>>>,
    message_id: Vec<Option<Cow<'a, str>>>,
    whole_bytes: Vec<Option<i64>>,
    producer: Vec<Option<Cow<'a, str>>>,
}

const LETTERS_MAX: i64 = DEAD_LETTERS_PER_TENANT_AND_DAY_MAX as i64;
const BYTES_MAX: i64 = DEAD_LETTER_BYTES_PER_TENANT_AND_DAY_MAX.cast_signed();

impl<'a> Columns<'a> {
    pub(super) fn of(letters: &'a [DeadLetter]) -> Self {
        let mut sorted: Vec<_> = letters.iter().map(|letter| (letter.identity(), letter)).collect();
        sorted.sort_unstable_by_key(|(identity, _)| *identity);
        let mut columns = Self::default();
        for (identity, letter) in sorted {
            columns.identity.push(identity.to_vec());
            columns.received_at.push(Ts(letter.received_at));
            columns.source.push(clean(&letter.source));
            columns.reason.push(clean(&letter.reason));
            columns.body.push(&letter.body);
            columns.headers.push(HeaderList::from(letter.headers.as_slice()).as_json().to_owned());
            columns.routing_key.push(clean(&letter.routing_key));
            columns.content_type.push(letter.content_type.as_deref().map(clean));
            columns.message_id.push(letter.message_id.as_deref().map(clean));
            columns.whole_bytes.push(letter.whole_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)));
            columns.producer.push(letter.producer.as_deref().map(clean));
        }
        columns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.identity.is_empty()
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 13] {
        [
            &self.identity,
            &self.received_at,
            &self.source,
            &self.reason,
            &self.body,
            &self.headers,
            &self.routing_key,
            &self.content_type,
            &self.message_id,
            &self.whole_bytes,
            &self.producer,
            &LETTERS_MAX,
            &BYTES_MAX,
        ]
    }
}

/// Runs [`INSERT`], if there is anything to insert. Returns how many letters were kept and how many only counted.
pub(super) async fn insert(
    client: &tokio_postgres::Client,
    statement: Option<&Statement>,
    params: &[&(dyn ToSql + Sync)],
) -> Result<(u64, u64), Error> {
    let Some(statement) = statement else { return Ok((0, 0)) };
    let row = client.query_one(statement, params).await?;
    Ok((row.try_get::<_, i64>(0)?.cast_unsigned(), row.try_get::<_, i64>(1)?.cast_unsigned()))
}
