//! Handles one delivery of a lane. Returns `Ok` after the broker has confirmed everything that was published for the delivery.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{Destination, PublishState, Queue, Rung, Unsettled, ladder};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, EndpointStatus, HeldReason, Lane, Trigger};
use postrider_model::limits::HOLD_MAX;
use postrider_model::time::UnixMillis;
use postrider_telemetry::spans::{self, Cause};
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryTask, SlotTerms};
use tracing::Instrument;

use super::Dispatcher;
use crate::attempt::body::{Body, BodyUnavailable};
use crate::attempt::{self, Attempted};
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
struct Delivery {
    /// The lane from which the delivery was consumed.
    lane: Lane,
    task: Box<DeliveryTask>,
    body: Body,
    entry: Arc<CachedEndpoint>,
    endpoint: Arc<PreparedEndpoint>,
}

/// The time at which a delivery was first held, and the reason.
type Held = Option<(UnixMillis, HeldReason)>;

impl Dispatcher {
    /// Handles one member of a lane.
    pub(crate) async fn deliver(&self, lane: Lane, member: Member) -> Result<(), Unsettled> {
        // Rare paths are boxed to keep the future of each delivery small, because the future is copied when its task is
        // spawned.
        let (task, body) = Body::read(member)?;
        let event = task.traceparent.as_deref();
        let cause = if task.number == 1 { Cause::parent(event) } else { Cause::link(event) };
        let span = spans::process(Queue::Lane(lane).name(), &task.delivery.id, cause);
        self.handle(lane, task, body).instrument(span).await
    }

    async fn handle(&self, lane: Lane, task: Box<DeliveryTask>, body: Body) -> Result<(), Unsettled> {
        let now = UnixMillis::now();
        if let Some(stale) = self.interventions.check(&task) {
            self.shared.metrics.stale.increment(1);
            return match stale {
                Stale::Superseded => Ok(()),
                Stale::Ended(status, reason) => Box::pin(self.end(*task, status, reason, now)).await,
            };
        }
        if self.clock.has_passed(task.expires_at, now) {
            return Box::pin(self.discard(*task, DiscardReason::Expired, now)).await;
        }
        if let Some(rung) = schedule::next_rung(&task, now) {
            self.shared.metrics.scheduled.increment(1);
            // It returns to its own lane: a breaker that is open now may be closed when the delivery is due.
            return Box::pin(self.park(task.lane, &task, &body, rung)).await;
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
                return Box::pin(self.discard(*task, DiscardReason::EndpointDeleted, now)).await;
            }
            Ok(EndpointState::Unusable) => return Box::pin(self.retry_later(lane, *task, body, UNUSABLE_WAIT)).await,
            Err(DatabaseUnavailable) => {
                return Box::pin(self.retry_later(lane, *task, body, DATABASE_UNAVAILABLE_WAIT)).await;
            }
        };
        match endpoint.status {
            EndpointStatus::Active => {}
            _ if task.trigger == Trigger::Test => {}
            EndpointStatus::Paused => return Box::pin(self.set_aside(*task, &body, now)).await,
            EndpointStatus::Inactive | EndpointStatus::Disabled => {
                return Box::pin(self.discard(*task, DiscardReason::EndpointInactive, now)).await;
            }
        }
        let delivery = Delivery { lane, task, body, entry, endpoint };
        let Some((permit, held)) = self.wait_for_permit(&delivery).await? else { return Ok(()) };
        if held.is_some() && Box::pin(self.was_paused(&delivery)).await {
            drop(permit);
            let Delivery { task, body, .. } = delivery;
            return Box::pin(self.set_aside(*task, &body, UnixMillis::now())).await;
        }
        match self.bodies.ready(&delivery.body, &delivery.task, &delivery.endpoint).await {
            // The delivery may have waited for its permit and its body until it expired.
            Ok(_) if self.clock.has_passed(delivery.task.expires_at, UnixMillis::now()) => {
                drop(permit);
                Box::pin(self.discard(*delivery.task, DiscardReason::Expired, UnixMillis::now())).await
            }
            Ok(ready) => self.send(delivery, ready.bytes.clone(), permit, held).await,
            Err(BodyUnavailable::Expunged) => {
                Box::pin(self.discard(*delivery.task, DiscardReason::Expunged, now)).await
            }
            Err(BodyUnavailable::RetryAfter(wait)) => {
                let Delivery { lane, task, body, .. } = delivery;
                Box::pin(self.retry_later(lane, *task, body, wait)).await
            }
        }
    }

    /// Waits for a permit to make the POST. Returns `None` if the delivery was published to the ladder or the slow lane
    /// instead.
    async fn wait_for_permit(&self, delivery: &Delivery) -> Result<Option<(Permit, Held)>, Unsettled> {
        let Delivery { lane, task, entry, endpoint, .. } = delivery;
        let interval = pace::interval(endpoint.rate_per_second, self.shared.dispatchers.get());
        let slot = HeldSlot::of(task).state(UnixMillis::now(), self.started_at, interval);
        let mut request =
            PaceRequest { lane: *lane, slot, interval, gave_up_waiting: false, version: endpoint.version };
        let mut held = task.held_since.zip(task.held_reason);
        loop {
            if !self.is_publisher_up() {
                Box::pin(self.wait_for_publisher()).await?;
            }
            match entry.pace.request(&request) {
                PaceAnswer::Send(permit) => return Ok(Some((permit, held))),
                PaceAnswer::WaitForSlot(wait, slot) => {
                    held.get_or_insert_with(|| (UnixMillis::now(), HeldReason::Rate));
                    tokio::time::sleep(wait).await;
                    request.slot = slot;
                }
                PaceAnswer::WaitForPermit(permit) => {
                    held.get_or_insert_with(|| (UnixMillis::now(), HeldReason::Concurrency));
                    match permit.await {
                        Ok(permit) if self.is_publisher_up() => return Ok(Some((permit, held))),
                        Ok(permit) => drop(permit),
                        Err(_) => request.gave_up_waiting = true,
                    }
                }
                PaceAnswer::Hold(hold) => {
                    Box::pin(self.hold(delivery, held, hold, interval)).await?;
                    return Ok(None);
                }
                PaceAnswer::MoveToSlowLane => {
                    Box::pin(self.move_to_slow_lane(delivery, held)).await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Makes the attempt, reports it, and publishes the retry if there is one.
    async fn send(&self, delivery: Delivery, body: Bytes, permit: Permit, held: Held) -> Result<(), Unsettled> {
        let Delivery { task, entry, endpoint, .. } = delivery;
        let metrics = &self.shared.metrics;
        let attempted = attempt::make(&self.egress, metrics, &endpoint, &task, body.clone(), held).await;
        let Attempted { record, excerpt, retry_after, ended, ended_at, latency, trace } = attempted;
        let policy = endpoint.retry_policy();
        if let Some(wait) = next_step::requested_pause(record.status_code, retry_after, &policy) {
            entry.pace.pause(wait, endpoint.version);
        }
        let transition = permit.end(next_step::observation(record.outcome, record.status_code), latency);
        self.shared.breakers.record(task.delivery.endpoint, transition, record.outcome, ended_at);
        let draw = if policy.jitter_max > 0.0 { rand::random::<f64>() } else { 0.0 };
        let step = next_step::after_attempt(*task, record, retry_after, &policy, ended_at, draw).traced(trace);
        let NextStep { report, retry } = step;
        endpoint.counts.after_attempt(report.status);
        if let Some(reason) = report.discard_reason {
            metrics.discarded(reason);
        }
        let report = self.outcomes.publish(vec![encode(&report, excerpt)?]);
        let Some((retry, delay)) = retry else { return Ok(report.await?) };
        let lane = if entry.pace.is_slow() { Lane::Slow } else { retry.lane };
        let retry = Body::Whole(body).to_ladder(&retry)?;
        // The delay starts at the end of the attempt, by the monotonic clock. A retry is never early.
        let rung = ladder::rung_at_least(delay.saturating_sub(ended.elapsed()));
        let retry = self.delays.publish(Destination::Rung { rung, lane }, retry);
        metrics.retries.increment(1);
        Box::pin(async { tokio::try_join!(report, retry) }).await?;
        Ok(())
    }

    async fn move_to_slow_lane(&self, delivery: &Delivery, held: Held) -> Result<(), Unsettled> {
        let (held_since, reason) = held.unwrap_or((UnixMillis::now(), HeldReason::Breaker));
        let moved = DeliveryTask {
            held_since: Some(held_since),
            held_reason: Some(reason),
            moves: delivery.task.moves.saturating_add(1),
            ..(*delivery.task).clone()
        };
        self.shared.metrics.moved.increment(1);
        Ok(self.delays.publish(Destination::Lane(Lane::Slow), delivery.body.to_lane(&moved)?).await?)
    }

    /// Publishes a delivery to the ladder. The delivery returns shortly before its slot.
    async fn hold(
        &self,
        delivery: &Delivery,
        held: Held,
        hold: Hold,
        interval: Option<Duration>,
    ) -> Result<(), Unsettled> {
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
        self.park(delivery.lane, &parked, &delivery.body, rung).await
    }

    /// Publishes a delivery to the ladder because its endpoint or its body is unavailable. The attempt number does not change.
    async fn retry_later(&self, lane: Lane, task: DeliveryTask, body: Body, wait: Duration) -> Result<(), Unsettled> {
        self.shared.metrics.held_for_configuration.increment(1);
        let task = DeliveryTask { moves: task.moves.saturating_add(1), ..task };
        self.park(lane, &task, &body, rung_before(wait)).await
    }

    async fn park(&self, lane: Lane, task: &DeliveryTask, body: &Body, rung: Rung) -> Result<(), Unsettled> {
        let member = body.to_ladder(task)?;
        Ok(self.delays.publish(Destination::Rung { rung, lane }, member).await?)
    }

    async fn discard(&self, task: DeliveryTask, reason: DiscardReason, at: UnixMillis) -> Result<(), Unsettled> {
        self.shared.metrics.discarded(reason);
        self.end(task, DeliveryStatus::Discarded, Some(reason), at).await
    }

    /// Reports that a delivery ended without an attempt.
    async fn end(
        &self,
        task: DeliveryTask,
        status: DeliveryStatus,
        reason: Option<DiscardReason>,
        at: UnixMillis,
    ) -> Result<(), Unsettled> {
        let report = next_step::without_attempt(task, status, reason, at);
        Ok(self.outcomes.publish(vec![encode(&report, Bytes::new())?]).await?)
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

    /// Reports that a delivery is set aside because its endpoint is paused. The recorder keeps it from then on.
    async fn set_aside(&self, task: DeliveryTask, body: &Body, at: UnixMillis) -> Result<(), Unsettled> {
        self.shared.metrics.set_aside.increment(1);
        let report = next_step::set_aside(task, body.len(), at);
        Ok(self.outcomes.publish(vec![encode(&report, Bytes::new())?]).await?)
    }

    /// Waits until outcomes can be published. A POST before that would have an outcome that cannot be reported.
    async fn wait_for_publisher(&self) -> Result<(), Unsettled> {
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

/// Returns the longest rung whose delay is at most `park_for`, or the shortest rung if every delay is longer.
fn rung_before(park_for: Duration) -> Rung {
    ladder::rung_at_most(park_for).unwrap_or_else(|| ladder::rung_at_least(Duration::ZERO))
}
