//! Recognises repeats of events whose producers name an id or an idempotency key. It does not get other events.
//!
//! An id belongs to the event that claimed it first, across all ingest processes and restarts: a claim is a row in the database.
//! A repeat is a duplicate if its event is safe: this process has the broker's confirm, the claim says that another process has
//! it, or fan-out decided about the event. Otherwise the repeat waits briefly for the process that may be publishing the event.
//! Then it is published again with the first acceptance time, so that its deliveries have the same ids.
//!
//! While the database is away, ingest publishes events without a claim, and the recorder claims their ids. If an id belongs to
//! another event, the recorder dead-letters the new one.

mod claims;

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_model::ids::{EventId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::claims::{Claim, Claimed};
use postrider_telemetry::tasks::Tasks;

use self::claims::{ANSWER_MAX, Claims};
use crate::event::Event;
use crate::event::content::Content;

/// The identity of an event.
pub(crate) type EventKey = (TenantId, EventId);

/// Longest time that a confirmed id stays in memory. The database keeps claims for longer.
const REMEMBERED_FOR: Duration = Duration::from_secs(12 * 3_600);
/// Longest wait of a repeat for another process that may be publishing the event.
const OTHERS_MAX: Duration = Duration::from_millis(1_500);
/// Pause between two checks whether the other process is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The outcome of a publish under a producer's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishOutcome {
    /// It was published.
    Published,
    /// The same event was accepted before.
    Duplicate,
    /// Another event was accepted under this id.
    OtherContent {
        /// When that event was accepted.
        accepted_at: UnixMillis,
        /// The parts that differ, if known.
        differences: Vec<&'static str>,
    },
}

/// How an event is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When it counts as accepted.
    pub(crate) accepted_at: UnixMillis,
    /// Whether the database has a claim of its id for this event.
    pub(crate) claimed: bool,
}

/// The event that an id belongs to.
#[derive(Clone)]
struct KnownEvent {
    content_hash: Arc<str>,
    accepted_at: UnixMillis,
    published_here: bool,
}

/// What to do with an event.
enum NextAction {
    Publish(Stamp),
    Known(KnownEvent),
}

/// Recently confirmed ids, and the claims of all processes.
#[derive(Clone)]
pub(crate) struct Idempotency {
    confirmed: moka::future::Cache<EventKey, KnownEvent>,
    claims: Claims,
    store: Store,
}

impl Idempotency {
    /// Keeps up to `capacity` ids in memory.
    pub(crate) fn new(capacity: u64, store: Store, tasks: &Tasks) -> Self {
        let confirmed = moka::future::Cache::builder().max_capacity(capacity).time_to_live(REMEMBERED_FOR).build();
        Self { confirmed, claims: Claims::new(store.clone(), tasks), store }
    }

    /// Runs `publish` unless the event is already safe. Of two concurrent repeats in this process, one publishes and one waits.
    ///
    /// # Errors
    /// The error of `publish`. The id is then not kept in memory.
    pub(crate) async fn once<E>(
        &self,
        key: EventKey,
        content: &Content,
        now: UnixMillis,
        publish: impl AsyncFnOnce(Stamp) -> Result<(), E>,
    ) -> Result<PublishOutcome, Arc<E>>
    where
        E: Send + Sync + 'static,
    {
        let asked = key.clone();
        let entry = self
            .confirmed
            .entry(key)
            .or_try_insert_with(async {
                let stamp = match self.decide(&asked, content, now).await {
                    NextAction::Known(known) => return Ok(known),
                    NextAction::Publish(stamp) => stamp,
                };
                publish(stamp).await?;
                if stamp.claimed {
                    self.claims.confirm(asked);
                }
                let content_hash = content.hash().into();
                Ok(KnownEvent { content_hash, accepted_at: stamp.accepted_at, published_here: true })
            })
            .await?;
        let fresh = entry.is_fresh();
        let known = entry.into_value();
        if !content.is(&known.content_hash) {
            let differences = content.differences(&known.content_hash);
            return Ok(PublishOutcome::OtherContent { accepted_at: known.accepted_at, differences });
        }
        Ok(if fresh && known.published_here { PublishOutcome::Published } else { PublishOutcome::Duplicate })
    }

    async fn decide(&self, key: &EventKey, content: &Content, now: UnixMillis) -> NextAction {
        if let Some(made) = self.find_made(key).await {
            return NextAction::Known(made);
        }
        let claim =
            Claim { tenant: key.0, id: key.1.clone(), content_hash: content.hash().to_owned(), accepted_at: now };
        let began = Instant::now();
        loop {
            let claimed = self.claims.claim(claim.clone(), began.elapsed() >= OTHERS_MAX).await;
            match claimed {
                None => return NextAction::Publish(Stamp { accepted_at: now, claimed: false }),
                Some(Claimed::Ours(accepted_at)) => return NextAction::Publish(Stamp { accepted_at, claimed: true }),
                Some(Claimed::Taken { content_hash, accepted_at, safe }) => {
                    if safe || !content.is(&content_hash) {
                        let content_hash = content_hash.into();
                        return NextAction::Known(KnownEvent { content_hash, accepted_at, published_here: false });
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The event for which ingest made this id, if any.
    async fn find_made(&self, (tenant, id): &EventKey) -> Option<KnownEvent> {
        let day = id.generated_at()?.day();
        let made = tokio::time::timeout(ANSWER_MAX, self.store.claims().event_with_generated_id(*tenant, id, day))
            .await
            .ok()?;
        let row = made
            .inspect_err(
                |error| tracing::debug!(%error, "cannot look up an event by its generated id; claiming the id instead"),
            )
            .ok()??;
        // Expunged content has no hash, so it equals no other content.
        let content_hash = Event::of_log(&row).map(|event| Content::of(&event).hash().to_owned());
        let content_hash = content_hash.unwrap_or_default().into();
        Some(KnownEvent { content_hash, accepted_at: row.summary.accepted_at, published_here: false })
    }
}
