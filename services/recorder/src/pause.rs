//! Tends endpoints that are or were paused: releases what was set aside for them to the bulk lane, page by page, or discards it.
//!
//! It releases only while the bulk lane is short, and no faster than the rate of the endpoint, so that a resume delays neither
//! live deliveries nor replays. Each recorder has this task. A row lock in the database prevents two of them from tending the same
//! endpoint at the same time.

use std::sync::Arc;
use std::time::Duration;

use postrider_broker::Broker;
use postrider_ledger::pause;
use postrider_ledger::replay::FeedError;
use postrider_profiles::Profiles;
use postrider_store::Store;
use postrider_store::pauses::{TendLimits, Tended};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::Config;
use crate::metrics;
use crate::replay::{BulkLane, COME_BACK};
use crate::sequencer::SharedRoom;

/// Maximum number of deliveries that are discarded in one transaction.
const DISCARDS: u32 = 1_000;

/// Tends endpoints until `stop`, then finishes the page in progress.
pub(crate) async fn run(
    broker: Broker,
    store: Store,
    profiles: Arc<Profiles>,
    room: SharedRoom,
    config: Config,
    stop: CancellationToken,
) {
    let bulk = BulkLane::new(broker, room, &config.replay);
    let tender = Tender { bulk, store, profiles, config };
    loop {
        let wait = tender.step().instrument(tracing::info_span!("pause")).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

struct Tender {
    bulk: BulkLane,
    store: Store,
    profiles: Arc<Profiles>,
    config: Config,
}

impl Tender {
    /// Tends one endpoint, if one needs it. Returns the pause until the next step.
    async fn step(&self) -> Duration {
        let replay = &self.config.replay;
        let has_room = self.bulk.has_room().await.unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot read the depth of the bulk lane; releasing nothing");
            false
        });
        let limits = TendLimits {
            releases: if has_room { u32::try_from(replay.page_deliveries).unwrap_or(u32::MAX) } else { 0 },
            discards: DISCARDS,
            retention_days: self.config.retention_days,
            pause: replay.page_every,
        };
        match pause::tend(&self.store, &self.profiles, limits, |page| self.bulk.publish(page)).await {
            Ok(Some(tended)) => {
                report(tended);
                // Another endpoint may need tending. The pause keeps the load on the database low.
                if tended.released + tended.discarded > 0 { replay.page_every } else { Duration::from_millis(10) }
            }
            Ok(None) => replay.look_every,
            Err(FeedError::Store(error)) => {
                tracing::warn!(%error, "cannot release or discard what was set aside for an endpoint; retrying later");
                COME_BACK
            }
            Err(FeedError::Publish(error)) => {
                tracing::warn!(%error, "cannot publish what was set aside for an endpoint; retrying later");
                COME_BACK
            }
        }
    }
}

fn report(Tended { endpoint, released, discarded }: Tended) {
    metrics::set_aside(released, discarded);
    if released + discarded > 0 {
        tracing::debug!(endpoint.id = %endpoint, released, discarded, "released or discarded what was set aside");
    }
}
