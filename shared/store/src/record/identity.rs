//! Detects events whose id belongs to another event, in the cases that ingest cannot detect: the database was away, or the
//! other event has a generated id and was not on record yet.

use postrider_wire::messages::AcceptedEvent;
use uuid::Uuid;

use super::array_params::{self, array_params};
use crate::sql::{Date, Ts};

/// SQL that claims ids for events whose id ingest could not claim. Existing claims remain unchanged.
pub(super) fn claim() -> String {
    let rows = array_params::select(Unclaimed::COLUMNS);
    format!(
        "INSERT INTO event_ids (claimed_at, accepted_at, tenant, event_day, confirmed, id, content_hash)
         SELECT now(), accepted_at, tenant, event_day, true, id, content_hash FROM ({rows}) u
         ON CONFLICT DO NOTHING"
    )
}

/// SQL for the indexes of events whose id belongs to an event with other content. Runs after events and claims are inserted.
/// Hashes of different formats cannot be compared and count as equal.
pub(super) fn find_others() -> String {
    let rows = array_params::select(Suspects::COLUMNS);
    format!(
        "SELECT u.index FROM ({rows}) u
         LEFT JOIN events e ON e.tenant = u.tenant AND e.id = u.id AND e.event_day = u.event_day
             AND (e.instance, e.sequence) IS DISTINCT FROM (u.instance, u.number)
         LEFT JOIN event_ids c ON u.hash IS NOT NULL AND c.tenant = u.tenant AND c.id = u.id
         WHERE (e.id IS NOT NULL AND e.content_hash IS DISTINCT FROM u.hash
                 AND ((e.content_hash LIKE 'c1.%') = (u.hash LIKE 'c1.%')) IS NOT FALSE)
             OR (c.content_hash <> u.hash AND (c.content_hash LIKE 'c1.%') = (u.hash LIKE 'c1.%'))
         ORDER BY u.index"
    )
}

array_params! {
    /// Events with a producer's id that ingest could not claim, as parameters of [`claim`].
    Unclaimed<'a> of (event: &'a AcceptedEvent, hash: &'a str) {
        accepted_at: Ts = Ts(event.accepted_at),
        tenant: Uuid = event.tenant.0,
        event_day: Date = Date(event.event_day),
        id: &'a str = event.id.as_str(),
        content_hash: &'a str = hash,
    }
}

impl<'a> Unclaimed<'a> {
    /// The events in `events` that are unclaimed, sorted like the claims of ingest, so that recorder and ingest cannot
    /// deadlock.
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

/// Whether a producer supplied the id and ingest could not claim it.
pub(super) fn is_unclaimed(event: &AcceptedEvent) -> bool {
    event.content_hash.is_some() && !event.claimed
}

array_params! {
    /// Events that may have the id of another event, as parameters of [`find_others`].
    Suspects<'a> of (index: i32, event: &'a AcceptedEvent) {
        index: i32 = index,
        instance: i64 = event.instance.cast_signed(),
        number: i64 = event.sequence.cast_signed(),
        tenant: Uuid = event.tenant.0,
        event_day: Date = Date(event.event_day),
        id: &'a str = event.id.as_str(),
        hash: Option<&'a str> = event.content_hash.as_deref(),
    }
}

impl<'a> Suspects<'a> {
    /// The events, each with its index in the batch.
    pub(super) fn of(events: impl Iterator<Item = (usize, &'a AcceptedEvent)>) -> Self {
        let mut rows = Self::default();
        for (index, event) in events {
            let Ok(index) = i32::try_from(index) else { break };
            rows.push(index, event);
        }
        rows
    }
}
