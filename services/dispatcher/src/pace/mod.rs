//! Whether a delivery may be attempted now: the pace of one endpoint, as a state machine without clock and without IO.
//!
//! Owns, per endpoint and dispatcher: its rate ([`gcra`]), its concurrency ([`window`]), its breaker and latency
//! ([`health`]), the pause that it asked for ([`pause`]), and the line of deliveries that are parked on the ladder ([`parked`]).
//!
//! Promises: a verdict never asks anybody to wait longer than [`IN_MEMORY_MAX`] in memory (somewhat longer while this very
//! process is what all are waiting for, see [`patience`]), nor a number of deliveries that grows with the backlog; a slow or broken endpoint sees no POST from the live and bulk lanes, and one at a time while its
//! breaker is open; a granted slot is used once. Does not: count across dispatchers (each grants its share of the rate),
//! nor promise order.

mod gcra;
mod health;
mod parked;
mod pause;
mod window;

use std::time::{Duration, Instant};

use postrider_model::breaker::BreakerState;
use postrider_model::delivery::{HeldReason, Lane};
use postrider_model::limits::HOLD_MAX;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::SlotTerms;

pub(crate) use gcra::interval;
pub(crate) use health::{Seen, Turn};
pub(crate) use window::Started;

use gcra::Gcra;
use health::Health;
use parked::{Looks, Parked, Place};
use pause::Pause;
use window::{OVERLOADED, STRAINED, Window};

/// Longest wait in memory; whoever waits longer does so on the ladder.
pub(crate) const IN_MEMORY_MAX: Duration = Duration::from_millis(250);
/// The same while this process is the limit: parking would only make more work, and let nobody else through.
const IN_MEMORY_STRAINED_MAX: Duration = Duration::from_secs(2);
/// … approached by so many times its lateness.
const PATIENCE_PER_LAG: u32 = 64;
/// A slot that was missed by more than this is granted anew.
const MISSED_AFTER: Duration = Duration::from_secs(1);
/// Deliveries that wait for an endpoint's rate look again after a tenth of a second for each slot before theirs …
const LOOKS_PER_SECOND: f64 = 10.0;
/// … and not sooner than this, unless their slot is.
const LOOK_AGAIN_MIN: Duration = Duration::from_secs(5);
/// Waits shorter than this are none: timers are no finer.
const NO_WAIT: Duration = Duration::from_millis(1);
/// Deliveries of one endpoint that wait in memory for its concurrency: so many, and so many more per POST allowed in flight.
const WAITING_MIN: u32 = 128;
const WAITING_PER_POST: u32 = 16;
/// How long a POST takes until one told.
const LATENCY_GUESS: Duration = Duration::from_millis(10);

/// The slot that a delivery was granted earlier and carried through the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// None was granted.
    None,
    /// It is still to come.
    Ahead {
        /// How far away it is.
        remaining: Duration,
        /// What it was granted for.
        reason: HeldReason,
        /// Whether a dispatcher granted it that is not this one or ran before it.
        foreign: bool,
    },
    /// It is now.
    Due {
        /// What it was granted for.
        reason: HeldReason,
        /// See [`Slot::Ahead`].
        foreign: bool,
    },
    /// It has passed for longer than a second.
    Missed,
}

/// What a delivery brings back from the ladder.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Carried {
    /// The slot, by the wall clock.
    pub(crate) slot_at: Option<UnixMillis>,
    /// What it was granted for; absent in messages of older releases.
    pub(crate) terms: Option<SlotTerms>,
    /// Since when it is held.
    pub(crate) held_since: Option<UnixMillis>,
    /// Why.
    pub(crate) reason: Option<HeldReason>,
}

impl Slot {
    /// What became of a slot by `now`. `foreign_before`: when this dispatcher started. `interval`: the distance of two slots today.
    ///
    /// The wall clock may have been set meanwhile: a slot is never further away than it was due to be when its delivery came
    /// back. The rate may have been edited: a slot stays as many slots away, and without a rate there is nothing to wait for.
    pub(crate) fn of(
        carried: &Carried,
        now: UnixMillis,
        foreign_before: UnixMillis,
        interval: Option<Duration>,
    ) -> Self {
        let Some(slot_at) = carried.slot_at else { return Self::None };
        let reason = carried.reason.unwrap_or(HeldReason::Rate);
        let foreign = carried.held_since.is_some_and(|since| since < foreign_before);
        if slot_at > now {
            let mut remaining = now.until(slot_at);
            if let Some(terms) = carried.terms {
                remaining = remaining.min(Duration::from_millis(terms.left_ms));
            }
            if reason == HeldReason::Rate {
                let Some(interval) = interval else { return Self::None };
                let before = carried.terms.map_or(Duration::ZERO, |terms| Duration::from_micros(terms.interval_us));
                remaining = gcra::rescaled(remaining, before, interval);
            }
            Self::Ahead { remaining, reason, foreign }
        } else if slot_at.until(now) <= MISSED_AFTER {
            Self::Due { reason, foreign }
        } else {
            Self::Missed
        }
    }
}

/// A delivery that asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// The lane that it came from.
    pub(crate) lane: Lane,
    /// The slot that it carries.
    pub(crate) slot: Slot,
    /// The distance of two slots by the endpoint's rate, see [`interval`].
    pub(crate) interval: Option<Duration>,
    /// Whether it has waited in memory for a permit already, in vain.
    pub(crate) waited: bool,
    /// The version of the endpoint's configuration.
    pub(crate) version: i64,
}

/// How long a delivery may wait in memory for a permit while this process is late by `lag`.
pub(crate) fn patience(lag: Duration) -> Duration {
    if lag < STRAINED { IN_MEMORY_MAX } else { (IN_MEMORY_MAX + lag * PATIENCE_PER_LAG).min(IN_MEMORY_STRAINED_MAX) }
}

/// How long a delivery whose slot by the rate is `slot_in` away stays on the ladder before it looks again: the further back in line,
/// the longer, so that an edit of the rate is felt soon and a long line does not circle all the time.
fn look_again(slot_in: Duration, interval: Option<Duration>) -> Duration {
    let ahead = slot_in.as_secs_f64() / interval.map_or(1.0, |interval| interval.as_secs_f64().max(1e-6));
    let look_again = Duration::try_from_secs_f64(ahead / LOOKS_PER_SECOND).unwrap_or(HOLD_MAX);
    slot_in.min(look_again.clamp(LOOK_AGAIN_MIN, HOLD_MAX))
}

/// What it is to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// Send now; the POST counts as in flight until [`Pace::end`].
    Go(Started),
    /// Wait in memory for so long (at most [`IN_MEMORY_MAX`]), then ask again with this slot.
    WaitForSlot(Duration, Slot),
    /// Wait in memory, in line, until [`Pace::admit`] lets one through (at most [`patience`]; see [`Pace::leave`]).
    WaitForPermit,
    /// Wait on the ladder.
    Hold {
        /// The slot that was granted, from now.
        slot_in: Duration,
        /// How long to stay away before asking again; at most `slot_in` and [`HOLD_MAX`].
        park_for: Duration,
        /// Why.
        reason: HeldReason,
    },
    /// Go to the slow lane and ask again there.
    MoveToSlowLane,
}

/// The pace of one endpoint.
#[derive(Debug)]
pub(crate) struct Pace {
    gcra: Gcra,
    window: Window,
    health: Health,
    parked: Parked,
    pause: Pause,
    /// Deliveries that were told [`Verdict::WaitForPermit`] and are neither admitted nor gone.
    waiting: u32,
    /// How late this process itself is.
    lag: Duration,
    /// The last answer.
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

    /// How late this process itself is, from now on: whatever takes longer because of that is not the endpoint's fault.
    pub(crate) fn set_lag(&mut self, lag: Duration) {
        self.lag = lag;
    }

    /// Whether a delivery may be attempted now.
    pub(crate) fn ask(&mut self, now: Instant, ask: &Ask) -> Verdict {
        if ask.lane != Lane::Slow && self.is_slow(now) {
            return Verdict::MoveToSlowLane;
        }
        if let Some(left) = self.pause.left(now, ask.version) {
            if left <= IN_MEMORY_MAX {
                return Verdict::WaitForSlot(left, ask.slot);
            }
            return Verdict::Hold { slot_in: left, park_for: left.min(HOLD_MAX), reason: HeldReason::Breaker };
        }
        let free = self.waiting == 0 && self.window.in_flight() < self.limit();
        match ask.slot {
            Slot::Ahead { remaining, reason: HeldReason::Rate, foreign } => {
                return if remaining > IN_MEMORY_MAX {
                    let park_for = look_again(remaining, ask.interval);
                    Verdict::Hold { slot_in: remaining, park_for, reason: HeldReason::Rate }
                } else {
                    Verdict::WaitForSlot(remaining, Slot::Due { reason: HeldReason::Rate, foreign })
                };
            }
            // A slot for concurrency is only there to spread the line: a free place is taken before it.
            Slot::Ahead { remaining, reason, .. } if !free && remaining > IN_MEMORY_MAX => {
                let looks = self.looks(now);
                let park_for = self.parked.park_for(remaining, looks);
                return Verdict::Hold { slot_in: remaining, park_for, reason };
            }
            _ => {}
        }
        if !free && !self.may_wait(now, ask) {
            let reason = if self.health.is_open() { HeldReason::Breaker } else { HeldReason::Concurrency };
            let (spacing, looks) = (self.spacing(now), self.looks(now));
            let Place { slot_in, park_for } = self.parked.park(now, spacing, self.waiting, looks);
            return Verdict::Hold { slot_in, park_for, reason };
        }
        if let Some(interval) = ask.interval {
            match ask.slot {
                Slot::Due { reason: HeldReason::Rate, foreign: true } => self.gcra.charge_foreign(now, interval),
                Slot::Due { reason: HeldReason::Rate, foreign: false } => {}
                _ => {
                    let wait = self.gcra.charge(now, interval);
                    if wait > IN_MEMORY_MAX {
                        let park_for = look_again(wait, Some(interval));
                        return Verdict::Hold { slot_in: wait, park_for, reason: HeldReason::Rate };
                    }
                    if wait >= NO_WAIT {
                        let granted = Slot::Due { reason: HeldReason::Rate, foreign: false };
                        return Verdict::WaitForSlot(wait, granted);
                    }
                }
            }
        }
        if free {
            return Verdict::Go(self.window.start(now));
        }
        self.waiting += 1;
        Verdict::WaitForPermit
    }

    /// The endpoint asked for a pause: no attempt by this version of its configuration, or an older one, begins for `wait`.
    pub(crate) fn pause(&mut self, now: Instant, wait: Duration, version: i64) {
        self.pause.begin(now, wait, version);
    }

    /// Lets the first in line through, if there is one and there is room. Call until it says no.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Started> {
        if self.waiting == 0 || self.window.in_flight() >= self.limit() || self.pause.is_on(now) {
            return None;
        }
        self.waiting -= 1;
        Some(self.window.start(now))
    }

    /// One that waited for a permit no longer does.
    pub(crate) fn leave(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// A POST ended, `seen` tells how; `None` when that is unknown (it was given up).
    pub(crate) fn end(&mut self, now: Instant, started: Started, seen: Option<(Seen, Duration)>) -> Turn {
        let mut turn = Turn::None;
        if let Some((seen, latency)) = seen {
            turn = self.health.see(seen, latency, self.lag);
            if seen == Seen::Answered {
                self.answered_at = Some(now);
            }
            match seen {
                Seen::Answered if !self.health.is_open() => self.window.grow(self.lag),
                Seen::TimedOut | Seen::Unreachable => self.window.cut(now, started),
                Seen::Answered | Seen::Unwell => {}
            }
            if turn == Turn::To(BreakerState::Closed) {
                self.parked.forget();
            }
        }
        self.window.end(now, started);
        turn
    }

    /// Another dispatcher says how the breaker is, by a POST that ended `age` ago. Returns `false` when that is contradicted:
    /// this one has seen an answer since, and its own breaker is closed.
    pub(crate) fn adopt(&mut self, now: Instant, breaker: BreakerState, age: Duration) -> bool {
        let answered_since = self.answered_at.is_some_and(|at| now.saturating_duration_since(at) < age);
        if breaker != BreakerState::Closed && !self.health.is_open() && answered_since {
            return false;
        }
        self.health.adopt(breaker);
        if breaker == BreakerState::Closed {
            self.parked.forget();
        }
        true
    }

    /// Whether the endpoint belongs to the slow lane: known slow or broken, or half of what it may have in flight is
    /// out for longer than a second and nothing more fits (unless that may be our own doing). One that has never answered
    /// needs only one such: a thousand dead endpoints would keep thousands of the live lane's places otherwise.
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

    /// Whether the breaker is open, or half open.
    #[cfg(test)]
    fn is_open(&self) -> bool {
        self.health.is_open()
    }

    /// POSTs that may be in flight now.
    fn limit(&self) -> u32 {
        if self.health.is_open() { 1 } else { self.window.limit() }
    }

    /// How long a POST takes: the average, or as long as nothing has come back from a full window.
    fn latency(&self, now: Instant) -> Duration {
        let known = self.health.latency().unwrap_or(LATENCY_GUESS);
        if self.window.in_flight() >= self.limit() { known.max(self.window.stalled_for(now)) } else { known }
    }

    /// How often those that are parked look again.
    fn looks(&mut self, now: Instant) -> Looks {
        if self.health.is_open() || self.is_slow(now) {
            return Looks::RARE;
        }
        Looks::at_speed(f64::from(window::CAP) / self.latency(now).as_secs_f64().max(1e-3))
    }

    /// The time between two POSTs that end.
    fn spacing(&self, now: Instant) -> Duration {
        self.latency(now) / self.limit()
    }

    /// Whether one more may wait in memory for a permit.
    fn may_wait(&mut self, now: Instant, ask: &Ask) -> bool {
        let strained = self.lag >= STRAINED;
        let line_max = WAITING_MIN + WAITING_PER_POST * self.window.limit();
        if ask.waited || (self.waiting >= line_max && !strained) {
            return false;
        }
        // Whoever is new goes behind those that are parked, or these would never find a place.
        let spacing = self.spacing(now);
        if ask.slot == Slot::None && self.parked.count(now, spacing) >= 1.0 {
            return false;
        }
        let rounds = self.window.rounds(self.waiting + 1, self.limit());
        self.latency(now).mul_f64(rounds) <= patience(self.lag)
    }
}

#[cfg(test)]
mod tests;
