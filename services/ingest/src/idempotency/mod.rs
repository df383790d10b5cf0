//! Recognizes repeats of events whose producers send an id or an idempotency key. Other events do not reach this module.
//!
//! An id belongs to the event that claimed it first, across all ingest processes and restarts. A claim is a row in the
//! database. A repeat is a duplicate if the first event is safe: this process has the broker's confirm, another process has
//! marked the claim as confirmed, or fan-out has decided about the event. Otherwise the repeat waits briefly for the process
//! that may be publishing the event. After that, the event is published again with the first acceptance time, so that its
//! deliveries have the same ids.
//!
//! While the database is unavailable, ingest publishes events without a claim, and the recorder claims their ids. If an id
//! already belongs to another event, the recorder turns the new event into a dead letter.

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

/// Maximum time that a confirmed id remains in memory. The database stores claims for longer.
const REMEMBERED_FOR: Duration = Duration::from_secs(12 * 3_600);
/// Maximum time that a repeat waits for another process that may be publishing the event.
const OTHERS_MAX: Duration = Duration::from_millis(1_500);
/// Pause between two checks whether the other process has finished.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The outcome of publishing an event with an id that its producer chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishOutcome {
    /// The event was published.
    Published,
    /// The same event was accepted earlier, so it was not published again.
    Duplicate,
    /// Another event with this id was accepted earlier.
    OtherContent {
        /// The time at which the other event was accepted.
        accepted_at: UnixMillis,
        /// The parts in which the two events differ, if known.
        differences: Vec<&'static str>,
    },
}

/// Data with which an event is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The time at which the event counts as accepted.
    pub(crate) accepted_at: UnixMillis,
    /// Whether the database contains a claim of the id for this event.
    pub(crate) claimed: bool,
}

/// The event to which an id belongs.
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

/// Recently confirmed ids, and access to the claims of all processes.
#[derive(Clone)]
pub(crate) struct Idempotency {
    confirmed: moka::future::Cache<EventKey, KnownEvent>,
    claims: Claims,
    store: Store,
}

impl Idempotency {
    /// Creates the memory of confirmed ids, with at most `capacity` ids.
    pub(crate) fn new(capacity: u64, store: Store, tasks: &Tasks) -> Self {
        let confirmed = moka::future::Cache::builder().max_capacity(capacity).time_to_live(REMEMBERED_FOR).build();
        Self { confirmed, claims: Claims::new(store.clone(), tasks), store }
    }

    /// Runs `publish` unless the event is already safe. Of two concurrent repeats in this process, one publishes the event and
    /// the other waits.
    ///
    /// # Errors
    /// The error of `publish`. In this case, the id is not stored in memory.
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

    /// Returns the event for which ingest generated this id, if any.
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
        // Expunged content has no hash. The empty text differs from every hash.
        let content_hash = Event::of_log(&row).map(|event| Content::of(&event).hash().to_owned());
        let content_hash = content_hash.unwrap_or_default().into();
        Some(KnownEvent { content_hash, accepted_at: row.summary.accepted_at, published_here: false })
    }
}
