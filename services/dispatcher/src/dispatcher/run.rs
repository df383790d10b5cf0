//! Handles the deliveries of ordered endpoints: attempts the deliveries of a run one after the other, and reports to the
//! sequencer.
//!
//! The run ends at the first delivery that must wait, for a retry or a slot: this delivery waits alone, and the sequencer
//! releases the rest of the run again after it. A run that takes long ends early in the same way, so that it does not occupy its
//! dispatcher for many minutes. Reports to the sequencer leave at once; the outcomes for the history gather as usual, and the
//! message of the run is settled when they are confirmed.
//!
//! The copy of a delivery that waits is published after the report of its run is confirmed. Otherwise another dispatcher could
//! attempt the copy and report its end first; the sequencer would then release deliveries of the run that have ended.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_broker::{Destination, PublishError, Unsettled};
use postrider_model::delivery::Lane;
use postrider_model::ids::DeliveryId;
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryTask, Line, RunReport, Sequenced, Turn};
use tokio::task::JoinHandle;

use super::Dispatcher;
use super::lane::{End, Progress};
use crate::attempt::body::Body;
use crate::encode::encode;

/// Maximum time to read which deliveries of a redelivered run have ended.
const READ_MAX: Duration = Duration::from_secs(2);

/// Time after which a run starts no further attempt.
const RUN_MAX: Duration = Duration::from_secs(60);

/// Outcomes that are being published.
#[derive(Default)]
struct Confirms(Vec<JoinHandle<Result<(), PublishError>>>);

/// The copy of a delivery that waits, and where it waits.
type Waiting = Option<(Destination, Member)>;

impl Confirms {
    async fn all(self) -> Result<(), Unsettled> {
        for confirm in self.0 {
            confirm.await.map_err(|error| Unsettled::Requeue(error.to_string()))??;
        }
        Ok(())
    }
}

impl Dispatcher {
    /// Attempts the deliveries of a run in order. `redelivered`: another dispatcher may have attempted some of them.
    pub(super) async fn deliver_run(
        &self,
        lane: Lane,
        deliveries: Vec<(DeliveryTask, Bytes)>,
        redelivered: bool,
    ) -> Result<(), Unsettled> {
        let Some(mut report) = deliveries.first().and_then(|(task, _)| empty_report(task)) else { return Ok(()) };
        let ended = if redelivered { self.ended_among(&deliveries).await } else { HashSet::new() };
        let (mut confirms, mut waits, began) = (Confirms::default(), None, Instant::now());
        for (task, body) in deliveries {
            let id = task.delivery.id;
            if ended.contains(&id) {
                report.ended.push(id);
                continue;
            }
            if self.stop.is_cancelled() || began.elapsed() >= RUN_MAX {
                break;
            }
            let progress = match self.process(lane, Box::new(task), Body::Whole(body)).await {
                Ok(progress) => progress,
                // The rest of the run was not attempted. If nothing was, the run returns to its lane.
                Err(_) if !report.ended.is_empty() => break,
                Err(unsettled) => return Err(unsettled),
            };
            waits = self.add(&mut report, &mut confirms, id, progress);
            if !report.ended.ends_with(&[id]) {
                break;
            }
        }
        if report.ended.is_empty() && report.waits.is_none() && report.holds.is_none() {
            return Err(Unsettled::Requeue("stopped before the attempt".into()));
        }
        self.settle_run(report, confirms, waits).await
    }

    /// Attempts a delivery with a turn that is not in a run: the delivery at which its run ended.
    pub(super) async fn deliver_last_of_run(
        &self,
        lane: Lane,
        task: Box<DeliveryTask>,
        body: Body,
    ) -> Result<(), Unsettled> {
        let Some(mut report) = empty_report(&task) else { return Ok(()) };
        let id = task.delivery.id;
        let progress = self.process(lane, task, body).await?;
        let mut confirms = Confirms::default();
        let waits = self.add(&mut report, &mut confirms, id, progress);
        if report.waits.is_none() {
            return self.settle_run(report, confirms, waits).await;
        }
        // The line waits for this delivery already.
        if let Some((to, copy)) = waits {
            self.delays.publish(to, copy).await?;
        }
        confirms.all().await
    }

    /// Adds the progress of a delivery to the report, and publishes its outcome. Returns the copy of a delivery that waits.
    fn add(&self, report: &mut RunReport, confirms: &mut Confirms, id: DeliveryId, progress: Progress) -> Waiting {
        match progress {
            Progress::Ended(End { report: outcome, holds }) => {
                self.publish_outcome(outcome, confirms);
                if holds {
                    report.holds = Some(id);
                } else {
                    report.ended.push(id);
                }
                None
            }
            Progress::Waits { report: outcome, to, copy } => {
                if let Some(outcome) = outcome {
                    self.publish_outcome(outcome, confirms);
                }
                report.waits = Some(id);
                Some((to, copy))
            }
            // The newer copy has the turn.
            Progress::Superseded => {
                report.waits = Some(id);
                None
            }
        }
    }

    fn publish_outcome(&self, outcome: Member, confirms: &mut Confirms) {
        let outcomes = self.outcomes.clone();
        confirms.0.push(tokio::spawn(async move { outcomes.publish(vec![outcome]).await }));
    }

    /// Publishes the report of a run, and then the copy of the delivery that waits.
    async fn settle_run(&self, report: RunReport, confirms: Confirms, waits: Waiting) -> Result<(), Unsettled> {
        let report = encode(&Sequenced::Report(report), Bytes::new())?;
        let reported = async {
            self.sequencer.publish(vec![report]).await?;
            if let Some((to, copy)) = waits {
                self.delays.publish(to, copy).await?;
            }
            Ok::<_, Unsettled>(())
        };
        tokio::try_join!(reported, confirms.all())?;
        Ok(())
    }

    /// The deliveries whose end is on record. Empty if the database does not answer: then they are attempted again.
    async fn ended_among(&self, deliveries: &[(DeliveryTask, Bytes)]) -> HashSet<DeliveryId> {
        let ids: Vec<_> = deliveries.iter().map(|(task, _)| (task.delivery.id, task.delivery.delivery_day)).collect();
        let read = self.loader.store.lines().ended_among(&ids);
        match tokio::time::timeout(READ_MAX, read).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) | Err(_) => HashSet::new(),
        }
    }
}

/// The report of a run in which nothing was attempted yet; `None` without a turn.
fn empty_report(task: &DeliveryTask) -> Option<RunReport> {
    let Turn { key, run } = task.turn.clone()?;
    let line = Line { endpoint: task.delivery.endpoint, key };
    Some(RunReport { line, run, ended: Vec::new(), waits: None, holds: None })
}
