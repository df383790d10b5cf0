//! Decides whether a delivery may be attempted now. Each endpoint's pace is a state machine without clock and IO.
//!
//! Owns, per endpoint and dispatcher: the rate ([`gcra`]), the concurrency ([`window`]), the breaker and the latency
//! ([`health`]), the pause that the endpoint requested ([`pause`]), and the deliveries parked on the ladder ([`parked`]).
//!
//! # What it promises
//! - No delivery waits in memory longer than [`in_memory_max`]. The number of deliveries that wait in memory does not grow with
//!   the backlog.
//! - A slow or broken endpoint gets no POST from the live and bulk lanes. While its breaker is open, it gets one POST at a
//!   time.
//! - A granted slot is used once.
//!
//! # What it does not do
//! It does not count across dispatchers: each dispatcher grants its share of the rate. It does not preserve the order of
//! deliveries.

mod gcra;
mod health;
mod parked;
mod pause;
mod slot;
#[cfg(test)]
mod tests;
mod window;

use std::time::{Duration, Instant};

use postrider_model::breaker::BreakerState;
use postrider_model::delivery::{HeldReason, Lane};
use postrider_model::limits::HOLD_MAX;

pub(crate) use gcra::interval;
pub(crate) use health::{Observation, Transition};
pub(crate) use slot::{HeldSlot, SlotState};
pub(crate) use window::InFlight;

use gcra::Gcra;
use health::Health;
use parked::{Parked, ParkedPosition, RecheckRate};
use pause::Pause;
use window::{LAGGING, OVERLOADED, Window};

/// Maximum wait in memory. A delivery that must wait longer goes to the ladder.
const IN_MEMORY_MAX: Duration = Duration::from_millis(250);
/// Maximum wait in memory while this process is the bottleneck. Parking deliveries would then add work and free no capacity.
const IN_MEMORY_LAGGING_MAX: Duration = Duration::from_secs(2);
/// As the scheduler lag grows, the maximum wait grows from [`IN_MEMORY_MAX`] to [`IN_MEMORY_LAGGING_MAX`] by this multiple of
/// the lag.
const WAIT_PER_LAG: u32 = 64;
/// A delivery that is held for its endpoint's rate checks again after 0.1 s for every slot before its own slot …
const RECHECKS_PER_SECOND: f64 = 10.0;
/// … but not earlier than after this time, unless its slot is earlier.
const RECHECK_MIN: Duration = Duration::from_secs(5);
/// The resolution of timers. A shorter wait is skipped.
const TIMER_RESOLUTION: Duration = Duration::from_millis(1);
/// Maximum number of deliveries to an endpoint that wait in memory for a permit: this number …
const WAITING_MIN: u32 = 128;
/// … plus this number for each POST to the endpoint that may be in flight.
const WAITING_PER_POST: u32 = 16;
/// The latency that is assumed for an endpoint until its first POST has ended.
const LATENCY_GUESS: Duration = Duration::from_millis(10);

/// A delivery's request for an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PaceRequest {
    /// The lane from which the delivery was consumed.
    pub(crate) lane: Lane,
    /// The slot that was granted to the delivery, if any.
    pub(crate) slot: SlotState,
    /// The interval between slots at the endpoint's rate; see [`interval`].
    pub(crate) interval: Option<Duration>,
    /// Whether the delivery has already waited in memory for the maximum time.
    pub(crate) gave_up_waiting: bool,
    /// The version of the endpoint's configuration.
    pub(crate) version: i64,
    /// Set if the request is for a batch, or for a delivery that would join one.
    pub(crate) batch: Option<BatchSize>,
}

/// The size of a batch that requests an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSize {
    /// Number of deliveries in the batch that have no slot ahead.
    pub(crate) new_members: u32,
    /// Maximum number of deliveries in a batch of the endpoint.
    pub(crate) members_max: u32,
}

/// The answer to a request. `P` is a permit to make the POST. `W` receives a permit later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum PaceAnswer<P, W> {
    /// Make the POST now.
    Send(P),
    /// Wait in memory for this duration, then request again with this slot.
    WaitForSlot(Duration, SlotState),
    /// Wait in memory for a permit, behind earlier deliveries.
    WaitForPermit(W),
    /// Wait on the ladder.
    Hold(Hold),
    /// Move to the slow lane and request again there.
    MoveToSlowLane,
}

/// Where a delivery waits that may not join a batch now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// On the ladder.
    Ladder(Hold),
    /// In the slow lane.
    SlowLane,
}

/// A wait on the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    /// Time until the granted slot.
    pub(crate) slot_in: Duration,
    /// Time until the next request: at most `slot_in`, and at most [`HOLD_MAX`].
    pub(crate) park_for: Duration,
    pub(crate) reason: HeldReason,
}

/// Returns the maximum time that a delivery waits in memory for a permit at this scheduler lag.
pub(crate) fn in_memory_max(lag: Duration) -> Duration {
    if lag < LAGGING { IN_MEMORY_MAX } else { (IN_MEMORY_MAX + lag * WAIT_PER_LAG).min(IN_MEMORY_LAGGING_MAX) }
}

/// Holds a delivery on the ladder for a slot of the rate. The more slots are ahead, the later the delivery checks again. So an
/// edit of the rate takes effect soon, and a long line does not cause constant checks.
fn hold_for_rate(slot_in: Duration, interval: Option<Duration>) -> Hold {
    let slots_ahead = slot_in.as_secs_f64() / interval.map_or(1.0, |interval| interval.as_secs_f64().max(1e-6));
    let recheck = Duration::try_from_secs_f64(slots_ahead / RECHECKS_PER_SECOND).unwrap_or(HOLD_MAX);
    let park_for = slot_in.min(recheck.clamp(RECHECK_MIN, HOLD_MAX));
    Hold { slot_in, park_for, reason: HeldReason::Rate }
}

/// The pace of one endpoint.
#[derive(Debug)]
pub(crate) struct Pace {
    gcra: Gcra,
    window: Window,
    health: Health,
    parked: Parked,
    pause: Pause,
    /// Number of deliveries that wait in line for a permit.
    waiting: u32,
    /// The scheduler lag of this process.
    lag: Duration,
    /// The time at which the endpoint last sent an answer other than 429 or 5xx.
    answered_at: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            gcra: Gcra::default(),
            window: Window::new(now),
            health: Health::default(),
            parked: Parked::new(now),
            pause: Pause::default(),
            waiting: 0,
            lag: Duration::ZERO,
            answered_at: None,
        }
    }

    /// Sets the scheduler lag. The part of a latency that the lag explains does not count against the endpoint.
    pub(crate) fn set_lag(&mut self, lag: Duration) {
        self.lag = lag;
    }

    /// Decides whether a delivery may be attempted now. [`PaceAnswer::Send`] counts a POST as in flight until [`Pace::end`];
    /// [`PaceAnswer::WaitForPermit`] counts the delivery as waiting until [`Pace::grant_next`] or [`Pace::give_up`].
    pub(crate) fn request(&mut self, now: Instant, request: &PaceRequest) -> PaceAnswer<InFlight, ()> {
        if request.lane != Lane::Slow && self.is_slow(now) {
            return PaceAnswer::MoveToSlowLane;
        }
        if let Some(left) = self.pause.left(now, request.version) {
            if left <= IN_MEMORY_MAX {
                return PaceAnswer::WaitForSlot(left, request.slot);
            }
            let park_for = left.min(HOLD_MAX);
            return PaceAnswer::Hold(Hold { slot_in: left, park_for, reason: HeldReason::Breaker });
        }
        let free = self.waiting == 0 && self.window.in_flight() < self.limit();
        match request.slot {
            SlotState::Ahead { remaining, reason: HeldReason::Rate, foreign } => {
                return if remaining > IN_MEMORY_MAX {
                    PaceAnswer::Hold(hold_for_rate(remaining, request.interval))
                } else {
                    PaceAnswer::WaitForSlot(remaining, SlotState::Due { reason: HeldReason::Rate, foreign })
                };
            }
            // A slot for concurrency only spreads deliveries over time. If there is free capacity, the delivery does not wait
            // for its slot.
            SlotState::Ahead { remaining, reason, .. } if !free && remaining > IN_MEMORY_MAX => {
                let rate = self.recheck_rate(now);
                let park_for = self.parked.park_for(remaining, rate);
                return PaceAnswer::Hold(Hold { slot_in: remaining, park_for, reason });
            }
            _ => {}
        }
        if !free && !self.may_wait(now, request) {
            return PaceAnswer::Hold(self.park(now, request));
        }
        if let Some(wait) = self.charge_rate(now, request) {
            return wait;
        }
        if free {
            return PaceAnswer::Send(self.window.start(now));
        }
        self.waiting += 1;
        PaceAnswer::WaitForPermit(())
    }

    /// Decides whether a delivery may join a batch. Returns where it waits if it may not: behind the parked deliveries of the
    /// endpoint, until the pause ends, or in the slow lane.
    pub(crate) fn admit(&mut self, now: Instant, request: &PaceRequest) -> Option<Elsewhere> {
        if request.lane != Lane::Slow && self.is_slow(now) {
            return Some(Elsewhere::SlowLane);
        }
        if let Some(left) = self.pause.left(now, request.version).filter(|left| *left > IN_MEMORY_MAX) {
            let park_for = left.min(HOLD_MAX);
            return Some(Elsewhere::Ladder(Hold { slot_in: left, park_for, reason: HeldReason::Breaker }));
        }
        let rate_allows = request.interval.is_none_or(|interval| self.gcra.wait(now, interval) <= IN_MEMORY_MAX);
        if rate_allows && self.waiting == 0 && self.window.in_flight() < self.limit() {
            return None;
        }
        match request.slot {
            SlotState::Ahead { remaining, .. } if remaining > IN_MEMORY_MAX => {
                let rate = self.recheck_rate_of(now, request);
                let park_for = self.parked.park_for(remaining, rate);
                Some(Elsewhere::Ladder(Hold { slot_in: remaining, park_for, reason: HeldReason::Concurrency }))
            }
            SlotState::None if self.parked.count(now, self.spacing(now, request)) >= 1.0 => {
                Some(Elsewhere::Ladder(self.park(now, request)))
            }
            _ => None,
        }
    }

    /// Parks a delivery, or the members of a batch, behind the parked deliveries of the endpoint.
    pub(crate) fn park(&mut self, now: Instant, request: &PaceRequest) -> Hold {
        let reason = if self.health.is_open() { HeldReason::Breaker } else { HeldReason::Concurrency };
        let (spacing, rate) = (self.spacing(now, request), self.recheck_rate_of(now, request));
        let waiting = self.waiting.saturating_mul(request.batch.map_or(1, |batch| batch.members_max));
        let new = request.batch.map_or(1, |batch| batch.new_members);
        let ParkedPosition { slot_in, park_for } = self.parked.park(now, spacing, waiting, rate, new);
        // The members of a batch have no slot of the rate, so they wait at least until the next one.
        let next = request.batch.and(request.interval).map_or(Duration::ZERO, |interval| self.gcra.wait(now, interval));
        if next <= slot_in {
            return Hold { slot_in, park_for, reason };
        }
        Hold { slot_in: next, park_for: self.parked.park_for(next, rate), reason }
    }

    /// Charges the endpoint's rate for an attempt, unless the delivery has a slot that is due. `None` means that the attempt
    /// may start now.
    fn charge_rate(&mut self, now: Instant, request: &PaceRequest) -> Option<PaceAnswer<InFlight, ()>> {
        let interval = request.interval?;
        if let SlotState::Due { reason: HeldReason::Rate, foreign } = request.slot {
            if foreign {
                self.gcra.charge_foreign(now, interval);
            }
            return None;
        }
        // A batch gets no slot of the rate for later: its members return one by one, and may meet in other batches then.
        if request.batch.is_some() && self.gcra.wait(now, interval) > IN_MEMORY_MAX {
            return Some(PaceAnswer::Hold(self.park(now, request)));
        }
        let wait = self.gcra.charge(now, interval);
        if wait > IN_MEMORY_MAX {
            return Some(PaceAnswer::Hold(hold_for_rate(wait, Some(interval))));
        }
        let granted = SlotState::Due { reason: HeldReason::Rate, foreign: false };
        (wait >= TIMER_RESOLUTION).then_some(PaceAnswer::WaitForSlot(wait, granted))
    }

    /// Pauses the endpoint: no attempt starts during the next `wait`. A configuration of the endpoint newer than `version` ends
    /// the pause.
    pub(crate) fn pause(&mut self, now: Instant, wait: Duration, version: i64) {
        self.pause.begin(now, wait, version);
    }

    /// Starts a POST for the first waiting delivery, if there is one and it may be sent. Call this function until it returns
    /// `None`.
    pub(crate) fn grant_next(&mut self, now: Instant) -> Option<InFlight> {
        if self.waiting == 0 || self.window.in_flight() >= self.limit() || self.pause.is_on(now) {
            return None;
        }
        self.waiting -= 1;
        Some(self.window.start(now))
    }

    /// Records that a delivery in line stopped waiting.
    pub(crate) fn give_up(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Ends a POST. `observed` contains what the POST indicated about the endpoint, and its latency. It is `None` if the POST
    /// was abandoned.
    pub(crate) fn end(
        &mut self,
        now: Instant,
        post: InFlight,
        observed: Option<(Observation, Duration)>,
    ) -> Transition {
        let mut transition = Transition::None;
        if let Some((observation, latency)) = observed {
            transition = self.health.observe(observation, latency, self.lag);
            match observation {
                Observation::Answered => {
                    self.answered_at = Some(now);
                    if !self.health.is_open() {
                        self.window.grow(self.lag);
                    }
                }
                Observation::TimedOut | Observation::Unreachable => self.window.cut(now, post),
                Observation::ErrorStatus => {}
            }
            if transition == Transition::To(BreakerState::Closed) {
                self.parked.clear();
            }
        }
        self.window.end(now, post);
        transition
    }

    /// Applies a breaker state of another dispatcher. The state is the result of a POST that ended `age` ago. Changes nothing
    /// and returns `false` if this dispatcher's breaker is closed and the endpoint answered this dispatcher after that POST.
    pub(crate) fn adopt(&mut self, now: Instant, breaker: BreakerState, age: Duration) -> bool {
        let answered_since = self.answered_at.is_some_and(|at| now.saturating_duration_since(at) < age);
        if breaker != BreakerState::Closed && !self.health.is_open() && answered_since {
            return false;
        }
        self.health.adopt(breaker);
        if breaker == BreakerState::Closed {
            self.parked.clear();
        }
        true
    }

    /// Whether deliveries to the endpoint belong to the slow lane.
    ///
    /// An endpoint belongs to the slow lane if it is slow or broken. It also does if its window is full and at least half of
    /// its POSTs have been in flight for over a second, unless this process may be the cause. If an endpoint has never
    /// answered, one such POST is enough. Otherwise a thousand dead endpoints would occupy thousands of the live lane's members
    /// in flight.
    pub(crate) fn is_slow(&mut self, now: Instant) -> bool {
        if self.health.is_slow() {
            return true;
        }
        if self.lag >= OVERLOADED {
            return false;
        }
        let old = self.window.old(now);
        let stuck = self.window.in_flight() >= self.window.limit() && old * 2 >= self.window.limit();
        stuck || (old > 0 && self.answered_at.is_none())
    }

    /// Returns the maximum number of POSTs in flight now.
    fn limit(&self) -> u32 {
        if self.health.is_open() { 1 } else { self.window.limit() }
    }

    /// Returns the expected latency: the average latency, or the time since a full window last changed if that time is longer.
    fn latency(&self, now: Instant) -> Duration {
        let known = self.health.latency().unwrap_or(LATENCY_GUESS);
        if self.window.in_flight() >= self.limit() { known.max(self.window.stalled_for(now)) } else { known }
    }

    /// Returns the rate at which parked deliveries check again.
    fn recheck_rate(&mut self, now: Instant) -> RecheckRate {
        if self.is_slow(now) {
            return RecheckRate::SLOW;
        }
        RecheckRate::at_speed(f64::from(window::CAP) / self.latency(now).as_secs_f64().max(1e-3))
    }

    /// Returns the rate at which parked deliveries of a batched endpoint check again: for a limited rate, about as many as its
    /// requests can carry.
    fn recheck_rate_of(&mut self, now: Instant, request: &PaceRequest) -> RecheckRate {
        let rate = self.recheck_rate(now);
        match request.batch.zip(request.interval) {
            Some((batch, interval)) if rate != RecheckRate::SLOW => {
                RecheckRate::at_speed(2.0 * f64::from(batch.members_max) / interval.as_secs_f64().max(1e-3))
            }
            _ => rate,
        }
    }

    /// Returns the expected time between the ends of two POSTs. For a batched endpoint, the time is divided by the number of
    /// deliveries in a POST.
    fn spacing(&self, now: Instant, request: &PaceRequest) -> Duration {
        let posts = self.latency(now) / self.limit();
        match request.batch {
            Some(batch) => posts.max(request.interval.unwrap_or_default()) / batch.members_max.max(1),
            None => posts,
        }
    }

    /// Whether one more delivery may wait in memory for a permit.
    fn may_wait(&mut self, now: Instant, request: &PaceRequest) -> bool {
        let waiting_max = WAITING_MIN + WAITING_PER_POST * self.window.limit();
        if request.gave_up_waiting || (self.waiting >= waiting_max && self.lag < LAGGING) {
            return false;
        }
        // A new delivery queues behind the parked deliveries. Otherwise the parked deliveries would never be admitted.
        // The members of a batch were admitted one by one.
        let spacing = self.spacing(now, request);
        if request.batch.is_none() && request.slot == SlotState::None && self.parked.count(now, spacing) >= 1.0 {
            return false;
        }
        let rounds = self.window.rounds(self.waiting + 1, self.limit());
        self.latency(now).mul_f64(rounds) <= in_memory_max(self.lag)
    }
}
