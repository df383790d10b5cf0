//! Handles the deliveries of batched endpoints: they join a batch, and its first member sends it for all.
//!
//! The task of each member waits for the outcome of the batch and then settles its own delivery, as if it had been sent alone:
//! with its own report, number and retry. All members of a batch have the same outcome, so their retries are due together and
//! meet in a batch again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_broker::Unsettled;
use postrider_model::attempt::Outcome;
use postrider_model::batch::{Batch, BatchPlace};
use postrider_model::delivery::{DiscardReason, EndpointStatus, Lane};
use postrider_model::ids::{BatchId, EndpointId};
use postrider_model::time::UnixMillis;
use postrider_wire::messages::DeliveryTask;
use tokio::sync::oneshot;

use super::Dispatcher;
use super::lane::{Delivery, Permission, Progress};
use crate::attempt::body::{BodyUnavailable, ReadyBody};
use crate::attempt::{self, Circumstances, Sent, WithBody};
use crate::endpoint::shared_pace::Permit;
use crate::endpoint::{CachedEndpoint, EndpointState, PreparedEndpoint};
use crate::gather::{Gathering, Joining};
use crate::interventions::Stale;
use crate::next_step;
use crate::pace::{self, BatchSize, Elsewhere, HeldSlot, Hold, PaceAnswer, PaceRequest, SlotState};

/// Status code of a response to a request that is too large.
const TOO_LARGE: u16 = 413;
/// Time that a delivery waits if its endpoint changed while its batch was gathered. It is then handled as the endpoint is now.
const CHANGED_WAIT: Duration = Duration::from_millis(250);

/// A delivery that waits for its batch.
pub(crate) struct Waiting {
    task: Box<DeliveryTask>,
    body: ReadyBody,
    /// Returns the task to its delivery, with what became of it.
    reply: oneshot::Sender<(Box<DeliveryTask>, Fate)>,
}

/// What became of a member of a batch.
#[derive(Clone)]
enum Fate {
    /// It was sent at this place.
    Sent(Arc<SentBatch>, BatchPlace),
    /// It waits elsewhere for another batch.
    Waits(Elsewhere),
    /// It left the batch because of an intervention.
    Stale(Stale),
    /// It left the batch because it expired.
    Expired,
    /// The endpoint changed: the delivery is handled again.
    Changed,
}

/// A batch that was sent.
struct SentBatch {
    sent: Sent,
    /// The endpoint as it was when the batch was sent.
    endpoint: Arc<PreparedEndpoint>,
    /// Selects the delay of the retry within the range of the jitter, for all members.
    draw: f64,
}

impl Dispatcher {
    /// Lets a delivery join a batch, and handles what became of it. Leads the batch if the delivery is its first.
    pub(super) async fn deliver_in_batch(&self, delivery: Delivery, batch: Batch) -> Result<Progress, Unsettled> {
        let now = UnixMillis::now();
        let request = self.joining_request(&delivery, &batch, now);
        if let Some(elsewhere) = delivery.entry.pace.admit(&request) {
            return self.wait_elsewhere(&delivery, elsewhere);
        }
        let (lane, id, envelope) = (delivery.lane, delivery.task.delivery.endpoint, &delivery.endpoint.profile.batch);
        let event = &delivery.task.delivery.event;
        // A body that has to be read and rendered is, once there is room for it.
        let bytes = envelope.item_bytes(event, usize::try_from(delivery.body.len()).unwrap_or(usize::MAX));
        let make_room = || self.gatherer.complete_oldest(lane);
        let Some(_seat) = self.shared.rooms.enter(lane, id, &batch, bytes, make_room).await else {
            let hold = delivery.entry.pace.park(&request);
            return self.wait_elsewhere(&delivery, Elsewhere::Ladder(hold));
        };
        let body = match self.bodies.ready(&delivery.body, &delivery.task, &delivery.endpoint).await {
            Ok(body) => body,
            Err(BodyUnavailable::Expunged) => return self.discard(*delivery.task, DiscardReason::Expunged, now),
            Err(BodyUnavailable::RetryAfter(wait)) => {
                return self.retry_later(delivery.lane, *delivery.task, &delivery.body, wait);
            }
        };
        let bytes = envelope.item_bytes(event, body.bytes.len());
        let joining = Joining { lane, endpoint: id, batch: &batch, bytes, overhead: envelope.bytes([]) };
        let Delivery { lane, task, body: kept, entry, endpoint } = delivery;
        let (reply, fate) = oneshot::channel();
        let bytes = body.bytes.clone();
        if let Some(leads) = self.gatherer.join(&joining, Waiting { task, body, reply }, Instant::now()) {
            self.lead(lane, &entry, &endpoint, leads).await?;
        }
        let Ok((task, fate)) = fate.await else {
            return Err(Unsettled::Requeue("the batch of the delivery was not sent".into()));
        };
        match fate {
            Fate::Sent(batch, place) => {
                let held = task.held_since.zip(task.held_reason);
                let circumstances = Circumstances { held, batch: Some(place), gathers_since: Some(now) };
                self.after_batch(&entry, task, bytes, &batch, circumstances)
            }
            Fate::Waits(elsewhere) => {
                self.wait_elsewhere(&Delivery { lane, task, body: kept, entry, endpoint }, elsewhere)
            }
            Fate::Stale(stale) => self.drop_stale(*task, stale, UnixMillis::now()),
            Fate::Expired => self.discard(*task, DiscardReason::Expired, UnixMillis::now()),
            Fate::Changed => self.retry_later(lane, *task, &kept, CHANGED_WAIT),
        }
    }

    /// The request of a delivery that would join a batch.
    fn joining_request(&self, delivery: &Delivery, batch: &Batch, now: UnixMillis) -> PaceRequest {
        let interval = pace::interval(delivery.endpoint.rate_per_second, self.shared.dispatchers.get());
        let slot = HeldSlot::of(&delivery.task).state(now, self.started_at, interval);
        let members_max = self.members_max(delivery.task.delivery.endpoint, batch);
        PaceRequest {
            lane: delivery.lane,
            slot,
            interval,
            gave_up_waiting: false,
            version: delivery.endpoint.version,
            batch: Some(BatchSize { new_members: 1, members_max }),
        }
    }

    fn members_max(&self, endpoint: EndpointId, batch: &Batch) -> u32 {
        u32::try_from(self.gatherer.events_max(endpoint, batch)).unwrap_or(u32::MAX)
    }

    /// Returns the copy of a delivery that waits on the ladder or in the slow lane. A slot that is still ahead is kept.
    fn wait_elsewhere(&self, delivery: &Delivery, elsewhere: Elsewhere) -> Result<Progress, Unsettled> {
        let task = &delivery.task;
        let held = task.held_since.zip(task.held_reason);
        let permission = match elsewhere {
            Elsewhere::SlowLane => self.move_to_slow_lane(delivery, held)?,
            Elsewhere::Ladder(hold) => {
                let interval = pace::interval(delivery.endpoint.rate_per_second, self.shared.dispatchers.get());
                let slot = HeldSlot::of(task).state(UnixMillis::now(), self.started_at, interval);
                let hold = match slot {
                    SlotState::Ahead { remaining, .. } => {
                        Hold { slot_in: remaining, park_for: hold.park_for.min(remaining), ..hold }
                    }
                    _ => hold,
                };
                self.hold(delivery, held, hold, None)?
            }
        };
        match permission {
            Permission::Wait(to, copy) => Ok(Progress::Waits { report: None, to, copy }),
            Permission::Send(..) => Err(Unsettled::Requeue("a delivery that waits got a permit".into())),
        }
    }

    /// Sends a batch when it is complete, and tells its members what became of them.
    async fn lead(
        &self,
        lane: Lane,
        entry: &CachedEndpoint,
        endpoint: &Arc<PreparedEndpoint>,
        leads: Gathering<Waiting>,
    ) -> Result<(), Unsettled> {
        let members = self.gatherer.gathered(leads, &self.stop).await;
        let members = self.drop_ended(members);
        if members.is_empty() {
            return Ok(());
        }
        let permit = match self.batch_permit(lane, entry, endpoint, &members).await? {
            Ok(permit) => permit,
            Err(elsewhere) => {
                tell_all(members, &Fate::Waits(elsewhere));
                return Ok(());
            }
        };
        let Some(endpoint) = self.endpoint_now(entry, &members).await else {
            tell_all(members, &Fate::Changed);
            return Ok(());
        };
        // Deliveries may have been cancelled, expunged or expired while the batch waited for its permit.
        let members = self.drop_ended(members);
        let bodies: Vec<WithBody<'_>> = members.iter().map(|member| (&*member.task, &member.body.bytes)).collect();
        if let [first, others @ ..] = &bodies[..] {
            let id = first.0.delivery.endpoint;
            let place = BatchPlace { id: BatchId::generate(), position: 0, size: u16_of(members.len()) };
            let metrics = &self.shared.metrics;
            let sent = attempt::post_batch(&self.outbound, metrics, &endpoint, place.id, *first, others).await;
            self.observe(entry, &endpoint, id, permit, &sent);
            if is_too_large(&sent, members.len()) {
                metrics.batches_too_large.increment(1);
                self.gatherer.too_large(id, members.len());
            } else if sent.outcome == Outcome::Success {
                self.gatherer.accepted(id, members.len());
            }
            let draw = if endpoint.retry_policy().jitter_max > 0.0 { rand::random::<f64>() } else { 0.0 };
            let batch = Arc::new(SentBatch { sent, endpoint, draw });
            for (index, member) in members.into_iter().enumerate() {
                let place = BatchPlace { position: u16_of(index + 1), ..place };
                tell(member, Fate::Sent(Arc::clone(&batch), place));
            }
        }
        Ok(())
    }

    /// Removes the members that an intervention concerns, and those that have expired.
    fn drop_ended(&self, members: Vec<Waiting>) -> Vec<Waiting> {
        let now = UnixMillis::now();
        let mut remaining = Vec::with_capacity(members.len());
        for member in members {
            if let Some(stale) = self.interventions.check(&member.task) {
                tell(member, Fate::Stale(stale));
            } else if self.clock.has_passed(member.task.expires_at, now) {
                tell(member, Fate::Expired);
            } else {
                remaining.push(member);
            }
        }
        remaining
    }

    /// Waits for a permit to send a batch. Returns where its members wait if there is none soon.
    async fn batch_permit(
        &self,
        lane: Lane,
        entry: &CachedEndpoint,
        endpoint: &PreparedEndpoint,
        members: &[Waiting],
    ) -> Result<Result<Permit, Elsewhere>, Unsettled> {
        let interval = pace::interval(endpoint.rate_per_second, self.shared.dispatchers.get());
        let now = UnixMillis::now();
        let is_new = |member: &&Waiting| {
            !matches!(HeldSlot::of(&member.task).state(now, self.started_at, interval), SlotState::Ahead { .. })
        };
        let new_members = u32::try_from(members.iter().filter(is_new).count()).unwrap_or(u32::MAX);
        let id = members.first().map(|member| member.task.delivery.endpoint);
        let members_max = id.zip(endpoint.batch).map_or(1, |(id, batch)| self.members_max(id, &batch));
        let mut request = PaceRequest {
            lane,
            slot: SlotState::None,
            interval,
            gave_up_waiting: false,
            version: endpoint.version,
            batch: Some(BatchSize { new_members, members_max }),
        };
        loop {
            if !self.is_publisher_up() {
                Box::pin(self.wait_for_publisher()).await?;
            }
            match entry.pace.request(&request) {
                PaceAnswer::Send(permit) => return Ok(Ok(permit)),
                PaceAnswer::WaitForSlot(wait, slot) => {
                    tokio::time::sleep(wait).await;
                    request.slot = slot;
                }
                PaceAnswer::WaitForPermit(permit) => match permit.await {
                    Ok(permit) if self.is_publisher_up() => return Ok(Ok(permit)),
                    Ok(permit) => drop(permit),
                    Err(_) => request.gave_up_waiting = true,
                },
                PaceAnswer::Hold(hold) => return Ok(Err(Elsewhere::Ladder(hold))),
                PaceAnswer::MoveToSlowLane => return Ok(Err(Elsewhere::SlowLane)),
            }
        }
    }

    /// The endpoint as it is now. `None` if it is not active and batched any more, or was deleted.
    async fn endpoint_now(&self, entry: &CachedEndpoint, members: &[Waiting]) -> Option<Arc<PreparedEndpoint>> {
        let newest = members.iter().map(|member| &member.task).max_by_key(|task| task.config_version)?;
        let state = match self.shared.endpoints.cached(entry, newest.config_version) {
            Some(state) => Ok(state),
            None => self.load(entry, newest).await,
        };
        match state {
            Ok(EndpointState::Ready(endpoint))
                if endpoint.status == EndpointStatus::Active && endpoint.batch.is_some() =>
            {
                Some(endpoint)
            }
            _ => None,
        }
    }

    /// Settles a delivery that was sent in a batch.
    fn after_batch(
        &self,
        entry: &CachedEndpoint,
        task: Box<DeliveryTask>,
        body: Bytes,
        batch: &SentBatch,
        circumstances: Circumstances,
    ) -> Result<Progress, Unsettled> {
        let SentBatch { sent, endpoint, draw } = batch;
        let record = attempt::record(&self.shared.metrics, endpoint, &task, sent, circumstances);
        let size = circumstances.batch.map_or(1, |place| place.size);
        let step = if is_too_large(sent, size.into()) {
            next_step::in_smaller_batch(*task, record, sent.ended_at)
        } else {
            let policy = endpoint.retry_policy();
            next_step::after_attempt(*task, record, sent.retry_after(), &policy, sent.ended_at, *draw)
        };
        self.conclude(entry, endpoint, sent, step, body)
    }
}

/// Whether a batch was refused because it is too large. Of a batch with one member, nothing can be taken away.
fn is_too_large(sent: &Sent, size: usize) -> bool {
    size > 1 && sent.outcome != Outcome::Success && sent.status_code() == Some(TOO_LARGE)
}

fn tell_all(members: Vec<Waiting>, fate: &Fate) {
    for member in members {
        tell(member, fate.clone());
    }
}

/// Tells a member what became of it. If its task is gone, its message returns to the lane.
fn tell(member: Waiting, fate: Fate) {
    let Waiting { task, reply, .. } = member;
    let _ = reply.send((task, fate));
}

/// A batch has at most 1,000 members.
fn u16_of(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
