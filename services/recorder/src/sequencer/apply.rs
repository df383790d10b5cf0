//! Applies messages to the lines.

use std::time::Duration;

use bytes::Bytes;
use postrider_backoff::Backoff;
use postrider_broker::{BundleOutcome, Poison};
use postrider_model::delivery::DiscardReason;
use postrider_store::lines::{LineChanges, ReleasedRun};
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryTask, Enqueued, Sequenced};

use super::{NotApplied, Sequencer};
use crate::metrics;

/// First and longest pause before changes are applied again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A member with its index among the members that are handled together, and its payload.
type Indexed = (usize, Sequenced, Bytes);

impl Sequencer {
    /// Applies members in their order.
    pub(super) async fn handle(&self, members: Vec<Member>) -> BundleOutcome {
        let (mut readable, mut poisoned) = (Vec::with_capacity(members.len()), Vec::new());
        for (index, member) in members.into_iter().enumerate() {
            match member.head::<Sequenced>() {
                Ok(head) => readable.push((index, head, member.payload)),
                Err(error) => poisoned.push((index, Poison::new(error.to_string()))),
            }
        }
        match self.apply_or_isolate(readable, &mut poisoned).await {
            Ok(()) => BundleOutcome::Settled { poisoned },
            Err(error) => BundleOutcome::Requeue(error.to_string()),
        }
    }

    /// Applies members together. If the database refuses them, applies them one by one, and adds the refused ones to `poisoned`.
    async fn apply_or_isolate(
        &self,
        members: Vec<Indexed>,
        poisoned: &mut Vec<(usize, Poison)>,
    ) -> Result<(), NotApplied> {
        match self.apply(&members).await {
            Err(NotApplied::Refused(error)) => {
                tracing::warn!(%error, members = members.len(), "the database refused changes to lines; applying them one by one");
            }
            applied => return applied,
        }
        for member in &members {
            match self.apply(std::slice::from_ref(member)).await {
                Err(refused @ NotApplied::Refused(_)) => {
                    metrics::refused();
                    poisoned.push((member.0, Poison::new(refused.to_string())));
                }
                applied => applied?,
            }
        }
        Ok(())
    }

    /// Applies members and publishes what follows from them.
    async fn apply(&self, members: &[Indexed]) -> Result<(), NotApplied> {
        let (mut changes, mut discarded) = (LineChanges::default(), Vec::new());
        for (_, head, body) in members {
            match head {
                Sequenced::Enqueued(new) => self.admit(new.clone(), body.clone(), &mut changes, &mut discarded),
                Sequenced::Report(report) => changes.reports.push(report.clone()),
            }
        }
        let released = self.advance(&changes).await?;
        self.keep_known(&mut discarded).await;
        {
            let (mut ended, mut runs) = (self.ended.lock(), self.runs.lock());
            for report in &changes.reports {
                ended.extend(report.ended.iter().copied());
                // Its end marks the run as published.
                runs.confirmed.remove(&report.run);
            }
        }
        metrics::sequenced(changes.enqueued.len(), discarded.len());
        tokio::try_join!(self.publish(released), self.discard(discarded, DiscardReason::LinesFull))?;
        Ok(())
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

    /// Leaves out deliveries that are in a line. They are repeats of deliveries for which there was room.
    async fn keep_known(&self, discarded: &mut Vec<DeliveryTask>) {
        if discarded.is_empty() {
            return;
        }
        let ids: Vec<_> = discarded.iter().map(|task| task.delivery.id).collect();
        match self.store.lines().known_among(&ids).await {
            Ok(known) => discarded.retain(|task| !known.contains(&task.delivery.id)),
            Err(error) => tracing::debug!(%error, "cannot look for repeats; discarding them too"),
        }
    }

    /// Changes the lines. Retries while the database is unavailable. Returns the runs to publish.
    async fn advance(&self, changes: &LineChanges) -> Result<Vec<ReleasedRun>, NotApplied> {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            match self.store.lines().advance(self.owner, changes).await {
                Ok(released) => return Ok(released),
                Err(error) if error.is_data_error() => return Err(NotApplied::Refused(error)),
                Err(error) => {
                    let pause = backoff.next_delay();
                    tracing::warn!(%error, retry_in_ms = pause.as_millis(), "cannot apply changes to lines; retrying");
                    if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return Err(NotApplied::Stopped);
                    }
                }
            }
        }
    }
}
