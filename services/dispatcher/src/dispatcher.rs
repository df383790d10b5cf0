//! One delivery, from its message to everything that it caused being confirmed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use postrider_broker::{
    BatchPublisher, DelayPublisher, Destination, Poison, PublishState, Queue, Rung, Unsettled, ladder,
};
use postrider_egress::{Egress, Url};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, EndpointStatus, HeldReason, Lane, Trigger};
use postrider_model::limits::HOLD_MAX;
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_store::{Store, StoreError};
use postrider_telemetry::spans::{self, Cause};
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryTask, OutcomeReport, SlotTerms};
use serde::Serialize;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::attempt::{self, Attempted};
use crate::body::{Bodies, Body, NoBody};
use crate::breakers::Breakers;
use crate::clock::SteadyClock;
use crate::conclude::{self, Conclusion};
use crate::endpoints::{Away, Endpoints, Entry, Known, Loaded};
use crate::gate::{Answer, Permit};
use crate::interventions::{Interventions, Stale};
use crate::metrics::Metrics;
use crate::pace::{self, Ask, Carried, Slot, Turn};
use crate::prepared::Prepared;

/// A delivery whose endpoint cannot be looked up comes back after so long.
const AWAY_HOLD: Duration = Duration::from_secs(5);
/// A delivery whose endpoint this build cannot attempt comes back after so long.
const UNUSABLE_HOLD: Duration = Duration::from_secs(60);

/// Everything that handling a delivery needs.
pub(crate) struct Dispatcher {
    pub(crate) store: Store,
    pub(crate) egress: Egress,
    pub(crate) profiles: Arc<Profiles>,
    /// Where Pushover takes messages.
    pub(crate) pushover_url: Url,
    pub(crate) endpoints: Endpoints,
    pub(crate) breakers: Breakers,
    pub(crate) interventions: Interventions,
    pub(crate) bodies: Bodies,
    pub(crate) outcomes: BatchPublisher,
    pub(crate) delays: DelayPublisher,
    pub(crate) publish_state: watch::Receiver<PublishState>,
    /// How many dispatchers share the endpoints' rates.
    pub(crate) dispatchers: AtomicU32,
    /// Slots granted before are nobody's here.
    pub(crate) started_at: UnixMillis,
    /// Says what has expired.
    pub(crate) clock: SteadyClock,
    pub(crate) metrics: Arc<Metrics>,
    /// The configuration version in force here; 0 before the first.
    pub(crate) applied: watch::Sender<i64>,
    pub(crate) stop: CancellationToken,
}

/// A delivery that waits on the ladder.
struct Hold {
    /// Since when it was held before, and why.
    held: Option<(UnixMillis, HeldReason)>,
    /// The slot that it was granted, from now.
    slot_in: Duration,
    /// How long it stays away before it asks again.
    park_for: Duration,
    reason: HeldReason,
    /// The distance of two slots by the rate that granted it; zero when none did.
    interval: Duration,
}

/// What becomes of a delivery before its POST.
enum Passed {
    /// It may be sent.
    Go {
        permit: Permit,
        /// Since when it was held, and why.
        held: Option<(UnixMillis, HeldReason)>,
    },
    /// It waits elsewhere; that is confirmed.
    Elsewhere,
}

impl Dispatcher {
    /// Handles one member of a lane: when it returns `Ok`, everything that it caused is confirmed.
    pub(crate) async fn deliver(&self, lane: Lane, member: Member) -> Result<(), Unsettled> {
        // Boxed, as is all that rarely happens below: each delivery's task is copied when it is spawned.
        let (task, body) = Body::read(member)?;
        let event = task.traceparent.as_deref();
        let cause = if task.number == 1 { Cause::parent(event) } else { Cause::link(event) };
        let span = spans::process(Queue::Lane(lane).name(), &task.delivery.id, cause);
        self.handle(lane, task, body).instrument(span).await
    }

    async fn handle(&self, lane: Lane, task: Box<DeliveryTask>, body: Body) -> Result<(), Unsettled> {
        let now = UnixMillis::now();
        if let Some(stale) = self.interventions.check(&task) {
            self.metrics.stale.increment(1);
            return match stale {
                Stale::Superseded => Ok(()),
                Stale::Ended(status, reason) => Box::pin(self.end(*task, status, reason, now)).await,
            };
        }
        if self.clock.has_passed(task.expires_at, now) {
            return Box::pin(self.discard(*task, DiscardReason::Expired, now)).await;
        }
        let entry = self.endpoints.entry(task.delivery.endpoint);
        let known = match self.endpoints.known_now(&entry, task.config_version) {
            Some(known) => Ok(known),
            None => Box::pin(self.look_up(&entry, &task)).await,
        };
        let endpoint = match known {
            Ok(Known::Ready(endpoint)) => endpoint,
            Ok(Known::Deleted) => {
                self.breakers.close(task.delivery.endpoint, now);
                return Box::pin(self.discard(*task, DiscardReason::EndpointDeleted, now)).await;
            }
            Ok(Known::Unusable) => return Box::pin(self.come_back(lane, *task, body, UNUSABLE_HOLD)).await,
            Err(Away) => return Box::pin(self.come_back(lane, *task, body, AWAY_HOLD)).await,
        };
        if endpoint.status != EndpointStatus::Active && task.trigger != Trigger::Test {
            return Box::pin(self.discard(*task, DiscardReason::EndpointInactive, now)).await;
        }
        match self.pass(lane, &entry, &endpoint, &task, &body).await? {
            Passed::Elsewhere => Ok(()),
            Passed::Go { permit, held } => {
                let (profile, kind) = (&endpoint.profile, endpoint.body_kind);
                match self.bodies.ready(&body, &task, profile, kind, &self.metrics).await {
                    Ok(ready) => self.send(&entry, &endpoint, task, ready.bytes.clone(), permit, held).await,
                    Err(NoBody::Expunged) => Box::pin(self.discard(*task, DiscardReason::Expunged, now)).await,
                    Err(NoBody::NotNow(after)) => Box::pin(self.come_back(lane, *task, body, after)).await,
                }
            }
        }
    }

    /// Waits for its turn, in memory or elsewhere.
    async fn pass(
        &self,
        lane: Lane,
        entry: &Entry,
        endpoint: &Prepared,
        task: &DeliveryTask,
        body: &Body,
    ) -> Result<Passed, Unsettled> {
        let interval = pace::interval(endpoint.rate_per_second, self.dispatchers.load(Ordering::Relaxed));
        let DeliveryTask { slot_at, slot_terms: terms, held_since, held_reason: reason, .. } = *task;
        let carried = Carried { slot_at, terms, held_since, reason };
        let slot = Slot::of(&carried, UnixMillis::now(), self.started_at, interval);
        let mut ask = Ask { lane, slot, interval, waited: false, version: endpoint.version };
        let mut held = task.held_since.zip(task.held_reason);
        loop {
            if !self.is_publisher_up() {
                Box::pin(self.publisher_up()).await?;
            }
            match entry.gate.ask(&ask) {
                Answer::Go(permit) => return Ok(Passed::Go { permit, held }),
                Answer::WaitForSlot(wait, slot) => {
                    held.get_or_insert_with(|| (UnixMillis::now(), HeldReason::Rate));
                    tokio::time::sleep(wait).await;
                    ask.slot = slot;
                }
                Answer::WaitForPermit(permit) => {
                    held.get_or_insert_with(|| (UnixMillis::now(), HeldReason::Concurrency));
                    match permit.await {
                        Ok(permit) if self.is_publisher_up() => return Ok(Passed::Go { permit, held }),
                        Ok(permit) => drop(permit),
                        Err(_) => ask.waited = true,
                    }
                }
                Answer::Hold { slot_in, park_for, reason } => {
                    let interval = interval.filter(|_| reason == HeldReason::Rate).unwrap_or_default();
                    let hold = Hold { held, slot_in, park_for, reason, interval };
                    Box::pin(self.hold(lane, task, body, hold)).await?;
                    return Ok(Passed::Elsewhere);
                }
                Answer::MoveToSlowLane => {
                    let (held_since, reason) = held.unwrap_or((UnixMillis::now(), HeldReason::Breaker));
                    let moved = DeliveryTask {
                        held_since: Some(held_since),
                        held_reason: Some(reason),
                        moves: task.moves.saturating_add(1),
                        ..task.clone()
                    };
                    self.metrics.moved.increment(1);
                    let moved = body.to_lane(&moved)?;
                    Box::pin(self.delays.publish(Destination::Lane(Lane::Slow), moved)).await?;
                    return Ok(Passed::Elsewhere);
                }
            }
        }
    }

    /// Sends, reports, and arranges what follows.
    async fn send(
        &self,
        entry: &Entry,
        endpoint: &Prepared,
        task: Box<DeliveryTask>,
        body: Bytes,
        permit: Permit,
        held: Option<(UnixMillis, HeldReason)>,
    ) -> Result<(), Unsettled> {
        let attempted = attempt::make(&self.egress, &self.metrics, endpoint, &task, body.clone(), held).await;
        let Attempted { record, excerpt, retry_after, ended, ended_at, latency, trace } = attempted;
        let policy = endpoint.retry_policy();
        if let Some(wait) = conclude::asked_for_a_pause(record.status_code, retry_after, &policy) {
            entry.gate.pause(wait, endpoint.version);
        }
        let turn = permit.end(conclude::seen(record.outcome, record.status_code), latency);
        if turn != Turn::None {
            self.breakers.turn(task.delivery.endpoint, turn, record.outcome, ended_at);
        }
        // Drawn only where there is something to draw.
        let draw = if policy.jitter_max > 0.0 { rand::random::<f64>() } else { 0.0 };
        let conclusion = conclude::after_attempt(*task, record, retry_after, &policy, ended_at, draw).traced(trace);
        let Conclusion { report, next } = conclusion;
        endpoint.counts.after_attempt(report.status);
        let report = self.outcomes.publish(vec![encode(&report, excerpt)?]);
        let Some((next, delay)) = next else { return Ok(report.await?) };
        let lane = if entry.gate.is_slow() { Lane::Slow } else { next.lane };
        let next = Body::Whole(body).to_ladder(&next)?;
        // What has passed since the end counts, by the clock that does not jump; never early all the same.
        let rung = ladder::rung_at_least(delay.saturating_sub(ended.elapsed()));
        let retry = self.delays.publish(Destination::Rung { rung, lane }, next);
        self.metrics.retries.increment(1);
        Box::pin(async { tokio::try_join!(report, retry) }).await?;
        Ok(())
    }

    /// Sends a delivery to the ladder until shortly before its slot.
    async fn hold(&self, lane: Lane, task: &DeliveryTask, body: &Body, hold: Hold) -> Result<(), Unsettled> {
        let Hold { held, slot_in, park_for, reason, interval } = hold;
        let now = UnixMillis::now();
        let rung = rung_before(park_for.min(HOLD_MAX));
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let terms = SlotTerms {
            left_ms: millis(slot_in.saturating_sub(rung.delay())),
            interval_us: u64::try_from(interval.as_micros()).unwrap_or(u64::MAX),
        };
        let parked = DeliveryTask {
            slot_at: Some(now.plus(slot_in)),
            slot_terms: Some(terms),
            held_since: Some(held.map_or(now, |(since, _)| since)),
            held_reason: Some(reason),
            moves: task.moves.saturating_add(1),
            ..task.clone()
        };
        self.metrics.held(reason);
        self.park(lane, &parked, body, rung).await
    }

    /// Sends a delivery to the ladder because its endpoint or its body cannot be had yet. That costs no attempt.
    async fn come_back(&self, lane: Lane, task: DeliveryTask, body: Body, after: Duration) -> Result<(), Unsettled> {
        self.metrics.held_for_configuration.increment(1);
        let task = DeliveryTask { moves: task.moves.saturating_add(1), ..task };
        self.park(lane, &task, &body, rung_before(after)).await
    }

    async fn park(&self, lane: Lane, task: &DeliveryTask, body: &Body, rung: Rung) -> Result<(), Unsettled> {
        let member = body.to_ladder(task)?;
        Ok(self.delays.publish(Destination::Rung { rung, lane }, member).await?)
    }

    async fn discard(&self, task: DeliveryTask, reason: DiscardReason, at: UnixMillis) -> Result<(), Unsettled> {
        self.metrics.discarded(reason);
        self.end(task, DeliveryStatus::Discarded, Some(reason), at).await
    }

    async fn end(
        &self,
        task: DeliveryTask,
        status: DeliveryStatus,
        reason: Option<DiscardReason>,
        at: UnixMillis,
    ) -> Result<(), Unsettled> {
        let report: OutcomeReport = conclude::without_attempt(task, status, reason, at);
        Ok(self.outcomes.publish(vec![encode(&report, Bytes::new())?]).await?)
    }

    /// What is known about the endpoint of `task`.
    pub(crate) async fn look_up(&self, entry: &Entry, task: &DeliveryTask) -> Result<Known, Away> {
        let id = task.delivery.endpoint;
        let load = || async move {
            match self.store.endpoint_for_dispatch(id).await {
                Ok(None) => {
                    self.metrics.loads_ok.increment(1);
                    Ok(Loaded { known: Known::Deleted, config_version: task.config_version })
                }
                Ok(Some(endpoint)) => {
                    self.metrics.loads_ok.increment(1);
                    let config_version = endpoint.config_version;
                    let known = match Prepared::new(endpoint, &self.profiles, &self.pushover_url) {
                        Ok(prepared) => Known::Ready(Arc::new(prepared)),
                        Err(unusable) => {
                            tracing::warn!(endpoint.id = %id, reason = %unusable, "an endpoint cannot be attempted");
                            Known::Unusable
                        }
                    };
                    Ok(Loaded { known, config_version })
                }
                Err(error) => {
                    self.metrics.loads_failed.increment(1);
                    self.say_why(&error);
                    Err(Away)
                }
            }
        };
        self.endpoints.known(entry, task.config_version, load).await
    }

    /// At most once a second, since nobody asks the database more often after a failure.
    fn say_why(&self, error: &StoreError) {
        if error.is_unavailable() {
            tracing::debug!(%error, "cannot look an endpoint up");
        } else {
            tracing::warn!(%error, "cannot look an endpoint up");
        }
    }

    pub(crate) fn is_publisher_up(&self) -> bool {
        *self.publish_state.borrow() == PublishState::Up
    }

    /// Waits until outcomes can be published: no POST is made whose outcome would have to wait.
    async fn publisher_up(&self) -> Result<(), Unsettled> {
        if self.is_publisher_up() {
            return Ok(());
        }
        let mut state = self.publish_state.clone();
        tokio::select! {
            up = state.wait_for(|state| *state == PublishState::Up) => match up {
                Ok(_) => Ok(()),
                Err(_) => Err(Unsettled::Requeue("the publisher has ended".into())),
            },
            () = self.stop.cancelled() => Err(Unsettled::Requeue("stopped before the attempt".into())),
        }
    }

    /// What the feed said.
    pub(crate) fn apply(&self, changes: postrider_store::feed::Changes) {
        let postrider_store::feed::Changes { version, snapshot, endpoints_changed, interventions, .. } = changes;
        self.interventions.apply(interventions, snapshot, UnixMillis::now());
        self.endpoints.changed(version, (!snapshot).then_some(endpoints_changed.as_slice()));
        crate::metrics::config_version(version);
        self.applied.send_replace(version);
    }
}

/// The rung that ends next before `park_for`, so that a delivery surfaces before its slot; there is none below the lowest.
fn rung_before(park_for: Duration) -> Rung {
    ladder::rung_at_most(park_for).unwrap_or_else(|| ladder::rung_at_least(Duration::ZERO))
}

/// A head that we made is JSON; if it were not, the delivery would be for the operator to look at.
pub(crate) fn encode(head: &impl Serialize, payload: Bytes) -> Result<Member, Poison> {
    Member::new(head, payload).map_err(|error| Poison::new(format!("a head that cannot be written: {error}")))
}
