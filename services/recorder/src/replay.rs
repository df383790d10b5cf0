//! The replayer: creates the deliveries of replays page by page, and publishes them to the bulk lane. Deliveries of ordered
//! endpoints go to the sequencer, in the order of their events.
//!
//! It publishes only while the bulk lane is short, so that a replay delays neither live deliveries nor the bursts of other
//! tenants. Each recorder has a replayer. A row lock in the database prevents two replayers from processing the same replay at
//! the same time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{BatchOptions, BatchPublisher, Broker, BrokerError, PublishError, Queue, Route};
use postrider_ledger::body;
use postrider_ledger::replay::{self, FeedError, PageLimits, Rendition};
use postrider_model::delivery::{BodyKind, Lane};
use postrider_model::ids::TenantId;
use postrider_profiles::Profiles;
use postrider_store::Store;
use postrider_store::replay::Fed;
use postrider_wire::bundle::Member;
use postrider_wire::messages::{Enqueued, Sequenced};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::{Config, ReplayConfig};
use crate::metrics;
use crate::sequencer::SharedRoom;

/// Pause after a failure.
pub(crate) const COME_BACK: Duration = Duration::from_secs(2);

/// Processes replays until `stop`, then finishes the page in progress.
pub(crate) async fn run(
    broker: Broker,
    store: Store,
    profiles: Arc<Profiles>,
    room: SharedRoom,
    config: Config,
    stop: CancellationToken,
) {
    let bulk = BulkLane::new(broker, room, &config.replay);
    let replayer = Replayer { bulk, store, profiles, config: config.replay };
    loop {
        let wait = replayer.step().instrument(tracing::info_span!("replay")).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The reason why a page was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPublished {
    #[error(transparent)]
    Broker(#[from] PublishError),
    #[error("the broker confirmed nothing within {0:?}")]
    Late(Duration),
    #[error("the lines of the tenant's ordered endpoints are half full")]
    LinesFull,
    #[error("cannot serialise the head of a delivery: {0}")]
    Head(#[from] serde_json::Error),
}

struct Replayer {
    bulk: BulkLane,
    store: Store,
    profiles: Arc<Profiles>,
    config: ReplayConfig,
}

/// Publishes pages to the bulk lane while the lane is short, and the deliveries of ordered endpoints to the sequencer.
pub(crate) struct BulkLane {
    broker: Broker,
    publisher: BatchPublisher,
    /// Keeps the order of the deliveries of ordered endpoints.
    sequencer: BatchPublisher,
    room: SharedRoom,
    waiting_max: u32,
    confirm_timeout: Duration,
}

impl BulkLane {
    pub(crate) fn new(broker: Broker, room: SharedRoom, config: &ReplayConfig) -> Self {
        let publisher = broker.batch_publisher(Route::Lane(Lane::Bulk), BatchOptions::default());
        let in_order = BatchOptions { bundles_max: 1, ..BatchOptions::default() };
        let sequencer = broker.batch_publisher(Route::Ordered, in_order);
        let ReplayConfig { waiting_max, confirm_timeout, .. } = *config;
        Self { broker, publisher, sequencer, room, waiting_max, confirm_timeout }
    }

    /// Whether the lane is short enough for a page.
    pub(crate) async fn has_room(&self) -> Result<bool, BrokerError> {
        let depth = self.broker.queue_depth(Queue::Lane(Lane::Bulk).name()).await?;
        Ok(depth.messages < self.waiting_max)
    }

    /// Renders a page and publishes it. Returns after the broker has confirmed all of its deliveries.
    pub(crate) async fn publish(&self, page: Rendition) -> Result<(), NotPublished> {
        let Members { unordered, ordered, tenant } = members(&page)?;
        if !ordered.is_empty() && tenant.is_some_and(|tenant| self.room.lock().is_half_full(tenant)) {
            return Err(NotPublished::LinesFull);
        }
        let limit = self.confirm_timeout;
        let publishing = async { tokio::try_join!(self.publisher.publish(unordered), self.sequencer.publish(ordered)) };
        let confirmed = tokio::time::timeout(limit, publishing).await.map(|confirmed| confirmed.map(|_| ()));
        confirmed.map_err(|_| NotPublished::Late(limit))?.map_err(NotPublished::Broker)
    }
}

impl Replayer {
    /// Publishes a page, if a replay is running and the bulk lane has room. Returns the pause until the next step.
    async fn step(&self) -> Duration {
        match self.bulk.has_room().await {
            Ok(true) => {}
            Ok(false) => return self.config.page_every,
            Err(error) => {
                tracing::debug!(%error, "cannot read the depth of the bulk lane; retrying later");
                return COME_BACK;
            }
        }
        let limits = PageLimits { events: self.config.page_events, deliveries: self.config.page_deliveries };
        match replay::feed(&self.store, &self.profiles, limits, |page| self.bulk.publish(page)).await {
            Ok(Some(fed)) => {
                report(fed);
                self.config.page_every
            }
            Ok(None) => self.config.look_every,
            Err(FeedError::Store(error)) => {
                tracing::warn!(%error, "cannot read or commit a page of a replay; retrying later");
                COME_BACK
            }
            Err(FeedError::Publish(error)) => {
                tracing::warn!(%error, "cannot publish a page of a replay; retrying later");
                COME_BACK
            }
        }
    }
}

/// The messages of a page.
#[derive(Default)]
struct Members {
    /// For the bulk lane.
    unordered: Vec<Member>,
    /// For the sequencer, in order.
    ordered: Vec<Member>,
    tenant: Option<TenantId>,
}

/// Returns the messages of a page. Renders each event once for each body format of its endpoints.
fn members(page: &Rendition) -> Result<Members, serde_json::Error> {
    let mut members = Members::default();
    for replayed in &page.events {
        // The store returns only events with a payload, so no event is skipped here.
        let Some(view) = body::view(&replayed.event) else { continue };
        let mut bodies: Vec<(BodyKind, Bytes)> = Vec::with_capacity(1);
        for (task, kind) in &replayed.tasks {
            let body = match bodies.iter().find(|(rendered, _)| rendered == kind) {
                Some((_, body)) => body.clone(),
                None => {
                    let body = Bytes::from(page.profile.render(&view, *kind));
                    bodies.push((*kind, body.clone()));
                    body
                }
            };
            match page.line(task, &replayed.event) {
                None => members.unordered.push(Member::new(task, body)?),
                Some((key, generation)) => {
                    let task = Box::new(task.clone());
                    members.tenant = Some(task.delivery.tenant);
                    let enqueued = Sequenced::Enqueued(Enqueued { key, generation, task });
                    members.ordered.push(Member::new(&enqueued, body)?);
                }
            }
        }
    }
    Ok(members)
}

fn report(fed: Fed) {
    metrics::replayed(fed.deliveries);
    if fed.finished {
        tracing::info!(replay.id = %fed.replay, "created all deliveries of a replay");
    }
}
