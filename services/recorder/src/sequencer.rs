//! The sequencer: lets the deliveries of ordered endpoints be attempted one after the other.
//!
//! One recorder at a time consumes the sequencer's queue. It stores deliveries at the ends of their lines, applies the reports
//! of dispatchers, and publishes the runs that follow ([`postrider_store::lines`]). A message is acked when its changes are
//! committed and the runs are confirmed. Waiting deliveries are rows; they cost the broker nothing.
//!
//! A message that the database refuses becomes a dead letter; the messages before and after it are applied. Of a refused delivery,
//! the row stays pending, so that the reconciler sends it later, outside the order.
//!
//! Every minute it looks for lines that stand still because a message was lost, and for deliveries that expired in held lines
//! ([`tend`]).
//!
//! # What it does not do
//! It does not decide whether a delivery failed for good, or whether its line is then held. The dispatcher does.

mod apply;
mod ended;
mod limit;
mod tend;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use postrider_broker::{BatchOptions, BatchPublisher, Broker, ConsumeOptions, PublishError, Queue, Route};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, Lane};
use postrider_model::time::UnixMillis;
use postrider_store::lines::ReleasedRun;
use postrider_store::{Store, StoreError};
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryTask, Line, OutcomeReport};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::ended::RecentlyEnded;
pub(crate) use self::limit::Room;
use crate::config::ReconcileConfig;
use crate::metrics;

/// Limits for the members that are applied together. A larger batch costs the database less per member.
const CONSUME: ConsumeOptions =
    ConsumeOptions { prefetch: 128, members_max: 2_000, bytes_max: 8 * 1024 * 1024, yields_to: None };
/// Interval at which lines are released that no message releases.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// Sweeps take at most 1/`SWEEP_SHARE` of the time, because lines are locked meanwhile.
const SWEEP_SHARE: u32 = 5;
/// Maximum pause between sweeps. It is much shorter than the lease of 10 s, which a sweep renews.
const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(3);
/// Maximum time of the last sweep, after the stop.
const LAST_SWEEP_MAX: Duration = Duration::from_secs(2);
/// Interval at which the deliveries in lines are counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Sequences until `stop`, then finishes the messages in progress.
pub(crate) async fn run(
    broker: Broker,
    store: Store,
    room: SharedRoom,
    config: ReconcileConfig,
    stop: CancellationToken,
) {
    let sequencer = Sequencer::new(&broker, store, room, stop.clone());
    let consuming = broker.consume_in_order(Queue::Ordered, CONSUME, |members| sequencer.handle(members), stop.clone());
    let sweeping = stop.run_until_cancelled(sequencer.sweep_regularly());
    let counting = stop.run_until_cancelled(sequencer.count_regularly());
    let tending = stop.run_until_cancelled(sequencer.tend_regularly(&config));
    tokio::join!(consuming, sweeping, counting, tending);
    // Marks the last runs as published, so that no other process publishes them again.
    let last = tokio::time::timeout(LAST_SWEEP_MAX, sequencer.sweep()).await;
    if !matches!(last, Ok(Ok(_))) {
        tracing::warn!("cannot mark the last runs as published; another recorder publishes them again");
    }
}

/// The room of each tenant in its lines, shared with the replayer.
pub(crate) type SharedRoom = Arc<Mutex<Room>>;

/// Why changes were not applied.
#[derive(Debug, thiserror::Error)]
enum NotApplied {
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("cannot serialise a message: {0}")]
    Head(#[from] serde_json::Error),
    #[error("stopped")]
    Stopped,
    #[error("refused by the database: {0}")]
    Refused(StoreError),
}

struct Sequencer {
    store: Store,
    /// Identifies this process.
    owner: Uuid,
    lanes: [BatchPublisher; 3],
    outcomes: BatchPublisher,
    runs: Mutex<Runs>,
    ended: Mutex<RecentlyEnded>,
    room: SharedRoom,
    stop: CancellationToken,
}

/// The runs that this process published and that are not marked as published in the database.
#[derive(Default)]
struct Runs {
    /// Runs that the broker has not confirmed.
    publishing: HashMap<i64, Line>,
    /// Runs that the broker has confirmed.
    confirmed: HashMap<i64, Line>,
}

impl Sequencer {
    fn new(broker: &Broker, store: Store, room: SharedRoom, stop: CancellationToken) -> Self {
        let publisher = |route| broker.batch_publisher(route, BatchOptions::default());
        Self {
            store,
            owner: Uuid::new_v4(),
            lanes: Lane::ALL.map(|lane| publisher(Route::Lane(lane))),
            outcomes: publisher(Route::Outcomes),
            runs: Mutex::default(),
            ended: Mutex::default(),
            room,
            stop,
        }
    }

    /// Publishes runs. Returns after the broker has confirmed them.
    async fn publish(&self, released: Vec<ReleasedRun>) -> Result<(), NotApplied> {
        if released.is_empty() {
            return Ok(());
        }
        metrics::released(released.iter().map(|run| run.deliveries.len()).sum(), released.len());
        let mut of_lanes: [Vec<Member>; 3] = Default::default();
        let lines: Vec<(i64, Line)> = released.iter().map(|run| (run.run, run.line.clone())).collect();
        for run in released {
            let lane = match run.deliveries.first().map(|(task, _)| task.lane) {
                Some(Lane::Bulk) => 2,
                Some(Lane::Slow) => 1,
                Some(Lane::Live) | None => 0,
            };
            let (head, payload) = run.into_message();
            of_lanes[lane].push(Member::new(&head, payload)?);
        }
        self.runs.lock().publishing.extend(lines.iter().cloned());
        let [live, slow, bulk] = of_lanes;
        let [to_live, to_slow, to_bulk] = &self.lanes;
        let confirmed = tokio::try_join!(to_live.publish(live), to_slow.publish(slow), to_bulk.publish(bulk));
        let mut runs = self.runs.lock();
        for (run, line) in lines {
            runs.publishing.remove(&run);
            if confirmed.is_ok() {
                runs.confirmed.insert(run, line);
            }
        }
        confirmed?;
        Ok(())
    }

    /// Reports deliveries that end without an attempt.
    async fn discard(&self, discarded: Vec<DeliveryTask>, reason: DiscardReason) -> Result<(), NotApplied> {
        let report = |task: DeliveryTask| {
            let report = OutcomeReport {
                set_aside: None,
                delivery: task.delivery,
                epoch: task.epoch,
                attempt: None,
                status: DeliveryStatus::Discarded,
                at: UnixMillis::now(),
                next_attempt_at: None,
                discard_reason: Some(reason),
                disable_endpoint: false,
                expires_at: task.expires_at,
                traceparent: task.traceparent,
            };
            Member::new(&report, Bytes::new())
        };
        let reports = discarded.into_iter().map(report).collect::<Result<Vec<_>, _>>()?;
        Ok(self.outcomes.publish(reports).await?)
    }

    async fn sweep_regularly(&self) {
        loop {
            let took = self.sweep().await.unwrap_or_else(|error| {
                tracing::debug!(%error, "cannot publish the runs of a sweep; retrying later");
                Duration::ZERO
            });
            tokio::time::sleep((took * (SWEEP_SHARE - 1)).clamp(SWEEP_EVERY, SWEEP_PAUSE_MAX)).await;
        }
    }

    /// Returns the time that the database took.
    async fn sweep(&self) -> Result<Duration, NotApplied> {
        let (confirmed, publishing): (Vec<(Line, i64)>, Vec<i64>) = {
            let runs = self.runs.lock();
            let confirmed = runs.confirmed.iter().map(|(run, line)| (line.clone(), *run)).collect();
            // A run that was just confirmed is not published again either.
            (confirmed, runs.publishing.keys().chain(runs.confirmed.keys()).copied().collect())
        };
        let began = Instant::now();
        let swept = self.store.lines().sweep(self.owner, &confirmed, &publishing).await;
        let took = began.elapsed();
        match swept {
            Ok(released) => {
                {
                    let mut runs = self.runs.lock();
                    for (_, run) in &confirmed {
                        runs.confirmed.remove(run);
                    }
                }
                self.publish(released.unwrap_or_default()).await?;
            }
            Err(error) => tracing::debug!(%error, "cannot sweep lines; retrying later"),
        }
        Ok(took)
    }

    async fn count_regularly(&self) {
        let mut tick = tokio::time::interval(COUNT_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match self.store.lines().in_lines().await {
                Ok(counted) => {
                    metrics::in_lines(counted.iter().map(|tenant| tenant.deliveries).sum());
                    self.room.lock().counted(&counted);
                }
                Err(error) => tracing::debug!(%error, "cannot count the deliveries in lines; retrying later"),
            }
        }
    }
}
