//! Detects events whose id belongs to another event, when ingest could not: the database was away, or the other event had a
//! generated id and was not on record yet.

use postrider_wire::messages::AcceptedEvent;
use uuid::Uuid;

use super::array_params::{self, array_params};
use crate::sql::{Date, Ts};

/// Claims ids for events that ingest could not claim, unless they are claimed.
pub(super) fn claim() -> String {
    let rows = array_params::select(Unclaimed::COLUMNS);
    format!(
        "INSERT INTO event_ids (claimed_at, accepted_at, tenant, event_day, confirmed, id, content_hash)
         SELECT now(), accepted_at, tenant, event_day, true, id, content_hash FROM ({rows}) u
         ON CONFLICT DO NOTHING"
    )
}

/// Indexes of the events whose id belongs to an event with other content. Runs after the inserts of events and claims. Hashes of
/// different forms cannot be compared.
pub(super) fn find_others() -> String {
    let rows = array_params::select(Suspects::COLUMNS);
    format!(
        "SELECT u.place FROM ({rows}) u
         LEFT JOIN events e ON e.tenant = u.tenant AND e.id = u.id AND e.event_day = u.event_day
             AND (e.instance, e.sequence) IS DISTINCT FROM (u.instance, u.number)
         LEFT JOIN event_ids c ON u.hash IS NOT NULL AND c.tenant = u.tenant AND c.id = u.id
         WHERE (e.id IS NOT NULL AND e.content_hash IS DISTINCT FROM u.hash
                 AND ((e.content_hash LIKE 'c1.%') = (u.hash LIKE 'c1.%')) IS NOT FALSE)
             OR (c.content_hash <> u.hash AND (c.content_hash LIKE 'c1.%') = (u.hash LIKE 'c1.%'))
         ORDER BY u.place"
    )
}

array_params! {
    /// Events with producer-supplied, unclaimed ids, as parameters of [`claim`].
    Unclaimed<'a> of (event: &'a AcceptedEvent, hash: &'a str) {
        accepted_at: Ts = Ts(event.accepted_at),
        tenant: Uuid = event.tenant.0,
        event_day: Date = Date(event.event_day),
        id: &'a str = event.id.as_str(),
        content_hash: &'a str = hash,
    }
}

impl<'a> Unclaimed<'a> {
    /// Sorted like the claims of ingest, so that the two cannot deadlock.
    pub(super) fn of(events: impl Iterator<Item = &'a AcceptedEvent>) -> Self {
        let mut unclaimed: Vec<_> = events
            .filter(|event| is_unclaimed(event))
            .filter_map(|event| event.content_hash.as_deref().map(|hash| (event, hash)))
            .collect();
        unclaimed.sort_by(|(a, _), (b, _)| (a.tenant, &a.id).cmp(&(b.tenant, &b.id)));
        let mut rows = Self::default();
        unclaimed.into_iter().for_each(|(event, hash)| rows.push(event, hash));
        rows
    }
}

/// Whether the id was supplied by the producer and ingest could not claim it.
pub(super) fn is_unclaimed(event: &AcceptedEvent) -> bool {
    event.content_hash.is_some() && !event.claimed
}

array_params! {
    /// Events that may have the id of another event, as parameters of [`find_others`].
    Suspects<'a> of (place: i32, event: &'a AcceptedEvent) {
        place: i32 = place,
        instance: i64 = event.instance.cast_signed(),
        number: i64 = event.sequence.cast_signed(),
        tenant: Uuid = event.tenant.0,
        event_day: Date = Date(event.event_day),
        id: &'a str = event.id.as_str(),
        hash: Option<&'a str> = event.content_hash.as_deref(),
    }
}

impl<'a> Suspects<'a> {
    /// These events, with their indexes.
    pub(super) fn of(events: impl Iterator<Item = (usize, &'a AcceptedEvent)>) -> Self {
        let mut rows = Self::default();
        for (place, event) in events {
            let Ok(place) = i32::try_from(place) else { break };
            rows.push(place, event);
        }
        rows
    }
}
