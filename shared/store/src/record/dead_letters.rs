//! Dead letters.

use std::borrow::Cow;

use postrider_wire::headers::HeaderList;
use tokio_postgres::types::ToSql;

use super::DeadLetter;
use crate::sql::{Ts, clean};

/// The same letter, delivered again, makes no second row.
pub(super) const INSERT: &str = "\
INSERT INTO dead_letters (identity, received_at, source, reason, body, headers, routing_key, content_type, message_id)
SELECT unnest($1::bytea[]), unnest($2::timestamptz[]), unnest($3::text[]), unnest($4::text[]),
    unnest($5::bytea[]), unnest($6::text[]), unnest($7::text[]), unnest($8::text[]), unnest($9::text[])
ON CONFLICT DO NOTHING";

/// Dead letters as the arrays that [`INSERT`] takes.
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
}

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
        }
        columns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.identity.is_empty()
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 9] {
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
        ]
    }
}
