//! The rules of replays: which events of a page get new deliveries, and to which endpoints. Dry runs use the same code.

mod targets;

use std::future::Future;
use std::sync::Arc;

use postrider_model::delivery::{BodyKind, Lane, Trigger};
use postrider_model::ids::{DeliveryId, EndpointId, Generation, TenantId};
use postrider_model::limits::{REPLAY_DRY_RUN_BYTES_MAX, REPLAY_DRY_RUN_EVENTS_MAX, REPLAY_DRY_RUN_STEPS_MAX};
use postrider_model::replay::ReplaySelection;
use postrider_model::time::UnixMillis;
use postrider_profiles::{Profile, Profiles};
use postrider_store::history::EventRow;
use postrider_store::replay::{Fed, PublishedPage, Replay, ReplayCandidate, ReplayInput, ReplayPage, ReplayStep};
use postrider_store::{Store, StoreError};
use postrider_wire::messages::{DeliveryRef, DeliveryTask};

use self::targets::Targets;

/// Maximum events that a dry run reads in one step. It reads payloads only for payload filters.
const COUNTED_AT_ONCE: u32 = 1_000;

/// Limits of a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DryRunLimits {
    /// Maximum events read.
    pub events: u64,
    /// Maximum bytes of payloads read for payload filters.
    pub bytes: u64,
    /// Maximum steps of payload filters.
    pub steps: u64,
}

impl Default for DryRunLimits {
    fn default() -> Self {
        Self { events: REPLAY_DRY_RUN_EVENTS_MAX, bytes: REPLAY_DRY_RUN_BYTES_MAX, steps: REPLAY_DRY_RUN_STEPS_MAX }
    }
}

/// The result of a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Events with at least one new delivery.
    pub events: u64,
    /// Deliveries that would be created.
    pub deliveries: u64,
}

/// Limits of a page.
#[derive(Debug, Clone, Copy)]
pub struct PageLimits {
    /// Maximum events read.
    pub events: u32,
    /// A page ends with the event that reaches this number of deliveries. All deliveries of one event are in one page.
    pub deliveries: u64,
}

/// A page of deliveries, to be rendered and published to their lane.
pub struct Rendition {
    /// The tenant's current profile.
    pub profile: Arc<Profile>,
    /// The events, oldest first.
    pub events: Vec<ReplayedEvent>,
}

/// An event and its new deliveries.
pub struct ReplayedEvent {
    /// The event, with its payload.
    pub event: EventRow,
    /// The heads of the messages, each with the format of its body.
    pub tasks: Vec<(DeliveryTask, BodyKind)>,
}

/// Why a step failed. The step is repeated later, with the same ids.
#[derive(Debug, thiserror::Error)]
pub enum FeedError<E> {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The caller could not publish the page.
    #[error("the page was not published")]
    Publish(E),
}

/// Feeds one page of a running replay that no other replayer is feeding. Calls `publish` with the page, which must return when
/// the broker has confirmed all of it; then commits the delivery rows and the cursor. `None`: no replay needs feeding.
///
/// # Errors
/// Nothing was committed. Deliveries that were published are published again, with the same ids.
pub async fn feed<E, F>(
    store: &Store,
    profiles: &Profiles,
    limits: PageLimits,
    publish: impl FnOnce(Rendition) -> F,
) -> Result<Option<Fed>, FeedError<E>>
where
    F: Future<Output = Result<(), E>>,
{
    let feed_page = async |input: ReplayInput| {
        let ReplayInput { replay, targets, page, config_version, now } = input;
        let targets = Arc::new(Targets::new(profiles, targets, &replay.selection)?);
        let planned = plan(replay.tenant, &replay.selection, &targets, page, limits.deliveries).await?;
        let event = |(event, again): (EventRow, Vec<Again>)| {
            let task = |again: Again| (task(&replay, &event, &again, config_version, now), again.body);
            ReplayedEvent { tasks: again.into_iter().map(task).collect(), event }
        };
        let events: Vec<_> = planned.events.into_iter().map(event).collect();
        let tasks: Vec<_> = events.iter().flat_map(|event| &event.tasks).map(|(task, _)| task.clone()).collect();
        let count = events.len() as u64;
        if !tasks.is_empty() {
            let page = Rendition { profile: Arc::clone(&targets.profile), events };
            publish(page).await.map_err(FeedError::Publish)?;
        }
        Ok(PublishedPage { tasks, events: count, walked: planned.walked })
    };
    store.feed_replay(limits.events, feed_page).await
}

/// Counts the deliveries that a replay would create now. `None`: counting would exceed the limits.
///
/// # Errors
/// [`StoreError::NotFound`] for the tenant; the database's.
pub async fn count(
    store: &Store,
    profiles: &Profiles,
    tenant: TenantId,
    selection: &ReplaySelection,
    limits: DryRunLimits,
) -> Result<Option<Counted>, StoreError> {
    let targets = store.replay_targets(tenant, selection).await?.ok_or(StoreError::NotFound { what: "tenant" })?;
    let targets = Arc::new(Targets::new(profiles, targets, selection)?);
    let mut counted = Counted::default();
    let mut looked = DryRunLimits { events: 0, bytes: 0, steps: 0 };
    let mut step = ReplayStep { after: None, events_max: COUNTED_AT_ONCE, payloads: targets.have_payload_filters() };
    loop {
        let page = store.replay_page(tenant, selection, &step).await?;
        let is_last = page.is_last;
        step.after = page
            .candidates
            .last()
            .map(|ReplayCandidate { event, .. }| (event.summary.accepted_at, event.summary.id.clone()));
        let planned = plan(tenant, selection, &targets, page, u64::MAX).await?;
        counted.events += planned.events.len() as u64;
        counted.deliveries += planned.deliveries;
        looked.events += planned.walked as u64;
        looked.bytes += planned.bytes;
        looked.steps += planned.steps;
        if looked.bytes > limits.bytes || looked.steps > limits.steps {
            return Ok(None);
        }
        if is_last {
            return Ok(Some(counted));
        }
        if looked.events >= limits.events {
            return Ok(None);
        }
    }
}

/// A new delivery of an event to an endpoint.
struct Again {
    endpoint: EndpointId,
    body: BodyKind,
    /// The event's own delivery to that endpoint, if there was one.
    repeats: Option<DeliveryId>,
}

/// The new deliveries of a page.
#[derive(Default)]
struct Planned {
    /// Events with at least one new delivery, in order of acceptance.
    events: Vec<(EventRow, Vec<Again>)>,
    deliveries: u64,
    /// Events that were read for the page.
    walked: usize,
    /// Bytes of payloads read.
    bytes: u64,
    /// Steps that payload filters took.
    steps: u64,
}

/// Plans the deliveries of a page. The page ends early once it has `deliveries_max`. Payload filters run on a blocking thread.
async fn plan(
    tenant: TenantId,
    selection: &ReplaySelection,
    targets: &Arc<Targets>,
    page: ReplayPage,
    deliveries_max: u64,
) -> Result<Planned, StoreError> {
    let mut planned = Planned::default();
    for (candidate, matches) in Targets::match_all(targets, page.candidates).await? {
        if planned.deliveries >= deliveries_max {
            break;
        }
        let ReplayCandidate { event, decided, earlier } = candidate;
        let again = |endpoint: EndpointId| {
            let earlier = earlier.get(&endpoint).map_or(&[][..], Vec::as_slice);
            let first = || DeliveryId::derive(tenant, &event.summary.id, endpoint, &Generation::First);
            let repeats = decided.contains(&endpoint).then(first);
            let body = targets.body(endpoint).filter(|_| selection.selects(earlier))?;
            Some(Again { endpoint, body, repeats })
        };
        let again: Vec<_> = matches.endpoints.into_iter().filter_map(again).collect();
        planned.walked += 1;
        planned.steps += matches.steps;
        planned.bytes += event.data.as_deref().map_or(0, <[u8]>::len) as u64;
        planned.deliveries += again.len() as u64;
        if !again.is_empty() {
            planned.events.push((event, again));
        }
    }
    Ok(planned)
}

/// Creates a new delivery. Its id follows from the replay, so that a repeated page creates no second delivery.
fn task(replay: &Replay, event: &EventRow, again: &Again, config_version: i64, now: UnixMillis) -> DeliveryTask {
    let summary = &event.summary;
    let delivery = DeliveryRef {
        // The day of the replay, not today: a page that is repeated after midnight must refer to the same rows.
        delivery_day: replay.created_at.day(),
        repeats: again.repeats,
        ..DeliveryRef::new(summary.event_ref(), again.endpoint, Generation::Replay(replay.id), now)
    };
    let first = DeliveryTask::first_attempt(delivery, Trigger::Replay, summary.occurred_at, config_version);
    DeliveryTask { lane: Lane::Bulk, ..first }
}
