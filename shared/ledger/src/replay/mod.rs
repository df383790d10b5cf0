//! The rules of replays: the events of a page that get new deliveries, the endpoints of these deliveries, and the pending
//! deliveries that a recovery attempts now. Dry runs use the same code.

mod plan;
mod targets;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;

use postrider_model::delivery::{BodyKind, Trigger};
use postrider_model::ids::{DeliveryId, EndpointId, Generation, TenantId};
use postrider_model::limits::{
    RECOVERY_RETRIES_MAX, REPLAY_DRY_RUN_BYTES_MAX, REPLAY_DRY_RUN_EVENTS_MAX, REPLAY_DRY_RUN_STEPS_MAX,
};
use postrider_model::ordering::KeyReader;
use postrider_model::payload_filter::Payload;
use postrider_model::replay::ReplaySelection;
use postrider_model::time::UnixMillis;
use postrider_profiles::{Profile, Profiles};
use postrider_store::history::EventRow;
use postrider_store::replay::{Fed, PublishedPage, ReplayCandidate, ReplayInput, ReplayStep};
use postrider_store::{Store, StoreError};
use postrider_wire::messages::DeliveryTask;
use serde_json::value::RawValue;

use self::plan::{Again, Plan, task};
use self::targets::Targets;

/// Maximum number of events that a dry run reads in one step. It reads payloads only if there are payload filters.
const COUNTED_AT_ONCE: u32 = 1_000;

/// Limits of a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DryRunLimits {
    /// Maximum number of events read.
    pub events: u64,
    /// Maximum number of bytes of payloads read for payload filters.
    pub bytes: u64,
    /// Maximum number of steps of payload filters.
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
    /// Number of events with at least one new delivery.
    pub events: u64,
    /// Number of deliveries that would be created.
    pub deliveries: u64,
    /// Number of the `deliveries` whose event was decided while the endpoint was off. Zero for replays that are not recoveries.
    pub missed: u64,
    /// Number of pending deliveries that would be attempted now. Zero for replays that are not recoveries.
    pub hurried: u64,
}

/// Limits of a page.
#[derive(Debug, Clone, Copy)]
pub struct PageLimits {
    /// Maximum number of events read.
    pub events: u32,
    /// Number of deliveries at which a page ends. All deliveries of one event are in one page.
    pub deliveries: u64,
}

/// A page of deliveries, to be rendered and published to their lane.
pub struct Rendition {
    /// The tenant's current profile.
    pub profile: Arc<Profile>,
    /// The events, oldest first.
    pub events: Vec<ReplayedEvent>,
    /// The ordered endpoints among the targets, each with the reader of its keys and the generation of its order.
    pub orderings: Arc<HashMap<EndpointId, (KeyReader, u32)>>,
}

impl Rendition {
    /// The place of a new delivery in a line: the key and the generation of the order. `None` if its endpoint is not ordered.
    /// Each replay has lines of its own.
    pub fn line(&self, task: &DeliveryTask, event: &EventRow) -> Option<(String, u32)> {
        let Generation::Replay(replay) = task.delivery.generation else { return None };
        if task.trigger != Trigger::Replay {
            return None;
        }
        let (reader, generation) = self.orderings.get(&task.delivery.endpoint)?;
        let payload = Payload {
            data: event.data.as_deref().unwrap_or_default(),
            metadata: event.metadata.as_deref().map(RawValue::get),
            attributes: &event.summary.attributes,
        };
        Some((format!("{replay}/{}", reader.key(&payload)), *generation))
    }

    /// Returns the part of the page whose deliveries are `wanted`.
    fn only(&self, wanted: impl Fn(&DeliveryTask) -> bool) -> Self {
        let part = |replayed: &ReplayedEvent| {
            let tasks: Vec<_> = replayed.tasks.iter().filter(|(task, _)| wanted(task)).cloned().collect();
            (!tasks.is_empty()).then(|| ReplayedEvent { event: replayed.event.clone(), tasks })
        };
        Self {
            profile: Arc::clone(&self.profile),
            events: self.events.iter().filter_map(part).collect(),
            orderings: Arc::clone(&self.orderings),
        }
    }

    fn tasks(&self) -> Vec<DeliveryTask> {
        self.events.iter().flat_map(|replayed| &replayed.tasks).map(|(task, _)| task.clone()).collect()
    }
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

/// Feeds one page of a running replay that no other replayer is feeding. Returns `None` if no replay needs feeding.
///
/// First calls `publish` with the new deliveries; `publish` must return when the broker has confirmed all of them. Then commits
/// the delivery rows and the cursor. Then calls `publish` with the pending deliveries that a recovery attempts now; if the
/// process ends before that, the outbox relay publishes them.
///
/// # Errors
/// If the error occurs before the commit, nothing is committed, and the new deliveries are published again later, with the same
/// ids. After the commit, the outbox relay publishes the pending deliveries.
pub async fn feed<E, F>(
    store: &Store,
    profiles: &Profiles,
    limits: PageLimits,
    mut publish: impl FnMut(Rendition) -> F,
) -> Result<Option<Fed>, FeedError<E>>
where
    F: Future<Output = Result<(), E>>,
{
    let mut waiting = None;
    let feed_page = async |input: ReplayInput| {
        let ReplayInput { replay, targets, page, config_version, now } = input;
        let targets = Arc::new(Targets::new(profiles, targets, &replay.selection)?);
        let hurried_max = RECOVERY_RETRIES_MAX.saturating_sub(replay.progress.hurried);
        let plan = Plan { tenant: replay.tenant, selection: &replay.selection, targets: &targets, hurried_max, now };
        let planned = plan.page(page, limits.deliveries).await?;
        let event = |(event, again): (EventRow, Vec<Again>)| {
            let task = |again: Again| (task(&replay, &event, &again, config_version, now), again.body);
            ReplayedEvent { tasks: again.into_iter().map(task).collect(), event }
        };
        let events: Vec<_> = planned.events.into_iter().map(event).collect();
        let page =
            Rendition { profile: Arc::clone(&targets.profile), events, orderings: Arc::new(targets.orderings()) };
        let own = Generation::Replay(replay.id);
        let (new, hurried) =
            (page.only(|task| task.delivery.generation == own), page.only(|task| task.delivery.generation != own));
        let published = PublishedPage {
            tasks: new.tasks(),
            hurried: hurried.tasks(),
            events: page.events.len() as u64,
            walked: planned.walked,
        };
        waiting = Some(hurried);
        if !new.events.is_empty() {
            publish(new).await.map_err(FeedError::Publish)?;
        }
        Ok::<_, FeedError<E>>(published)
    };
    let Some(fed) = store.feed_replay(limits.events, feed_page).await? else { return Ok(None) };
    if let Some(hurried) = waiting.filter(|_| !fed.hurried.is_empty()) {
        let (entries, committed): (Vec<_>, HashSet<DeliveryId>) = fed.hurried.iter().copied().unzip();
        publish(hurried.only(|task| committed.contains(&task.delivery.id))).await.map_err(FeedError::Publish)?;
        store.outbox_done(&entries).await?;
    }
    Ok(Some(fed))
}

/// Counts the deliveries that a replay would create now. Returns `None` if counting would exceed the limits.
///
/// # Errors
/// [`StoreError::NotFound`] if the tenant does not exist; or an error of the database.
pub async fn count(
    store: &Store,
    profiles: &Profiles,
    tenant: TenantId,
    selection: &ReplaySelection,
    limits: DryRunLimits,
) -> Result<Option<Counted>, StoreError> {
    let targets = store.replay_targets(tenant, selection).await?.ok_or(StoreError::NotFound { what: "tenant" })?;
    let targets = Arc::new(Targets::new(profiles, targets, selection)?);
    let now = UnixMillis::now();
    let mut counted = Counted::default();
    let mut looked = DryRunLimits { events: 0, bytes: 0, steps: 0 };
    let mut step = ReplayStep { after: None, events_max: COUNTED_AT_ONCE, payloads: targets.need_payloads() };
    loop {
        let page = store.replay_page(tenant, selection, &step).await?;
        let is_last = page.is_last;
        step.after = page
            .candidates
            .last()
            .map(|ReplayCandidate { event, .. }| (event.summary.accepted_at, event.summary.id.clone()));
        let hurried_max = RECOVERY_RETRIES_MAX.saturating_sub(counted.hurried);
        let plan = Plan { tenant, selection, targets: &targets, hurried_max, now };
        let planned = plan.page(page, u64::MAX).await?;
        counted.events += planned.events.len() as u64;
        counted.deliveries += planned.deliveries - planned.hurried;
        counted.missed += planned.missed;
        counted.hurried += planned.hurried;
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
