//! The gate before one endpoint: its [pace](crate::pace), a lock around it, and the line of those that wait in memory.
//!
//! No timer a waiter: the line is in order of arrival, so a [`Sweeper`] that looks at its front now and then is enough.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_model::breaker::BreakerState;
use postrider_model::delivery::HeldReason;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::pace::{Ask, Pace, Seen, Slot, Started, Turn, Verdict, patience};
use crate::strain::Strain;

/// How often the fronts of the lines are looked at.
const SWEEP_EVERY: Duration = Duration::from_millis(25);
/// The right to one POST. Dropped without [`Permit::end`] it frees its place and tells the gate nothing about the endpoint.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    started: Option<Started>,
}

impl Permit {
    /// The POST ended; `latency` is how long it took.
    pub(crate) fn end(mut self, seen: Seen, latency: Duration) -> Turn {
        match self.started.take() {
            Some(started) => self.gate.end(started, Some((seen, latency))),
            None => Turn::None,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(started) = self.started.take() {
            self.gate.end(started, None);
        }
    }
}

/// What the gate says; see [`Verdict`].
#[derive(Debug)]
pub(crate) enum Answer {
    /// Send now.
    Go(Permit),
    /// Wait so long, then ask again with this slot.
    WaitForSlot(Duration, Slot),
    /// Wait for a permit; an error means that it took too long: ask again with [`Ask::waited`].
    WaitForPermit(oneshot::Receiver<Permit>),
    /// Wait on the ladder.
    Hold {
        /// The slot, from now.
        slot_in: Duration,
        /// How long to stay away.
        park_for: Duration,
        /// Why.
        reason: HeldReason,
    },
    /// Go to the slow lane.
    MoveToSlowLane,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    line: VecDeque<Waiter>,
    /// Whether the sweeper knows of the line.
    swept: bool,
}

#[derive(Debug)]
struct Waiter {
    permit: oneshot::Sender<Permit>,
    since: Instant,
}

/// The gate before one endpoint.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    sweeper: Sweeper,
    strain: Strain,
}

impl Gate {
    pub(crate) fn new(sweeper: Sweeper, strain: Strain) -> Arc<Self> {
        let state = State { pace: Pace::new(Instant::now()), line: VecDeque::new(), swept: false };
        Arc::new(Self { state: Mutex::new(state), sweeper, strain })
    }

    /// Asks for a POST.
    pub(crate) fn ask(self: &Arc<Self>, ask: &Ask) -> Answer {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.pace.set_lag(self.strain.lag());
        match state.pace.ask(now, ask) {
            Verdict::Go(started) => Answer::Go(self.permit(started)),
            Verdict::WaitForSlot(wait, slot) => Answer::WaitForSlot(wait, slot),
            Verdict::Hold { slot_in, park_for, reason } => Answer::Hold { slot_in, park_for, reason },
            Verdict::MoveToSlowLane => Answer::MoveToSlowLane,
            Verdict::WaitForPermit => {
                let (permit, granted) = oneshot::channel();
                state.line.push_back(Waiter { permit, since: now });
                let unknown = !std::mem::replace(&mut state.swept, true);
                drop(state);
                if unknown {
                    self.sweeper.add(Arc::downgrade(self));
                }
                Answer::WaitForPermit(granted)
            }
        }
    }

    /// The endpoint asked for a pause; see [`Pace::pause`].
    pub(crate) fn pause(&self, wait: Duration, version: i64) {
        self.state.lock().pace.pause(Instant::now(), wait, version);
    }

    /// Whether deliveries belong to the slow lane now.
    pub(crate) fn is_slow(&self) -> bool {
        self.state.lock().pace.is_slow(Instant::now())
    }

    /// Another dispatcher says how the breaker is; see [`Pace::adopt`].
    pub(crate) fn adopt(self: &Arc<Self>, breaker: BreakerState, age: Duration) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        let adopted = state.pace.adopt(now, breaker, age);
        self.admit(&mut state, now);
        adopted
    }

    fn permit(self: &Arc<Self>, started: Started) -> Permit {
        Permit { gate: Arc::clone(self), started: Some(started) }
    }

    fn end(self: &Arc<Self>, started: Started, seen: Option<(Seen, Duration)>) -> Turn {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.pace.set_lag(self.strain.lag());
        let turn = state.pace.end(now, started, seen);
        self.admit(&mut state, now);
        turn
    }

    /// Lets as many through as there is room for.
    fn admit(self: &Arc<Self>, state: &mut State, now: Instant) {
        while let Some(started) = state.pace.admit(now) {
            let Some(waiter) = state.line.pop_front() else {
                // The line and its count change together, so this does not happen; the place is not lost if it does.
                state.pace.end(now, started, None);
                return;
            };
            if let Err(mut unwanted) = waiter.permit.send(self.permit(started)) {
                // Whoever waited is gone. Its permit must not be dropped under the lock that its drop takes.
                unwanted.started = None;
                state.pace.end(now, started, None);
            }
        }
    }

    /// Sends away whoever has waited too long; tells whether anybody is left.
    fn sweep(&self, now: Instant) -> bool {
        // So early that, swept a little later, nobody has waited longer than it may.
        let give_up_after = patience(self.strain.lag()).saturating_sub(SWEEP_EVERY);
        let mut state = self.state.lock();
        while state.line.front().is_some_and(|waiter| now.saturating_duration_since(waiter.since) >= give_up_after) {
            state.line.pop_front();
            state.pace.leave();
        }
        state.swept = !state.line.is_empty();
        state.swept
    }
}

/// Looks at the lines of all gates. Clones share their state; [`Sweeper::run`] does the work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sweeper {
    shared: Arc<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    gates: Mutex<Vec<Weak<Gate>>>,
    some: Notify,
}

impl Sweeper {
    fn add(&self, gate: Weak<Gate>) {
        let mut gates = self.shared.gates.lock();
        gates.push(gate);
        if gates.len() == 1 {
            self.shared.some.notify_one();
        }
    }

    /// Sweeps until `stop`; idle while nobody waits.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        loop {
            if self.shared.gates.lock().is_empty() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.shared.some.notified() => {}
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
            let now = Instant::now();
            let mut gates = std::mem::take(&mut *self.shared.gates.lock());
            gates.retain(|gate| gate.upgrade().is_some_and(|gate| gate.sweep(now)));
            self.shared.gates.lock().append(&mut gates);
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::delivery::Lane;

    use super::*;

    const ASK: Ask = Ask { lane: Lane::Live, slot: Slot::None, interval: None, waited: false, version: 1 };

    fn go(gate: &Arc<Gate>) -> Permit {
        match gate.ask(&ASK) {
            Answer::Go(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn wait(gate: &Arc<Gate>) -> oneshot::Receiver<Permit> {
        match gate.ask(&ASK) {
            Answer::WaitForPermit(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn whoever_waits_is_let_through_in_order_when_a_post_ends() {
        let gate = Gate::new(Sweeper::default(), Strain::default());
        let (first, second) = (go(&gate), go(&gate));
        let (mut third, mut fourth, mut fifth) = (wait(&gate), wait(&gate), wait(&gate));
        first.end(Seen::Answered, Duration::from_millis(1));
        // One place became free, and the success made one more.
        let third = third.try_recv().unwrap();
        let fourth = fourth.try_recv().unwrap();
        assert!(fifth.try_recv().is_err());
        drop((second, third, fourth));
        fifth.try_recv().unwrap();
    }

    #[tokio::test]
    async fn a_waiter_that_left_and_a_permit_that_was_dropped_cost_no_place() {
        let gate = Gate::new(Sweeper::default(), Strain::default());
        let (first, second) = (go(&gate), go(&gate));
        drop(wait(&gate));
        let mut last = wait(&gate);
        drop(first);
        let last = last.try_recv().unwrap();
        drop((second, last));
        let _both = (go(&gate), go(&gate));
        wait(&gate);
    }

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_so() {
        let sweeper = Sweeper::default();
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (sweeper, stop) = (sweeper.clone(), stop.clone());
            async move { sweeper.run(stop).await }
        });
        let gate = Gate::new(sweeper, Strain::default());
        let _both = (go(&gate), go(&gate));
        let begun = Instant::now();
        assert!(wait(&gate).await.is_err());
        assert!(begun.elapsed() >= patience(Duration::ZERO) - SWEEP_EVERY);
        assert!(matches!(gate.ask(&Ask { waited: true, ..ASK }), Answer::Hold { .. }));
        stop.cancel();
        running.await.unwrap();
    }
}
