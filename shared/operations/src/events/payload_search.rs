//! The search in payloads: a list of events with a filter by a value of the payload.
//!
//! No index serves such a filter, so a page examines the payloads one by one. It ends with its last item, or after
//! [`PAYLOAD_SEARCH_EVENTS_MAX`] events or [`PAYLOAD_SEARCH_BYTES_MAX`] bytes of payloads. The cursor continues after the last
//! event that was examined.

use postrider_model::filters::EventFilter;
use postrider_model::ids::TenantId;
use postrider_model::limits::{PAGE_MAX, PAYLOAD_SEARCH_BYTES_MAX, PAYLOAD_SEARCH_EVENTS_MAX};
use postrider_model::payload_filter::{Payload, PayloadSearch};
use postrider_model::time::UnixMillis;
use postrider_store::History;
use postrider_store::history::{EventRow, EventSummary, SearchCandidate, SearchStep, SearchStepMax};

use super::{Event, EventPage, Searched};
use crate::error::Error;
use crate::heavy::off_thread;
use crate::page::{PageQuery, cursor_of};

/// The limits of a step, which is one query and one task on a blocking thread.
const STEP: SearchStepMax = SearchStepMax { events: 1_000, bytes: 4 * 1024 * 1024 };
/// The limits of a page.
const PAGE: SearchStepMax = SearchStepMax { events: PAYLOAD_SEARCH_EVENTS_MAX, bytes: PAYLOAD_SEARCH_BYTES_MAX };

/// A search for one page.
pub(super) struct Search<'a> {
    pub(super) history: &'a History,
    pub(super) tenant: TenantId,
    pub(super) filter: &'a EventFilter,
    pub(super) payload: &'a PayloadSearch,
}

/// What a search has found so far.
struct Progress {
    found: Vec<EventSummary>,
    events: u32,
    bytes: u64,
    until: Option<UnixMillis>,
    /// Where the search continues; `None` after the last event of the range.
    cursor: Option<String>,
}

/// The candidates of a step that match, as far as the page has room for them.
struct Matches {
    found: Vec<EventSummary>,
    /// The position of the last match, if it fills the page.
    end: Option<End>,
}

struct End {
    place: u32,
    cursor: String,
}

impl Search<'_> {
    /// Reads the page.
    pub(super) async fn page(&self, page: &PageQuery) -> Result<EventPage, Error> {
        let limit = page.limit.clamp(1, PAGE_MAX) as usize;
        let cursor = page.request("events")?.cursor;
        let mut progress = Progress { found: Vec::new(), events: 0, bytes: 0, until: None, cursor };
        while progress.events < PAGE.events && progress.bytes < PAGE.bytes {
            let max = SearchStepMax {
                events: STEP.events.min(PAGE.events - progress.events),
                bytes: STEP.bytes.min(PAGE.bytes - progress.bytes),
            };
            let step = self.history.search_step(self.tenant, self.filter, progress.cursor.take(), max).await?;
            let is_full = self.examine(&mut progress, step, limit).await?;
            if is_full || progress.cursor.is_none() {
                break;
            }
        }
        Ok(progress.into())
    }

    /// Adds a step to the progress. Returns whether the page is full.
    async fn examine(&self, progress: &mut Progress, step: SearchStep, limit: usize) -> Result<bool, Error> {
        let SearchStep { candidates, walked, until, next_cursor } = step;
        progress.bytes += candidates.iter().map(|candidate| bytes(&candidate.event)).sum::<u64>();
        let (payload, room) = (self.payload.clone(), limit - progress.found.len());
        let Matches { found, end } = off_thread(move || matches(candidates, &payload, room)).await?;
        progress.until = until.or(progress.until);
        progress.cursor = next_cursor;
        let Some(end) = end else {
            progress.events += walked;
            progress.found.extend(found);
            return Ok(false);
        };
        progress.events += end.place;
        if end.place < walked {
            progress.until = found.last().map(|last| last.accepted_at);
            progress.cursor = Some(end.cursor);
        }
        progress.found.extend(found);
        Ok(true)
    }
}

impl From<Progress> for EventPage {
    fn from(progress: Progress) -> Self {
        let until = progress.until.map(Into::into);
        Self {
            data: progress.found.into_iter().map(Event::from).collect(),
            next_cursor: progress.cursor.map(|place| cursor_of("events", &place)),
            searched: Some(Searched { events: progress.events, until }),
        }
    }
}

/// The number of bytes of an event's payload.
fn bytes(event: &EventRow) -> u64 {
    let metadata = event.metadata.as_ref().map_or(0, |metadata| metadata.get().len());
    (event.data.as_ref().map_or(0, |data| data.len()) + metadata) as u64
}

/// Finds the first `room` events that match.
fn matches(candidates: Vec<SearchCandidate>, payload: &PayloadSearch, room: usize) -> Matches {
    let (mut found, mut end) = (Vec::new(), None);
    for SearchCandidate { event, place, cursor } in candidates {
        if !is_match(&event, payload) {
            continue;
        }
        found.push(event.summary);
        if found.len() == room {
            end = Some(End { place, cursor });
            break;
        }
    }
    Matches { found, end }
}

fn is_match(event: &EventRow, payload: &PayloadSearch) -> bool {
    let metadata = event.metadata.as_ref().map(|metadata| metadata.get());
    let data = event.data.as_deref().unwrap_or_default();
    payload.matches(&Payload { data, metadata, attributes: &event.summary.attributes })
}
