//! Detects events whose id belongs to another event, when ingest could not: the database was away, or the other event had a
//! generated id and was not on record yet.

use postrider_wire::messages::AcceptedEvent;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::sql::{Date, Ts};

/// Claims ids for events that ingest could not claim, unless they are claimed.
pub(super) const CLAIM: &str = "\
INSERT INTO event_ids (claimed_at, accepted_at, tenant, event_day, confirmed, id, content_hash)
SELECT now(), unnest($1::timestamptz[]), unnest($2::uuid[]), unnest($3::date[]), true, unnest($4::text[]), unnest($5::text[])
ON CONFLICT DO NOTHING";

/// Indexes of the events whose id belongs to an event with other content. Runs after the inserts of events and claims. Hashes of
/// different forms cannot be compared.
pub(super) const FIND_OTHERS: &str = "\
SELECT u.place
FROM (SELECT unnest($1::int[]) AS place, unnest($2::bigint[]) AS instance, unnest($3::bigint[]) AS number,
        unnest($4::uuid[]) AS tenant, unnest($5::date[]) AS event_day, unnest($6::text[]) AS id, unnest($7::text[]) AS hash) u
LEFT JOIN events e ON e.tenant = u.tenant AND e.id = u.id AND e.event_day = u.event_day
    AND (e.instance, e.sequence) IS DISTINCT FROM (u.instance, u.number)
LEFT JOIN event_ids c ON u.hash IS NOT NULL AND c.tenant = u.tenant AND c.id = u.id
WHERE (e.id IS NOT NULL AND e.content_hash IS DISTINCT FROM u.hash
        AND ((e.content_hash LIKE 'c1.%') = (u.hash LIKE 'c1.%')) IS NOT FALSE)
    OR (c.content_hash <> u.hash AND (c.content_hash LIKE 'c1.%') = (u.hash LIKE 'c1.%'))
ORDER BY u.place";

/// Events with producer-supplied, unclaimed ids, as array parameters of [`CLAIM`].
#[derive(Default)]
pub(super) struct Unclaimed<'a> {
    accepted_at: Vec<Ts>,
    tenant: Vec<Uuid>,
    event_day: Vec<Date>,
    id: Vec<&'a str>,
    content_hash: Vec<&'a str>,
}

impl<'a> Unclaimed<'a> {
    /// Sorted like the claims of ingest, so that the two cannot deadlock.
    pub(super) fn of(events: impl Iterator<Item = &'a AcceptedEvent>) -> Self {
        let mut unclaimed: Vec<_> = events
            .filter(|event| is_unclaimed(event))
            .filter_map(|event| event.content_hash.as_deref().map(|hash| (event, hash)))
            .collect();
        unclaimed.sort_by(|(a, _), (b, _)| (a.tenant, &a.id).cmp(&(b.tenant, &b.id)));
        let mut columns = Self::default();
        for (event, hash) in unclaimed {
            columns.accepted_at.push(Ts(event.accepted_at));
            columns.tenant.push(event.tenant.0);
            columns.event_day.push(Date(event.event_day));
            columns.id.push(event.id.as_str());
            columns.content_hash.push(hash);
        }
        columns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 5] {
        [&self.accepted_at, &self.tenant, &self.event_day, &self.id, &self.content_hash]
    }
}

/// Whether the id was supplied by the producer and ingest could not claim it.
fn is_unclaimed(event: &AcceptedEvent) -> bool {
    event.content_hash.is_some() && !event.claimed
}

/// Events that may have the id of another event, as array parameters of [`FIND_OTHERS`].
#[derive(Default)]
pub(super) struct Suspects<'a> {
    place: Vec<i32>,
    instance: Vec<i64>,
    number: Vec<i64>,
    tenant: Vec<Uuid>,
    event_day: Vec<Date>,
    id: Vec<&'a str>,
    hash: Vec<Option<&'a str>>,
}

impl<'a> Suspects<'a> {
    /// The unclaimed events, with their indexes; all events if some may already be on record (`repeats`).
    pub(super) fn of(events: impl Iterator<Item = (usize, &'a AcceptedEvent)>, repeats: bool) -> Self {
        let mut columns = Self::default();
        for (place, event) in events.filter(|(_, event)| repeats || is_unclaimed(event)) {
            let Ok(place) = i32::try_from(place) else { break };
            columns.place.push(place);
            columns.instance.push(event.instance.cast_signed());
            columns.number.push(event.sequence.cast_signed());
            columns.tenant.push(event.tenant.0);
            columns.event_day.push(Date(event.event_day));
            columns.id.push(event.id.as_str());
            columns.hash.push(event.content_hash.as_deref());
        }
        columns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 7] {
        [&self.place, &self.instance, &self.number, &self.tenant, &self.event_day, &self.id, &self.hash]
    }
}
