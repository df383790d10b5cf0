//! Handles the deliveries of ordered endpoints: attempts the deliveries of a run one after the other, and reports to the
//! sequencer.
//!
//! The run ends at the first delivery that must wait, for a retry or a slot: this delivery waits alone, and the sequencer
//! releases the rest of the run again after it. Reports to the sequencer leave at once; the outcomes for the history gather as
//! usual, and the message of the run is settled when they are confirmed.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{PublishError, Unsettled};
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

/// Outcomes that are being published.
#[derive(Default)]
struct Confirms(Vec<JoinHandle<Result<(), PublishError>>>);

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
        let mut confirms = Confirms::default();
        for (task, body) in deliveries {
            let id = task.delivery.id;
            if ended.contains(&id) {
                report.ended.push(id);
                continue;
            }
            if self.stop.is_cancelled() {
                break;
            }
            let progress = match self.process(lane, Box::new(task), Body::Whole(body)).await {
                Ok(progress) => progress,
                // The rest of the run was not attempted. If nothing was, the run returns to its lane.
                Err(_) if !report.ended.is_empty() => break,
                Err(unsettled) => return Err(unsettled),
            };
            if !self.proceed(&mut report, &mut confirms, id, progress).await? {
                break;
            }
        }
        if report.ended.is_empty() && report.waits.is_none() && report.holds.is_none() {
            return Err(Unsettled::Requeue("stopped before the attempt".into()));
        }
        self.settle_run(report, confirms).await
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
        self.proceed(&mut report, &mut confirms, id, progress).await?;
        // The line waits for this delivery already.
        if report.waits.is_some() { confirms.all().await } else { self.settle_run(report, confirms).await }
    }

    /// Publishes what follows from a delivery and adds it to the report. Returns whether the next delivery of the run follows.
    async fn proceed(
        &self,
        report: &mut RunReport,
        confirms: &mut Confirms,
        id: DeliveryId,
        progress: Progress,
    ) -> Result<bool, Unsettled> {
        match progress {
            Progress::Ended(End { report: outcome, holds }) => {
                self.publish_outcome(outcome, confirms);
                if holds {
                    report.holds = Some(id);
                } else {
                    report.ended.push(id);
                }
                Ok(!holds)
            }
            Progress::Waits { report: outcome, to, copy } => {
                if let Some(outcome) = outcome {
                    self.publish_outcome(outcome, confirms);
                }
                self.delays.publish(to, copy).await?;
                report.waits = Some(id);
                Ok(false)
            }
            // The newer copy has the turn.
            Progress::Superseded => {
                report.waits = Some(id);
                Ok(false)
            }
        }
    }

    fn publish_outcome(&self, outcome: Member, confirms: &mut Confirms) {
        let outcomes = self.outcomes.clone();
        confirms.0.push(tokio::spawn(async move { outcomes.publish(vec![outcome]).await }));
    }

    async fn settle_run(&self, report: RunReport, confirms: Confirms) -> Result<(), Unsettled> {
        let report = encode(&Sequenced::Report(report), Bytes::new())?;
        let reported = async { Ok::<_, Unsettled>(self.sequencer.publish(vec![report]).await?) };
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
