//! The steps of a search in payloads: every event once, in order, within the limits.

use bytes::Bytes;
use postrider_model::filters::{EventFilter, ListOrder};
use postrider_model::ids::{EventId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::StoreError;
use postrider_store::history::{PageRequest, SearchStepMax};
use postrider_store::record::RecordBatch;
use postrider_wire::messages::AcceptedEvent;

use crate::support::{Fixture, batch, event};

/// Number of bytes of each event's payload.
const BYTES: usize = 100;

async fn record(fixture: &Fixture, events: &[AcceptedEvent]) {
    let data = Bytes::from(format!("{:BYTES$}", "1"));
    let events = events.iter().map(|event| (event.clone(), data.clone())).collect();
    fixture.store.record().write(&RecordBatch { events, ..batch(vec![], vec![], vec![]) }).await.unwrap();
}

/// Walks over all events in steps with these limits, which it checks. Returns the candidates and the number of events.
async fn walk(fixture: &Fixture, tenant: TenantId, filter: &EventFilter, max: SearchStepMax) -> (Vec<EventId>, u32) {
    let (mut candidates, mut walked, mut cursor) = (Vec::new(), 0, None);
    loop {
        let step = fixture.store.history().search_step(tenant, filter, cursor, max).await.unwrap();
        assert!(step.walked <= max.events, "{max:?}");
        let read = (step.candidates.len() * BYTES) as u64;
        assert!(read < max.bytes + BYTES as u64, "{max:?}: {read}");
        for candidate in &step.candidates {
            assert!(candidate.place <= step.walked && candidate.event.data.as_ref().unwrap().len() == BYTES);
        }
        walked += step.walked;
        candidates.extend(step.candidates.into_iter().map(|candidate| candidate.event.summary.id));
        cursor = step.next_cursor;
        if cursor.is_none() {
            return (candidates, walked);
        }
    }
}

#[tokio::test]
async fn steps_of_any_size_walk_over_every_event_once_and_in_order() {
    let fixture = Fixture::new("search_steps").await;
    let (tenant, start) = (TenantId::generate(), UnixMillis::now().day().start());
    // Several events have the same millisecond, so that their ids decide the order.
    let mut events: Vec<_> = (0..40).map(|n| event(tenant, UnixMillis(start.0 + n / 4))).collect();
    for opened in events.iter_mut().step_by(3) {
        opened.event_type = "email.opened".parse().unwrap();
    }
    record(&fixture, &events).await;
    record(&fixture, &[event(TenantId::generate(), start)]).await;
    events.sort_by(|a, b| (b.accepted_at, &b.id).cmp(&(a.accepted_at, &a.id)));
    let expunged = [events[0].id.clone(), events[17].id.clone(), events[39].id.clone()];
    for id in &expunged {
        fixture.store.expunge_event(tenant, id).await.unwrap();
    }
    let expected = |filter: &EventFilter| -> Vec<EventId> {
        let selected = events.iter().filter(|event| !expunged.contains(&event.id));
        let selected =
            selected.filter(|event| filter.event_type.as_ref().is_none_or(|types| types.matches(&event.event_type)));
        let mut ids: Vec<EventId> = selected.map(|event| event.id.clone()).collect();
        if filter.order == Some(ListOrder::Oldest) {
            ids.reverse();
        }
        ids
    };
    for event_type in [None, Some("email.opened".parse().unwrap())] {
        for order in [None, Some(ListOrder::Oldest)] {
            let filter = EventFilter { event_type: event_type.clone(), order, ..EventFilter::default() };
            for (events, bytes) in [(7, 300), (1, 1), (1_000, 1), (4, 1_000_000), (40, 1_000_000), (1_000, 1_000_000)] {
                let (ids, walked) = walk(&fixture, tenant, &filter, SearchStepMax { events, bytes }).await;
                assert_eq!((ids, walked), (expected(&filter), 40), "{filter:?} {events} {bytes}");
            }
        }
    }
}

#[tokio::test]
async fn a_search_continues_a_list_and_ends_with_its_range() {
    let fixture = Fixture::new("search_range").await;
    let (tenant, start) = (TenantId::generate(), UnixMillis::now().day().start());
    let events: Vec<_> = (0..10).map(|n| event(tenant, UnixMillis(start.0 + n))).collect();
    record(&fixture, &events).await;
    let history = fixture.store.history();
    let max = SearchStepMax { events: 100, bytes: 1_000_000 };
    let filter = EventFilter {
        from: Some(UnixMillis(start.0 + 2)),
        to: Some(UnixMillis(start.0 + 8)),
        ..EventFilter::default()
    };
    let listed = history.list_events(Some(tenant), &filter, &PageRequest { limit: 2, cursor: None }).await.unwrap();
    let step = history.search_step(tenant, &filter, listed.next_cursor, max).await.unwrap();
    let found: Vec<i64> =
        step.candidates.iter().map(|candidate| candidate.event.summary.accepted_at.0 - start.0).collect();
    assert_eq!((found, step.walked, step.until), (vec![5, 4, 3, 2], 4, Some(UnixMillis(start.0 + 2))));
    let after_first = history.search_step(tenant, &filter, Some(step.candidates[0].cursor.clone()), max).await.unwrap();
    assert_eq!(after_first.candidates[0].event.summary.accepted_at.0 - start.0, 4);

    let nothing = history.search_step(TenantId::generate(), &filter, None, max).await.unwrap();
    assert!(nothing.candidates.is_empty() && nothing.walked == 0 && nothing.next_cursor.is_none());
    let wrong = history.search_step(tenant, &filter, Some("nonsense".into()), max).await;
    assert!(matches!(wrong, Err(StoreError::InvalidCursor)));
}
