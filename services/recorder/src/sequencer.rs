//! The sequencer: lets the deliveries of ordered endpoints be attempted one after the other.
//!
//! One recorder at a time consumes the sequencer's queue. It stores deliveries at the ends of their lines, applies the reports
//! of dispatchers, and publishes the runs that follow ([`postrider_store::lines`]). A message is acked when its changes are
//! committed and the runs are confirmed. Waiting deliveries are rows; they cost the broker nothing.
//!
//! # What it does not do
//! It does not decide whether a delivery failed for good, or whether its line is then held. The dispatcher does.

mod ended;
mod limit;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use postrider_backoff::Backoff;
use postrider_broker::{
    BatchOptions, BatchPublisher, Broker, BundleOutcome, ConsumeOptions, Poison, PublishError, Queue, Route,
};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, Lane};
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::lines::{LineChanges, ReleasedRun};
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryTask, Enqueued, Line, OutcomeReport, Sequenced};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::ended::RecentlyEnded;
pub(crate) use self::limit::Room;
use crate::metrics;

/// Limits for the members that are applied together. A larger batch costs the database less per member.
const CONSUME: ConsumeOptions =
    ConsumeOptions { prefetch: 128, members_max: 2_000, bytes_max: 8 * 1024 * 1024, yields_to: None };
/// Interval at which lines are released that no message releases.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// Maximum time of the last sweep, after the stop.
const LAST_SWEEP_MAX: Duration = Duration::from_secs(2);
/// Interval at which the deliveries in lines are counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// First and longest pause before changes are applied again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Sequences until `stop`, then finishes the messages in progress.
pub(crate) async fn run(broker: Broker, store: Store, room: SharedRoom, stop: CancellationToken) {
    let sequencer = Sequencer::new(&broker, store, room, stop.clone());
    let consuming = broker.consume_in_order(Queue::Ordered, CONSUME, |members| sequencer.handle(members), stop.clone());
    let sweeping = stop.run_until_cancelled(sequencer.sweep_regularly());
    let counting = stop.run_until_cancelled(sequencer.count_regularly());
    tokio::join!(consuming, sweeping, counting);
    // Marks the last runs as published, so that no other process publishes them again.
    let last = tokio::time::timeout(LAST_SWEEP_MAX, sequencer.sweep()).await;
    if !matches!(last, Ok(Ok(()))) {
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

    /// Applies members in their order.
    async fn handle(&self, members: Vec<Member>) -> BundleOutcome {
        let (mut changes, mut discarded, mut poisoned) = (LineChanges::default(), Vec::new(), Vec::new());
        for (index, member) in members.into_iter().enumerate() {
            match member.head::<Sequenced>() {
                Ok(Sequenced::Enqueued(new)) => self.admit(new, member.payload, &mut changes, &mut discarded),
                Ok(Sequenced::Report(report)) => changes.reports.push(report),
                Err(error) => poisoned.push((index, Poison::new(error.to_string()))),
            }
        }
        match self.apply(changes, discarded).await {
            Ok(()) => BundleOutcome::Settled { poisoned },
            Err(error) => BundleOutcome::Requeue(error.to_string()),
        }
    }

    /// Adds a delivery to the changes, unless it ended before or its tenant has no room in its lines.
    fn admit(&self, new: Enqueued, body: Bytes, changes: &mut LineChanges, discarded: &mut Vec<DeliveryTask>) {
        let delivery = &new.task.delivery;
        // Fan-out repeats deliveries after a crash. A repeat of an ended delivery would come after later ones.
        if self.ended.lock().contains(delivery.id) {
            return;
        }
        if self.room.lock().take(delivery.tenant, body.len()) {
            changes.enqueued.push((new, body));
        } else {
            discarded.push(*new.task);
        }
    }

    async fn apply(&self, changes: LineChanges, discarded: Vec<DeliveryTask>) -> Result<(), NotApplied> {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let released = loop {
            match self.store.lines().advance(self.owner, &changes).await {
                Ok(released) => break released,
                Err(error) => {
                    let pause = backoff.next_delay();
                    tracing::warn!(%error, retry_in_ms = pause.as_millis(), "cannot apply changes to lines; retrying");
                    if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return Err(NotApplied::Stopped);
                    }
                }
            }
        };
        {
            let (mut ended, mut runs) = (self.ended.lock(), self.runs.lock());
            for report in &changes.reports {
                ended.extend(report.ended.iter().copied());
                // Its end marks the run as published.
                runs.confirmed.remove(&report.run);
            }
        }
        metrics::sequenced(changes.enqueued.len(), discarded.len());
        tokio::try_join!(self.publish(released), self.discard(discarded))?;
        Ok(())
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

    /// Reports deliveries for which the tenant has no room.
    async fn discard(&self, discarded: Vec<DeliveryTask>) -> Result<(), NotApplied> {
        let report = |task: DeliveryTask| {
            let report = OutcomeReport {
                set_aside: None,
                delivery: task.delivery,
                epoch: task.epoch,
                attempt: None,
                status: DeliveryStatus::Discarded,
                at: UnixMillis::now(),
                next_attempt_at: None,
                discard_reason: Some(DiscardReason::LinesFull),
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
        let mut tick = tokio::time::interval(SWEEP_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = self.sweep().await {
                tracing::debug!(%error, "cannot publish the runs of a sweep; retrying later");
            }
        }
    }

    async fn sweep(&self) -> Result<(), NotApplied> {
        let (confirmed, publishing): (Vec<(Line, i64)>, Vec<i64>) = {
            let runs = self.runs.lock();
            let confirmed = runs.confirmed.iter().map(|(run, line)| (line.clone(), *run)).collect();
            // A run that was just confirmed is not published again either.
            (confirmed, runs.publishing.keys().chain(runs.confirmed.keys()).copied().collect())
        };
        match self.store.lines().sweep(self.owner, &confirmed, &publishing).await {
            Ok(released) => {
                {
                    let mut runs = self.runs.lock();
                    for (_, run) in &confirmed {
                        runs.confirmed.remove(run);
                    }
                }
                self.publish(released.unwrap_or_default()).await
            }
            Err(error) => {
                tracing::debug!(%error, "cannot sweep lines; retrying later");
                Ok(())
            }
        }
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
