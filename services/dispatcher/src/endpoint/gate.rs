//! The gate of one endpoint: its [pace](crate::pace) behind a lock, and the deliveries that wait in memory for a permit.
//!
//! Deliveries wait in order of arrival, so no waiter needs a timer: one [`Sweeper`] checks the first waiter of every gate.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_model::breaker::BreakerState;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::pace::{Admission, AdmissionRequest, InFlight, Observation, Pace, Transition, in_memory_max};
use crate::scheduler_lag::SchedulerLag;

/// How often the sweeper checks the gates.
const SWEEP_EVERY: Duration = Duration::from_millis(25);

/// The right to make one POST. If it is dropped without [`Permit::end`], the POST counts as abandoned.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    post: Option<InFlight>,
}

impl Permit {
    /// Ends the POST, which took `latency`.
    pub(crate) fn end(mut self, observation: Observation, latency: Duration) -> Transition {
        match self.post.take() {
            Some(post) => self.gate.end(post, Some((observation, latency))),
            None => Transition::None,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(post) = self.post.take() {
            self.gate.end(post, None);
        }
    }
}

/// Receives a permit when it is this delivery's turn. An error means that it has waited too long and must request again with
/// [`AdmissionRequest::gave_up_waiting`].
pub(crate) type PendingPermit = oneshot::Receiver<Permit>;

#[derive(Debug)]
struct State {
    pace: Pace,
    line: VecDeque<Waiter>,
    /// Whether the sweeper's list contains this gate.
    swept: bool,
}

#[derive(Debug)]
struct Waiter {
    permit: oneshot::Sender<Permit>,
    since: Instant,
}

/// The gate of one endpoint.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    sweeper: Sweeper,
    scheduler_lag: SchedulerLag,
}

impl Gate {
    pub(crate) fn new(sweeper: Sweeper, scheduler_lag: SchedulerLag) -> Arc<Self> {
        let state = State { pace: Pace::new(Instant::now()), line: VecDeque::new(), swept: false };
        Arc::new(Self { state: Mutex::new(state), sweeper, scheduler_lag })
    }

    /// Requests the right to make a POST.
    pub(crate) fn request(self: &Arc<Self>, request: &AdmissionRequest) -> Admission<Permit, PendingPermit> {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.pace.set_lag(self.scheduler_lag.average());
        match state.pace.request(now, request) {
            Admission::Send(post) => Admission::Send(self.permit(post)),
            Admission::WaitForSlot(wait, slot) => Admission::WaitForSlot(wait, slot),
            Admission::Hold(hold) => Admission::Hold(hold),
            Admission::MoveToSlowLane => Admission::MoveToSlowLane,
            Admission::WaitForPermit(()) => {
                let (permit, pending) = oneshot::channel();
                state.line.push_back(Waiter { permit, since: now });
                let is_new = !std::mem::replace(&mut state.swept, true);
                drop(state);
                if is_new {
                    self.sweeper.add(Arc::downgrade(self));
                }
                Admission::WaitForPermit(pending)
            }
        }
    }

    /// Applies a pause that the endpoint requested; see [`Pace::pause`].
    pub(crate) fn pause(&self, wait: Duration, version: i64) {
        self.state.lock().pace.pause(Instant::now(), wait, version);
    }

    /// Whether the endpoint belongs to the slow lane now.
    pub(crate) fn is_slow(&self) -> bool {
        self.state.lock().pace.is_slow(Instant::now())
    }

    /// Applies another dispatcher's breaker state; see [`Pace::adopt`].
    pub(crate) fn adopt(self: &Arc<Self>, breaker: BreakerState, age: Duration) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        let adopted = state.pace.adopt(now, breaker, age);
        self.admit(&mut state, now);
        adopted
    }

    fn permit(self: &Arc<Self>, post: InFlight) -> Permit {
        Permit { gate: Arc::clone(self), post: Some(post) }
    }

    fn end(self: &Arc<Self>, post: InFlight, observed: Option<(Observation, Duration)>) -> Transition {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.pace.set_lag(self.scheduler_lag.average());
        let transition = state.pace.end(now, post, observed);
        self.admit(&mut state, now);
        transition
    }

    /// Gives permits to the first waiters while further POSTs may start.
    fn admit(self: &Arc<Self>, state: &mut State, now: Instant) {
        while let Some(post) = state.pace.admit_next(now) {
            let Some(waiter) = state.line.pop_front() else {
                // Unreachable: the line and its count change together. If it happens, the POST does not stay in flight.
                state.pace.end(now, post, None);
                return;
            };
            if let Err(mut unwanted) = waiter.permit.send(self.permit(post)) {
                // The waiter is gone. Dropping its permit would deadlock, because it takes the lock that is held here.
                unwanted.post = None;
                state.pace.end(now, post, None);
            }
        }
    }

    /// Ends waits that took too long. Returns whether a delivery still waits.
    fn sweep(&self, now: Instant) -> bool {
        // The limit is one sweep early, so that no wait exceeds the maximum.
        let give_up_after = in_memory_max(self.scheduler_lag.average()).saturating_sub(SWEEP_EVERY);
        let mut state = self.state.lock();
        while state.line.front().is_some_and(|waiter| now.saturating_duration_since(waiter.since) >= give_up_after) {
            state.line.pop_front();
            state.pace.give_up();
        }
        state.swept = !state.line.is_empty();
        state.swept
    }
}

/// Ends long waits at all gates while [`Sweeper::run`] runs. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sweeper {
    shared: Arc<Gates>,
}

/// The gates with waiting deliveries.
#[derive(Debug, Default)]
struct Gates {
    gates: Mutex<Vec<Weak<Gate>>>,
    added: Notify,
}

impl Sweeper {
    fn add(&self, gate: Weak<Gate>) {
        let mut gates = self.shared.gates.lock();
        gates.push(gate);
        if gates.len() == 1 {
            self.shared.added.notify_one();
        }
    }

    /// Sweeps until `stop`. Sleeps while no delivery waits.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        loop {
            if self.shared.gates.lock().is_empty() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.shared.added.notified() => {}
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
    use crate::pace::SlotState;

    const REQUEST: AdmissionRequest = AdmissionRequest {
        lane: Lane::Live,
        slot: SlotState::None,
        interval: None,
        gave_up_waiting: false,
        version: 1,
    };

    fn go(gate: &Arc<Gate>) -> Permit {
        match gate.request(&REQUEST) {
            Admission::Send(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn wait(gate: &Arc<Gate>) -> PendingPermit {
        match gate.request(&REQUEST) {
            Admission::WaitForPermit(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn waiters_get_permits_in_order_when_a_post_ends() {
        let gate = Gate::new(Sweeper::default(), SchedulerLag::default());
        let (first, second) = (go(&gate), go(&gate));
        let (mut third, mut fourth, mut fifth) = (wait(&gate), wait(&gate), wait(&gate));
        first.end(Observation::Answered, Duration::from_millis(1));
        // One POST ended, and its success raised the limit by one.
        let third = third.try_recv().unwrap();
        let fourth = fourth.try_recv().unwrap();
        assert!(fifth.try_recv().is_err());
        drop((second, third, fourth));
        fifth.try_recv().unwrap();
    }

    #[tokio::test]
    async fn a_waiter_that_left_and_a_dropped_permit_occupy_no_place() {
        let gate = Gate::new(Sweeper::default(), SchedulerLag::default());
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
    async fn a_wait_that_takes_too_long_ends() {
        let sweeper = Sweeper::default();
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (sweeper, stop) = (sweeper.clone(), stop.clone());
            async move { sweeper.run(stop).await }
        });
        let gate = Gate::new(sweeper, SchedulerLag::default());
        let _both = (go(&gate), go(&gate));
        let start = Instant::now();
        assert!(wait(&gate).await.is_err());
        assert!(start.elapsed() >= in_memory_max(Duration::ZERO) - SWEEP_EVERY);
        assert!(matches!(gate.request(&AdmissionRequest { gave_up_waiting: true, ..REQUEST }), Admission::Hold(_)));
        stop.cancel();
        running.await.unwrap();
    }
}
