//! Repeats of events whose producers name an id or an idempotency key. Events without either never come here.
//!
//! An id belongs to the event that claimed it first, over all ingest processes and their restarts: the claim is a row in the
//! database. A repeat is a duplicate when its event is known to be safe: this process had the broker's confirm, or the claim says that
//! another one had it, or fan-out decided about the event. Otherwise it waits for a moment for whoever is publishing it, and then is
//! published again, as accepted when it was first: its deliveries have the same ids.
//!
//! While the database is away nothing is claimed: the event is published as it is, and the recorder claims its id and puts it aside
//! should the id belong to another one.

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

/// An event as producers and consumers know it.
pub(crate) type EventKey = (TenantId, EventId);

/// How long a confirmed id is remembered here at most: less than claims are kept.
const REMEMBERED_FOR: Duration = Duration::from_secs(12 * 3_600);
/// How long a repeat waits for another process that may be publishing the event.
const OTHERS_MAX: Duration = Duration::from_millis(1_500);
/// Between two looks whether that one is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a publish under a producer's id came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishOutcome {
    /// It was published.
    Published,
    /// The same event was accepted before.
    Duplicate,
    /// Another event was accepted under this id.
    OtherContent {
        /// When.
        accepted_at: UnixMillis,
        /// Where it differs, as far as that is known.
        differences: Vec<&'static str>,
    },
}

/// How an event is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When it counts as accepted.
    pub(crate) accepted_at: UnixMillis,
    /// Whether its id is claimed for it.
    pub(crate) claimed: bool,
}

/// An event that is safe, or that has its id.
#[derive(Clone)]
struct KnownEvent {
    content_hash: Arc<str>,
    accepted_at: UnixMillis,
    published_here: bool,
}

/// What is to be done about an event, as far as the database knows.
enum Decision {
    Publish(Stamp),
    Known(KnownEvent),
}

/// The ids that were confirmed lately, and the claims of all.
#[derive(Clone)]
pub(crate) struct Idempotency {
    confirmed: moka::future::Cache<EventKey, KnownEvent>,
    claims: Claims,
    store: Store,
}

impl Idempotency {
    /// Remembers up to `capacity` ids.
    pub(crate) fn new(capacity: u64, store: Store, tasks: &Tasks) -> Self {
        let confirmed = moka::future::Cache::builder().max_capacity(capacity).time_to_live(REMEMBERED_FOR).build();
        Self { confirmed, claims: Claims::new(store.clone(), tasks), store }
    }

    /// Runs `publish` unless the event is known to be safe already. Of two repeats at the same moment in this process one does and the
    /// other waits for it.
    ///
    /// # Errors
    /// What `publish` fails with; then nothing is remembered here.
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
                    Decision::Known(known) => return Ok(known),
                    Decision::Publish(stamp) => stamp,
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

    async fn decide(&self, key: &EventKey, content: &Content, now: UnixMillis) -> Decision {
        if let Some(made) = self.made(key).await {
            return Decision::Known(made);
        }
        let claim =
            Claim { tenant: key.0, id: key.1.clone(), content_hash: content.hash().to_owned(), accepted_at: now };
        let began = Instant::now();
        loop {
            let claimed = self.claims.claim(claim.clone(), began.elapsed() >= OTHERS_MAX).await;
            match claimed {
                None => return Decision::Publish(Stamp { accepted_at: now, claimed: false }),
                Some(Claimed::Ours(accepted_at)) => return Decision::Publish(Stamp { accepted_at, claimed: true }),
                Some(Claimed::Taken { content_hash, accepted_at, safe }) => {
                    if safe || !content.is(&content_hash) {
                        let content_hash = content_hash.into();
                        return Decision::Known(KnownEvent { content_hash, accepted_at, published_here: false });
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The event that has this id because it was made here: its producer named none.
    async fn made(&self, (tenant, id): &EventKey) -> Option<KnownEvent> {
        let day = id.generated_at()?.day();
        let made = tokio::time::timeout(ANSWER_MAX, self.store.claims().event_with_generated_id(*tenant, id, day))
            .await
            .ok()?;
        let row = made.inspect_err(|error| tracing::debug!(%error, "look-up of a made id skipped")).ok()??;
        // What was expunged can be compared with nothing: no content is the same.
        let content_hash = Event::of_log(&row).map(|event| Content::of(&event).hash().to_owned());
        let content_hash = content_hash.unwrap_or_default().into();
        Some(KnownEvent { content_hash, accepted_at: row.summary.accepted_at, published_here: false })
    }
}
