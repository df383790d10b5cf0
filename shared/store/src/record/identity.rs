//! Events of which only the recorder can see that their id belongs to another one: ingest could not ask the database, or the id
//! was made here and its event was not on record yet.

use postrider_wire::messages::AcceptedEvent;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::sql::{Date, Ts};

/// Claims ids for events whose ingest could not, unless they are claimed.
pub(super) const CLAIM: &str = "\
INSERT INTO event_ids (claimed_at, accepted_at, tenant, event_day, confirmed, id, content_hash)
SELECT now(), unnest($1::timestamptz[]), unnest($2::uuid[]), unnest($3::date[]), true, unnest($4::text[]), unnest($5::text[])
ON CONFLICT DO NOTHING";

/// Of these events, those whose id belongs to one with other content, by their places. Comes behind the inserts of the events
/// and of the claims. Hashes of two forms cannot be compared.
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

/// Events with ids that their producers named and nobody has claimed, as the arrays that [`CLAIM`] takes.
#[derive(Default)]
pub(super) struct Unclaimed<'a> {
    accepted_at: Vec<Ts>,
    tenant: Vec<Uuid>,
    event_day: Vec<Date>,
    id: Vec<&'a str>,
    content_hash: Vec<&'a str>,
}

impl<'a> Unclaimed<'a> {
    /// In the order of the claims that ingest makes, lest either waits for the other.
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

/// Whether ingest could not claim the id that the event's producer named.
fn is_unclaimed(event: &AcceptedEvent) -> bool {
    event.content_hash.is_some() && !event.claimed
}

/// Events that may meet another one, as the arrays that [`FIND_OTHERS`] takes.
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
    /// Of events with their places, those that nobody claimed; where some may be on record already (`repeats`), all of them.
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
