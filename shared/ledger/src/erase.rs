//! Erasures: the steps in which they search the history, and which rows hold the value.
//!
//! A step reads a limited part of one stage, searches it on a blocking thread, and commits what it found. Payloads are searched by
//! field or by every text; answers, headers and dead letters have no fields, so they are searched as text.

mod answers;
mod letters;

use std::time::Duration;

use postrider_model::erasure::{ErasureCondition, ErasureStage, Extent, FoundInEvent};
use postrider_model::filters::{EventFilter, ListOrder};
use postrider_model::ids::ErasureId;
use postrider_model::limits::ERASURE_STEP_BYTES_MAX;
use postrider_model::payload_filter::Payload;
use postrider_model::time::UnixMillis;
use postrider_store::erasures::{Claim, ClaimedErasure, ErasureStep, EventHit, Examined, Hits, StepEnd};
use postrider_store::history::{EventRow, SearchCandidate, SearchStepMax};
use postrider_store::{Store, StoreError};

/// An erasure reads events this long after they were accepted, when recorders have usually written them.
const RECORDED_AFTER: Duration = Duration::from_secs(10);
/// The limits of a step over events.
const STEP: SearchStepMax = SearchStepMax { events: 500, bytes: ERASURE_STEP_BYTES_MAX };
/// Maximum number of events that a step expunges. Edits of the configuration wait meanwhile.
const HITS_MAX: usize = 25;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// The erasure goes on.
    Continues(ErasureId),
    /// The erasure has ended, or was cancelled meanwhile.
    Ended(ErasureId),
}

/// Makes the next step of an erasure, if one is due. `None`: there is nothing to do now.
///
/// # Errors
/// An error of the database. Nothing was committed; the step is made again later.
pub async fn step(store: &Store) -> Result<Option<Stepped>, StoreError> {
    let claimed = match store.claim_erasure().await? {
        None => return Ok(None),
        Some(Claim::Failed(id)) => return Ok(Some(Stepped::Ended(id))),
        Some(Claim::Step(claimed)) => claimed,
    };
    let id = claimed.erasure.id;
    let step = search(store, &claimed).await?;
    let ends = matches!(step.end, StepEnd::Finish | StepEnd::Fail(_));
    let committed = store.commit_erasure_step(&claimed, step).await?;
    Ok(Some(if ends || !committed { Stepped::Ended(id) } else { Stepped::Continues(id) }))
}

/// Reads the rows of the step and finds those that hold the value.
async fn search(store: &Store, claimed: &ClaimedErasure) -> Result<ErasureStep, StoreError> {
    let erasure = &claimed.erasure;
    let extent = if erasure.anywhere { Extent::Anywhere } else { Extent::Whole };
    let condition = match ErasureCondition::new(erasure.field.as_deref(), &claimed.value, extent) {
        Ok(condition) => condition,
        // The request was checked by another build.
        Err(error) => return Ok(without_hits(StepEnd::Fail(error.to_string()))),
    };
    match erasure.stage {
        ErasureStage::Events => events(store, claimed, condition).await,
        ErasureStage::TestCalls => {
            let calls = store.erasure_test_calls(erasure.tenant).await?;
            let holding = calls.into_iter().filter(|(_, data)| holds_data(&condition, data)).map(|(id, _)| id);
            let hits = Hits::TestCalls(holding.collect());
            Ok(ErasureStep { hits, ..without_hits(StepEnd::Stage(ErasureStage::Attempts)) })
        }
        ErasureStage::Attempts => answers::search(store, claimed, condition).await,
        ErasureStage::DeadLetters => letters::search(store, claimed, condition).await,
    }
}

/// A step that found nothing.
fn without_hits(end: StepEnd) -> ErasureStep {
    ErasureStep { hits: Hits::Events(Vec::new()), examined: Examined::default(), reached_at: None, end }
}

/// Whether the data of a test call holds the value.
fn holds_data(condition: &ErasureCondition, data: &str) -> bool {
    let payload = Payload { data: data.as_bytes(), metadata: None, attributes: &Default::default() };
    condition.find(&payload).is_hit()
}

/// Finds events.
async fn events(
    store: &Store,
    claimed: &ClaimedErasure,
    condition: ErasureCondition,
) -> Result<ErasureStep, StoreError> {
    let erasure = &claimed.erasure;
    let complete_at = erasure.until.plus(RECORDED_AFTER);
    if UnixMillis::now() < complete_at {
        return Ok(without_hits(StepEnd::Wait(claimed.position.clone(), complete_at)));
    }
    let filter = EventFilter {
        from: erasure.since,
        to: Some(erasure.until),
        order: Some(ListOrder::Oldest),
        ..EventFilter::default()
    };
    let read = store.history().search_step(erasure.tenant, &filter, claimed.position.clone(), STEP).await?;
    let (walked, until, next) = (read.walked, read.until, read.next_cursor);
    let found = off_thread(move || find(read.candidates, &condition)).await?;
    let next_stage = || StepEnd::Stage(ErasureStage::TestCalls);
    let (examined, reached_at, end) = match found.cut {
        Some(cut) => (cut.place, Some(cut.accepted_at), StepEnd::Continue(Some(cut.cursor))),
        None => (walked, until, next.map_or_else(next_stage, |next| StepEnd::Continue(Some(next)))),
    };
    let examined = Examined { events: examined.into(), ..Examined::default() };
    Ok(ErasureStep { hits: Hits::Events(found.hits), examined, reached_at, end })
}

/// The events of a step that hold the value.
struct FoundEvents {
    hits: Vec<EventHit>,
    /// The last hit, if the step ends with it because it has [`HITS_MAX`] hits.
    cut: Option<Cut>,
}

struct Cut {
    place: u32,
    accepted_at: UnixMillis,
    cursor: String,
}

fn find(candidates: Vec<SearchCandidate>, condition: &ErasureCondition) -> FoundEvents {
    let (mut hits, mut cut) = (Vec::new(), None);
    for SearchCandidate { event, place, cursor } in candidates {
        let found = found_in(&event, condition);
        if !found.is_hit() {
            continue;
        }
        let accepted_at = event.summary.accepted_at;
        hits.push(EventHit { id: event.summary.id, day: event.summary.event_day, attributes: found.attributes });
        if hits.len() == HITS_MAX {
            cut = Some(Cut { place, accepted_at, cursor });
            break;
        }
    }
    FoundEvents { hits, cut }
}

fn found_in(event: &EventRow, condition: &ErasureCondition) -> FoundInEvent {
    let metadata = event.metadata.as_ref().map(|metadata| metadata.get());
    let data = event.data.as_deref().unwrap_or_default();
    condition.find(&Payload { data, metadata, attributes: &event.summary.attributes })
}

/// Runs a search on a blocking thread.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    let failed = |error: tokio::task::JoinError| StoreError::Unreadable { what: "erasure", detail: error.to_string() };
    tokio::task::spawn_blocking(work).await.map_err(failed)
}
