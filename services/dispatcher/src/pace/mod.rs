//! Decides whether a delivery may be attempted now: the pace of one endpoint, as a state machine without clock and IO.
//!
//! Owns, per endpoint and dispatcher: the rate ([`gcra`]), the concurrency ([`window`]), the breaker and the latency
//! ([`health`]), the pause that the endpoint requested ([`pause`]), and the deliveries parked on the ladder ([`parked`]).
//!
//! # What it promises
//! - No delivery waits in memory longer than [`in_memory_max`]. The number of waiting deliveries does not grow with the backlog.
//! - A slow or broken endpoint gets no POST from the live and bulk lanes, and one at a time while its breaker is open.
//! - A granted slot is used once.
//!
//! # What it does not
//! It does not count across dispatchers (each grants its share of the rate), and promises no order.

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

/// Longest wait in memory; a longer wait is spent on the ladder.
const IN_MEMORY_MAX: Duration = Duration::from_millis(250);
/// The same while this process itself is the bottleneck: parking would add work and free nothing.
const IN_MEMORY_LAGGING_MAX: Duration = Duration::from_secs(2);
/// The wait grows from the first to the second by this factor of the scheduler lag.
const WAIT_PER_LAG: u32 = 64;
/// Deliveries held for an endpoint's rate look again after a tenth of a second per slot before theirs …
const RECHECKS_PER_SECOND: f64 = 10.0;
/// … and after at least this, unless their slot comes first.
const RECHECK_MIN: Duration = Duration::from_secs(5);
/// Timers are no finer; a shorter wait is skipped.
const TIMER_RESOLUTION: Duration = Duration::from_millis(1);
/// Most deliveries of an endpoint that wait in memory for a permit: this many …
const WAITING_MIN: u32 = 128;
/// … and this many more for each POST that may be in flight.
const WAITING_PER_POST: u32 = 16;
/// The assumed latency of an endpoint before its first POST ends.
const LATENCY_GUESS: Duration = Duration::from_millis(10);

/// A delivery's request to be attempted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdmissionRequest {
    /// The lane it came from.
    pub(crate) lane: Lane,
    /// The slot it carries.
    pub(crate) slot: SlotState,
    /// The interval of slots at the endpoint's rate, see [`interval`].
    pub(crate) interval: Option<Duration>,
    /// Whether it has waited in memory for a permit already, for as long as allowed.
    pub(crate) gave_up_waiting: bool,
    /// The version of the endpoint's configuration.
    pub(crate) version: i64,
}

/// The answer: `P` is the right to send, `W` what a delivery waits on for a permit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Admission<P, W> {
    /// Send now.
    Send(P),
    /// Wait in memory for this long, then request again with this slot.
    WaitForSlot(Duration, SlotState),
    /// Wait in memory, in line, for a permit.
    WaitForPermit(W),
    /// Wait on the ladder.
    Hold(Hold),
    /// Go to the slow lane and request again there.
    MoveToSlowLane,
}

/// A wait on the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The granted slot, from now.
    pub(crate) slot_in: Duration,
    /// How long to wait before the next request; at most `slot_in` and [`HOLD_MAX`].
    pub(crate) park_for: Duration,
    pub(crate) reason: HeldReason,
}

/// Longest time that a delivery waits in memory for a permit at this scheduler lag.
pub(crate) fn in_memory_max(lag: Duration) -> Duration {
    if lag < LAGGING { IN_MEMORY_MAX } else { (IN_MEMORY_MAX + lag * WAIT_PER_LAG).min(IN_MEMORY_LAGGING_MAX) }
}

/// A wait on the ladder for a slot of the rate. A delivery further back looks again later, so that an edit of the rate takes
/// effect soon while a long line does not circle all the time.
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
    /// Deliveries that wait in line for a permit.
    waiting: u32,
    /// The scheduler lag of this process.
    lag: Duration,
    /// When the endpoint last answered without an error status.
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

    /// Sets the scheduler lag. Latency that it explains is not blamed on the endpoint.
    pub(crate) fn set_lag(&mut self, lag: Duration) {
        self.lag = lag;
    }

    /// Whether a delivery may be attempted now. After [`Admission::Send`] the POST counts as in flight until [`Pace::end`];
    /// after [`Admission::WaitForPermit`] the delivery counts as waiting until [`Pace::admit_next`] or [`Pace::give_up`].
    pub(crate) fn request(&mut self, now: Instant, request: &AdmissionRequest) -> Admission<InFlight, ()> {
        if request.lane != Lane::Slow && self.is_slow(now) {
            return Admission::MoveToSlowLane;
        }
        if let Some(left) = self.pause.left(now, request.version) {
            if left <= IN_MEMORY_MAX {
                return Admission::WaitForSlot(left, request.slot);
            }
            let park_for = left.min(HOLD_MAX);
            return Admission::Hold(Hold { slot_in: left, park_for, reason: HeldReason::Breaker });
        }
        let free = self.waiting == 0 && self.window.in_flight() < self.limit();
        match request.slot {
            SlotState::Ahead { remaining, reason: HeldReason::Rate, foreign } => {
                return if remaining > IN_MEMORY_MAX {
                    Admission::Hold(hold_for_rate(remaining, request.interval))
                } else {
                    Admission::WaitForSlot(remaining, SlotState::Due { reason: HeldReason::Rate, foreign })
                };
            }
            // A slot for concurrency only spreads the line: capacity that is free now is used before it.
            SlotState::Ahead { remaining, reason, .. } if !free && remaining > IN_MEMORY_MAX => {
                let rate = self.recheck_rate(now);
                let park_for = self.parked.park_for(remaining, rate);
                return Admission::Hold(Hold { slot_in: remaining, park_for, reason });
            }
            _ => {}
        }
        if !free && !self.may_wait(now, request) {
            let reason = if self.health.is_open() { HeldReason::Breaker } else { HeldReason::Concurrency };
            let (spacing, rate) = (self.spacing(now), self.recheck_rate(now));
            let ParkedPosition { slot_in, park_for } = self.parked.park(now, spacing, self.waiting, rate);
            return Admission::Hold(Hold { slot_in, park_for, reason });
        }
        if let Some(wait) = self.charge_rate(now, request) {
            return wait;
        }
        if free {
            return Admission::Send(self.window.start(now));
        }
        self.waiting += 1;
        Admission::WaitForPermit(())
    }

    /// Charges the endpoint's rate for an attempt, unless the delivery brings a slot. `None`: it may be attempted now.
    fn charge_rate(&mut self, now: Instant, request: &AdmissionRequest) -> Option<Admission<InFlight, ()>> {
        let interval = request.interval?;
        if let SlotState::Due { reason: HeldReason::Rate, foreign } = request.slot {
            if foreign {
                self.gcra.charge_foreign(now, interval);
            }
            return None;
        }
        let wait = self.gcra.charge(now, interval);
        if wait > IN_MEMORY_MAX {
            return Some(Admission::Hold(hold_for_rate(wait, Some(interval))));
        }
        let granted = SlotState::Due { reason: HeldReason::Rate, foreign: false };
        (wait >= TIMER_RESOLUTION).then_some(Admission::WaitForSlot(wait, granted))
    }

    /// The endpoint requested a pause: for `wait`, no attempt begins with this or an older version of its configuration.
    pub(crate) fn pause(&mut self, now: Instant, wait: Duration, version: i64) {
        self.pause.begin(now, wait, version);
    }

    /// Admits the first delivery in line, if there is one and it may be sent. Call until it returns `None`.
    pub(crate) fn admit_next(&mut self, now: Instant) -> Option<InFlight> {
        if self.waiting == 0 || self.window.in_flight() >= self.limit() || self.pause.is_on(now) {
            return None;
        }
        self.waiting -= 1;
        Some(self.window.start(now))
    }

    /// A delivery in line stopped waiting.
    pub(crate) fn give_up(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// A POST ended. `observed`: what it said about the endpoint, and its latency; `None` if it was abandoned.
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

    /// Takes over a breaker state of another dispatcher, known by a POST that ended `age` ago. Returns `false` if this
    /// dispatcher knows better: its breaker is closed, and the endpoint has answered here since.
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

    /// Whether the endpoint belongs to the slow lane.
    ///
    /// It does when it is known to be slow or broken. It also does when its window is full and half of it has been in flight
    /// for over a second, unless this process may be the cause. For an endpoint that has never answered, one such POST is
    /// enough: otherwise a thousand dead endpoints would occupy thousands of places of the live lane.
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

    /// POSTs that may be in flight now.
    fn limit(&self) -> u32 {
        if self.health.is_open() { 1 } else { self.window.limit() }
    }

    /// The expected latency: the average, or longer while a full window makes no progress.
    fn latency(&self, now: Instant) -> Duration {
        let known = self.health.latency().unwrap_or(LATENCY_GUESS);
        if self.window.in_flight() >= self.limit() { known.max(self.window.stalled_for(now)) } else { known }
    }

    /// How often parked deliveries look again.
    fn recheck_rate(&mut self, now: Instant) -> RecheckRate {
        if self.is_slow(now) {
            return RecheckRate::SLOW;
        }
        RecheckRate::at_speed(f64::from(window::CAP) / self.latency(now).as_secs_f64().max(1e-3))
    }

    /// The expected time between two POSTs that end.
    fn spacing(&self, now: Instant) -> Duration {
        self.latency(now) / self.limit()
    }

    /// Whether one more delivery may wait in memory for a permit.
    fn may_wait(&mut self, now: Instant, request: &AdmissionRequest) -> bool {
        let waiting_max = WAITING_MIN + WAITING_PER_POST * self.window.limit();
        if request.gave_up_waiting || (self.waiting >= waiting_max && self.lag < LAGGING) {
            return false;
        }
        // A new delivery goes behind the parked ones, or they would never find a place.
        let spacing = self.spacing(now);
        if request.slot == SlotState::None && self.parked.count(now, spacing) >= 1.0 {
            return false;
        }
        let rounds = self.window.rounds(self.waiting + 1, self.limit());
        self.latency(now).mul_f64(rounds) <= in_memory_max(self.lag)
    }
}
