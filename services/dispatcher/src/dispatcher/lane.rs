//! Handles the members of a lane. A single delivery is settled after the broker has confirmed everything that was published for
//! it. [`super::run`] handles the deliveries of a run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{Destination, MemberContext, PublishState, Queue, Rung, Unsettled, ladder};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, EndpointStatus, HeldReason, Lane, Trigger};
use postrider_model::ids::EndpointId;
use postrider_model::limits::HOLD_MAX;
use postrider_model::ordering::OnExhausted;
use postrider_model::time::UnixMillis;
use postrider_telemetry::spans::{self, Cause};
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryTask, SlotTerms};
use tracing::Instrument;

use super::Dispatcher;
use crate::attempt::body::{Body, BodyUnavailable, LaneMember};
use crate::attempt::{self, Attempted, Held, Sent};
use crate::encode::encode;
use crate::endpoint::shared_pace::Permit;
use crate::endpoint::{CachedEndpoint, DatabaseUnavailable, EndpointState, PreparedEndpoint};
use crate::interventions::Stale;
use crate::next_step::{self, NextStep};
use crate::pace::{self, HeldSlot, Hold, PaceAnswer, PaceRequest};
use crate::schedule;

/// Time that a delivery waits when its endpoint cannot be read.
const DATABASE_UNAVAILABLE_WAIT: Duration = Duration::from_secs(5);
/// Time that a delivery waits when this build cannot attempt its endpoint.
const UNUSABLE_WAIT: Duration = Duration::from_secs(60);

/// A delivery with its body and its endpoint.
pub(super) struct Delivery {
    /// The lane from which the delivery was consumed.
    pub(super) lane: Lane,
    pub(super) task: Box<DeliveryTask>,
    pub(super) body: Body,
    pub(super) entry: Arc<CachedEndpoint>,
    pub(super) endpoint: Arc<PreparedEndpoint>,
}

/// Whether a delivery may be sent now.
pub(super) enum Permission {
    /// The POST may be made.
    Send(Permit, Held),
    /// This copy of the delivery waits there.
    Wait(Destination, Member),
}

/// What became of a delivery that was taken from a lane, with the messages that are not published yet.
pub(super) enum Progress {
    /// It ended.
    Ended(End),
    /// A copy of it waits elsewhere: on the ladder or in the slow lane.
    Waits {
        /// The report of an attempt, if one was made.
        report: Option<Member>,
        to: Destination,
        copy: Member,
    },
    /// It has a newer copy.
    Superseded,
}

/// The end of a delivery.
pub(super) struct End {
    pub(super) report: Member,
    /// Whether the line of the delivery must wait for a person.
    pub(super) holds: bool,
}

impl Dispatcher {
    /// Handles one member of a lane.
    pub(crate) async fn deliver(&self, lane: Lane, member: Member, context: MemberContext) -> Result<(), Unsettled> {
        // Rare paths are boxed to keep the future of each delivery small, because the future is copied when its task is
        // spawned.
        match LaneMember::read(member)? {
            LaneMember::Delivery(task, body) => self.deliver_one(lane, task, body).await,
            LaneMember::Run(deliveries) => Box::pin(self.deliver_run(lane, deliveries, context.redelivered)).await,
        }
    }

    async fn deliver_one(&self, lane: Lane, task: Box<DeliveryTask>, body: Body) -> Result<(), Unsettled> {
        if task.turn.is_some() {
            return Box::pin(self.deliver_last_of_run(lane, task, body)).await;
        }
        match self.process(lane, task, body).await? {
            Progress::Ended(End { report, .. }) => Ok(self.outcomes.publish(vec![report]).await?),
            Progress::Waits { report: None, to, copy } => Ok(self.delays.publish(to, copy).await?),
            Progress::Waits { report: Some(report), to, copy } => {
                let report = self.outcomes.publish(vec![report]);
                let copy = self.delays.publish(to, copy);
                Box::pin(async { tokio::try_join!(report, copy) }).await?;
                Ok(())
            }
            Progress::Superseded => Ok(()),
        }
    }

    /// Attempts a delivery if it is not stale and its endpoint's pace allows it.
    pub(super) async fn process(&self, lane: Lane, task: Box<DeliveryTask>, body: Body) -> Result<Progress, Unsettled> {
        let event = task.traceparent.as_deref();
        let cause = if task.number == 1 { Cause::parent(event) } else { Cause::link(event) };
        let span = spans::process(Queue::Lane(lane).name(), &task.delivery.id, cause);
        self.handle(lane, task, body).instrument(span).await
    }

    async fn handle(&self, lane: Lane, task: Box<DeliveryTask>, body: Body) -> Result<Progress, Unsettled> {
        let now = UnixMillis::now();
        if let Some(stale) = self.interventions.check(&task) {
            return self.drop_stale(*task, stale, now);
        }
        if self.clock.has_passed(task.expires_at, now) {
            return self.discard(*task, DiscardReason::Expired, now);
        }
        if let Some(rung) = schedule::next_rung(&task, now) {
            self.shared.metrics.scheduled.increment(1);
            // It returns to its own lane: a breaker that is open now may be closed when the delivery is due.
            let to = Destination::Rung { rung, lane: task.lane };
            return Ok(Progress::Waits { report: None, to, copy: body.to_ladder(&task)? });
        }
        let entry = self.shared.endpoints.get_or_create(task.delivery.endpoint);
        let state = match self.shared.endpoints.cached(&entry, task.config_version) {
            Some(state) => Ok(state),
            None => Box::pin(self.load(&entry, &task)).await,
        };
        let endpoint = match state {
            Ok(EndpointState::Ready(endpoint)) => endpoint,
            Ok(EndpointState::Deleted) => {
                self.shared.breakers.close(task.delivery.endpoint, now);
                return self.discard(*task, DiscardReason::EndpointDeleted, now);
            }
            Ok(EndpointState::Unusable) => return self.retry_later(lane, *task, &body, UNUSABLE_WAIT),
            Err(DatabaseUnavailable) => return self.retry_later(lane, *task, &body, DATABASE_UNAVAILABLE_WAIT),
        };
        match endpoint.status {
            EndpointStatus::Active => {}
            _ if task.trigger == Trigger::Test => {}
            EndpointStatus::Paused => return self.set_aside(*task, &body, now),
            EndpointStatus::Inactive | EndpointStatus::Disabled => {
                return self.discard(*task, DiscardReason::EndpointInactive, now);
            }
        }
        let batch = endpoint.batch.filter(|_| task.turn.is_none() && task.trigger != Trigger::Test);
        let delivery = Delivery { lane, task, body, entry, endpoint };
        if let Some(batch) = batch {
            return Box::pin(self.deliver_in_batch(delivery, batch)).await;
        }
        let (permit, held) = match self.wait_for_permit(&delivery).await? {
            Permission::Send(permit, held) => (permit, held),
            Permission::Wait(to, copy) => return Ok(Progress::Waits { report: None, to, copy }),
        };
        if held.is_some() && Box::pin(self.was_paused(&delivery)).await {
            drop(permit);
            let Delivery { task, body, .. } = delivery;
            return self.set_aside(*task, &body, UnixMillis::now());
        }
        match self.bodies.ready(&delivery.body, &delivery.task, &delivery.endpoint).await {
            // The delivery may have waited for its permit and its body until it expired.
            Ok(_) if self.clock.has_passed(delivery.task.expires_at, UnixMillis::now()) => {
                drop(permit);
                self.discard(*delivery.task, DiscardReason::Expired, UnixMillis::now())
            }
            Ok(ready) => self.send(delivery, ready.bytes.clone(), permit, held).await,
            Err(BodyUnavailable::Expunged) => self.discard(*delivery.task, DiscardReason::Expunged, now),
            Err(BodyUnavailable::RetryAfter(wait)) => {
                let Delivery { lane, task, body, .. } = delivery;
                self.retry_later(lane, *task, &body, wait)
            }
        }
    }

    /// Waits for a permit to make the POST, or returns the copy of the delivery that waits elsewhere.
    async fn wait_for_permit(&self, delivery: &Delivery) -> Result<Permission, Unsettled> {
        let Delivery { lane, task, entry, endpoint, .. } = delivery;
        let interval = pace::interval(endpoint.rate_per_second, self.shared.dispatchers.get());
        let slot = HeldSlot::of(task).state(UnixMillis::now(), self.started_at, interval);
        let mut request =
            PaceRequest { lane: *lane, slot, interval, gave_up_waiting: false, version: endpoint.version, batch: None };
        let mut held = task.held_since.zip(task.held_reason);
        loop {
            if !self.is_publisher_up() {
                Box::pin(self.wait_for_publisher()).await?;
            }
            match entry.pace.request(&request) {
                PaceAnswer::Send(permit) => return Ok(Permission::Send(permit, held)),
                PaceAnswer::WaitForSlot(wait, slot) => {
                    held.get_or_insert_with(|| (UnixMillis::now(), HeldReason::Rate));
                    tokio::time::sleep(wait).await;
                    request.slot = slot;
                }
                PaceAnswer::WaitForPermit(permit) => {
                    held.get_or_insert_with(|| (UnixMillis::now(), HeldReason::Concurrency));
                    match permit.await {
                        Ok(permit) if self.is_publisher_up() => return Ok(Permission::Send(permit, held)),
                        Ok(permit) => drop(permit),
                        Err(_) => request.gave_up_waiting = true,
                    }
                }
                PaceAnswer::Hold(hold) => return self.hold(delivery, held, hold, interval),
                PaceAnswer::MoveToSlowLane => return self.move_to_slow_lane(delivery, held),
            }
        }
    }

    /// Makes the attempt. Returns its report, and the retry if there is one.
    async fn send(&self, delivery: Delivery, body: Bytes, permit: Permit, held: Held) -> Result<Progress, Unsettled> {
        let Delivery { task, entry, endpoint, .. } = delivery;
        let metrics = &self.shared.metrics;
        let Attempted { record, sent } =
            attempt::make(&self.outbound, metrics, &endpoint, &task, body.clone(), held).await;
        let policy = endpoint.retry_policy();
        self.observe(&entry, &endpoint, task.delivery.endpoint, permit, &sent);
        let draw = if policy.jitter_max > 0.0 { rand::random::<f64>() } else { 0.0 };
        let step = next_step::after_attempt(*task, record, sent.retry_after(), &policy, sent.ended_at, draw);
        self.conclude(&entry, &endpoint, &sent, step, body)
    }

    /// Ends the POST of a permit, and applies what its result indicates about the endpoint.
    pub(super) fn observe(
        &self,
        entry: &CachedEndpoint,
        endpoint: &PreparedEndpoint,
        id: EndpointId,
        permit: Permit,
        sent: &Sent,
    ) {
        let (code, retry_after) = (sent.status_code(), sent.retry_after());
        if let Some(wait) = next_step::requested_pause(code, retry_after, &endpoint.retry_policy()) {
            entry.pace.pause(wait, endpoint.version);
        }
        let transition = permit.end(next_step::observation(sent.outcome, code), sent.latency());
        self.shared.breakers.record(id, transition, sent.outcome, sent.ended_at);
    }

    /// Returns the report of an attempt, and the retry if there is one.
    pub(super) fn conclude(
        &self,
        entry: &CachedEndpoint,
        endpoint: &PreparedEndpoint,
        sent: &Sent,
        step: NextStep,
        body: Bytes,
    ) -> Result<Progress, Unsettled> {
        let metrics = &self.shared.metrics;
        let NextStep { report, retry } = step.traced(sent.trace);
        endpoint.counts.after_attempt(report.status);
        if let Some(reason) = report.discard_reason {
            metrics.discarded(reason);
        }
        let holds = report.status == DeliveryStatus::Failed && endpoint.on_exhausted == OnExhausted::Hold;
        let report = encode(&report, sent.excerpt())?;
        let Some((retry, delay)) = retry else { return Ok(Progress::Ended(End { report, holds })) };
        let lane = if entry.pace.is_slow() { Lane::Slow } else { retry.lane };
        let copy = Body::Whole(body).to_ladder(&retry)?;
        // The delay starts at the end of the attempt, by the monotonic clock. A retry is never early.
        let rung = ladder::rung_at_least(delay.saturating_sub(sent.ended.elapsed()));
        metrics.retries.increment(1);
        Ok(Progress::Waits { report: Some(report), to: Destination::Rung { rung, lane }, copy })
    }

    /// Drops a stale copy, and reports the end of its delivery unless a newer copy is in flight.
    pub(super) fn drop_stale(&self, task: DeliveryTask, stale: Stale, at: UnixMillis) -> Result<Progress, Unsettled> {
        self.shared.metrics.stale.increment(1);
        match stale {
            Stale::Superseded => Ok(Progress::Superseded),
            Stale::Ended(status, reason) => ended_without_attempt(task, status, reason, at),
        }
    }

    pub(super) fn move_to_slow_lane(&self, delivery: &Delivery, held: Held) -> Result<Permission, Unsettled> {
        let (held_since, reason) = held.unwrap_or((UnixMillis::now(), HeldReason::Breaker));
        let moved = DeliveryTask {
            held_since: Some(held_since),
            held_reason: Some(reason),
            moves: delivery.task.moves.saturating_add(1),
            ..(*delivery.task).clone()
        };
        self.shared.metrics.moved.increment(1);
        Ok(Permission::Wait(Destination::Lane(Lane::Slow), delivery.body.to_lane(&moved)?))
    }

    /// Returns the copy of a delivery that waits on the ladder. The copy returns shortly before its slot.
    pub(super) fn hold(
        &self,
        delivery: &Delivery,
        held: Held,
        hold: Hold,
        interval: Option<Duration>,
    ) -> Result<Permission, Unsettled> {
        let Hold { slot_in, park_for, reason } = hold;
        let now = UnixMillis::now();
        let rung = rung_before(park_for.min(HOLD_MAX));
        let interval = interval.filter(|_| reason == HeldReason::Rate).unwrap_or_default();
        let terms = SlotTerms {
            left_ms: u64::try_from(slot_in.saturating_sub(rung.delay()).as_millis()).unwrap_or(u64::MAX),
            interval_us: u64::try_from(interval.as_micros()).unwrap_or(u64::MAX),
        };
        let parked = DeliveryTask {
            slot_at: Some(now.plus(slot_in)),
            slot_terms: Some(terms),
            held_since: Some(held.map_or(now, |(since, _)| since)),
            held_reason: Some(reason),
            moves: delivery.task.moves.saturating_add(1),
            ..(*delivery.task).clone()
        };
        self.shared.metrics.held(reason);
        let to = Destination::Rung { rung, lane: delivery.lane };
        Ok(Permission::Wait(to, delivery.body.to_ladder(&parked)?))
    }

    /// Returns the copy of a delivery that waits on the ladder because its endpoint or its body is unavailable. The attempt
    /// number does not change.
    pub(super) fn retry_later(
        &self,
        lane: Lane,
        task: DeliveryTask,
        body: &Body,
        wait: Duration,
    ) -> Result<Progress, Unsettled> {
        self.shared.metrics.held_for_configuration.increment(1);
        let task = DeliveryTask { moves: task.moves.saturating_add(1), ..task };
        let to = Destination::Rung { rung: rung_before(wait), lane };
        Ok(Progress::Waits { report: None, to, copy: body.to_ladder(&task)? })
    }

    pub(super) fn discard(
        &self,
        task: DeliveryTask,
        reason: DiscardReason,
        at: UnixMillis,
    ) -> Result<Progress, Unsettled> {
        self.shared.metrics.discarded(reason);
        ended_without_attempt(task, DeliveryStatus::Discarded, Some(reason), at)
    }

    /// Whether the endpoint was paused while the delivery waited for its permit.
    async fn was_paused(&self, delivery: &Delivery) -> bool {
        let Delivery { task, entry, .. } = delivery;
        let state = match self.shared.endpoints.cached(entry, task.config_version) {
            Some(state) => Ok(state),
            None => self.load(entry, task).await,
        };
        matches!(state, Ok(EndpointState::Ready(endpoint)) if endpoint.status == EndpointStatus::Paused)
    }

    /// Reports that a delivery is set aside because its endpoint is paused. The recorder keeps it from then on, so it ends for
    /// the dispatcher. It also leaves its line: a paused endpoint is not ordered, but may have lines of before.
    fn set_aside(&self, task: DeliveryTask, body: &Body, at: UnixMillis) -> Result<Progress, Unsettled> {
        self.shared.metrics.set_aside.increment(1);
        let report = next_step::set_aside(task, body.len(), at);
        Ok(Progress::Ended(End { report: encode(&report, Bytes::new())?, holds: false }))
    }

    /// Waits until outcomes can be published. A POST before that would have an outcome that cannot be reported.
    pub(super) async fn wait_for_publisher(&self) -> Result<(), Unsettled> {
        let mut state = self.publish_state.clone();
        tokio::select! {
            up = state.wait_for(|state| *state == PublishState::Up) => match up {
                Ok(_) => Ok(()),
                Err(_) => Err(Unsettled::Requeue("the publisher has ended".into())),
            },
            () = self.stop.cancelled() => Err(Unsettled::Requeue("stopped before the attempt".into())),
        }
    }
}

/// Reports that a delivery ended without an attempt.
fn ended_without_attempt(
    task: DeliveryTask,
    status: DeliveryStatus,
    reason: Option<DiscardReason>,
    at: UnixMillis,
) -> Result<Progress, Unsettled> {
    let report = next_step::without_attempt(task, status, reason, at);
    Ok(Progress::Ended(End { report: encode(&report, Bytes::new())?, holds: false }))
}

/// Returns the longest rung whose delay is at most `park_for`, or the shortest rung if every delay is longer.
fn rung_before(park_for: Duration) -> Rung {
    ladder::rung_at_most(park_for).unwrap_or_else(|| ladder::rung_at_least(Duration::ZERO))
}
