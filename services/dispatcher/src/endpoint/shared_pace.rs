//! The [pace](crate::pace) of one endpoint behind a lock, and the deliveries that wait in memory for a permit.
//!
//! Deliveries wait in order of arrival, so the waiters need no timers of their own: one [`Sweeper`] checks the first waiter of
//! every pace.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_model::breaker::BreakerState;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::pace::{Elsewhere, Hold, InFlight, Observation, Pace, PaceAnswer, PaceRequest, Transition, in_memory_max};
use crate::scheduler_lag::SchedulerLag;

/// Interval between the sweeper's checks.
const SWEEP_EVERY: Duration = Duration::from_millis(25);

/// A permit to make one POST. If the permit is dropped without [`Permit::end`], the POST counts as abandoned.
#[derive(Debug)]
pub(crate) struct Permit {
    pace: Arc<SharedPace>,
    post: Option<InFlight>,
}

impl Permit {
    /// Ends the POST. `latency` is its duration.
    pub(crate) fn end(mut self, observation: Observation, latency: Duration) -> Transition {
        match self.post.take() {
            Some(post) => self.pace.end(post, Some((observation, latency))),
            None => Transition::None,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(post) = self.post.take() {
            self.pace.end(post, None);
        }
    }
}

/// Receives a permit when the delivery's turn comes. An error means that the delivery has waited for the maximum time and must
/// request again with [`PaceRequest::gave_up_waiting`].
pub(crate) type PendingPermit = oneshot::Receiver<Permit>;

#[derive(Debug)]
struct State {
    pace: Pace,
    line: VecDeque<Waiter>,
    /// Whether the sweeper's list contains this pace.
    swept: bool,
}

#[derive(Debug)]
struct Waiter {
    permit: oneshot::Sender<Permit>,
    since: Instant,
}

/// The pace of one endpoint, shared by all deliveries to the endpoint in this process.
#[derive(Debug)]
pub(crate) struct SharedPace {
    state: Mutex<State>,
    sweeper: Sweeper,
    scheduler_lag: SchedulerLag,
}

impl SharedPace {
    pub(crate) fn new(sweeper: Sweeper, scheduler_lag: SchedulerLag) -> Arc<Self> {
        let state = State { pace: Pace::new(Instant::now()), line: VecDeque::new(), swept: false };
        Arc::new(Self { state: Mutex::new(state), sweeper, scheduler_lag })
    }

    /// Requests a permit to make a POST.
    pub(crate) fn request(self: &Arc<Self>, request: &PaceRequest) -> PaceAnswer<Permit, PendingPermit> {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.pace.set_lag(self.scheduler_lag.average());
        match state.pace.request(now, request) {
            PaceAnswer::Send(post) => PaceAnswer::Send(self.permit(post)),
            PaceAnswer::WaitForSlot(wait, slot) => PaceAnswer::WaitForSlot(wait, slot),
            PaceAnswer::Hold(hold) => PaceAnswer::Hold(hold),
            PaceAnswer::MoveToSlowLane => PaceAnswer::MoveToSlowLane,
            PaceAnswer::WaitForPermit(()) => {
                let (permit, pending) = oneshot::channel();
                state.line.push_back(Waiter { permit, since: now });
                let is_new = !std::mem::replace(&mut state.swept, true);
                drop(state);
                if is_new {
                    self.sweeper.add(Arc::downgrade(self));
                }
                PaceAnswer::WaitForPermit(pending)
            }
        }
    }

    /// Decides whether a delivery may join a batch; see [`Pace::admit`]. Returns where it waits if it may not.
    pub(crate) fn admit(&self, request: &PaceRequest) -> Option<Elsewhere> {
        let mut state = self.state.lock();
        state.pace.set_lag(self.scheduler_lag.average());
        state.pace.admit(Instant::now(), request)
    }

    /// Parks a delivery for which there is no room in memory; see [`Pace::park`].
    pub(crate) fn park(&self, request: &PaceRequest) -> Hold {
        self.state.lock().pace.park(Instant::now(), request)
    }

    /// Applies a pause that the endpoint requested; see [`Pace::pause`].
    pub(crate) fn pause(&self, wait: Duration, version: i64) {
        self.state.lock().pace.pause(Instant::now(), wait, version);
    }

    /// Whether deliveries to the endpoint belong to the slow lane now.
    pub(crate) fn is_slow(&self) -> bool {
        self.state.lock().pace.is_slow(Instant::now())
    }

    /// Applies a breaker state that another dispatcher announced; see [`Pace::adopt`].
    pub(crate) fn adopt(self: &Arc<Self>, breaker: BreakerState, age: Duration) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        let adopted = state.pace.adopt(now, breaker, age);
        self.grant_permits(&mut state, now);
        adopted
    }

    fn permit(self: &Arc<Self>, post: InFlight) -> Permit {
        Permit { pace: Arc::clone(self), post: Some(post) }
    }

    fn end(self: &Arc<Self>, post: InFlight, observed: Option<(Observation, Duration)>) -> Transition {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.pace.set_lag(self.scheduler_lag.average());
        let transition = state.pace.end(now, post, observed);
        self.grant_permits(&mut state, now);
        transition
    }

    /// Grants permits to the first waiters as long as further POSTs may start.
    fn grant_permits(self: &Arc<Self>, state: &mut State, now: Instant) {
        while let Some(post) = state.pace.grant_next(now) {
            let Some(waiter) = state.line.pop_front() else {
                // Unreachable, because the line and its count change together. If it happened, the POST must not remain in
                // flight.
                state.pace.end(now, post, None);
                return;
            };
            if let Err(mut unwanted) = waiter.permit.send(self.permit(post)) {
                // The waiter is gone. Dropping the permit would lock the state, which is locked here already, and so cause a
                // deadlock.
                unwanted.post = None;
                state.pace.end(now, post, None);
            }
        }
    }

    /// Ends the waits that have reached the maximum. Returns whether a delivery still waits.
    fn sweep(&self, now: Instant) -> bool {
        // The limit is one sweep interval shorter, so that no wait exceeds the maximum.
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

/// Ends waits that have reached the maximum, for all paces, while [`Sweeper::run`] runs. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sweeper {
    shared: Arc<Paces>,
}

/// The paces for which deliveries wait.
#[derive(Debug, Default)]
struct Paces {
    paces: Mutex<Vec<Weak<SharedPace>>>,
    added: Notify,
}

impl Sweeper {
    fn add(&self, pace: Weak<SharedPace>) {
        let mut paces = self.shared.paces.lock();
        paces.push(pace);
        if paces.len() == 1 {
            self.shared.added.notify_one();
        }
    }

    /// Sweeps until `stop`. Sleeps while no deliveries wait.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        loop {
            if self.shared.paces.lock().is_empty() {
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
            let mut paces = std::mem::take(&mut *self.shared.paces.lock());
            paces.retain(|pace| pace.upgrade().is_some_and(|pace| pace.sweep(now)));
            self.shared.paces.lock().append(&mut paces);
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::delivery::Lane;

    use super::*;
    use crate::pace::SlotState;

    const REQUEST: PaceRequest = PaceRequest {
        lane: Lane::Live,
        slot: SlotState::None,
        interval: None,
        gave_up_waiting: false,
        version: 1,
        batch: None,
    };

    fn go(pace: &Arc<SharedPace>) -> Permit {
        match pace.request(&REQUEST) {
            PaceAnswer::Send(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn wait(pace: &Arc<SharedPace>) -> PendingPermit {
        match pace.request(&REQUEST) {
            PaceAnswer::WaitForPermit(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn waiters_get_permits_in_order_when_a_post_ends() {
        let pace = SharedPace::new(Sweeper::default(), SchedulerLag::default());
        let (first, second) = (go(&pace), go(&pace));
        let (mut third, mut fourth, mut fifth) = (wait(&pace), wait(&pace), wait(&pace));
        first.end(Observation::Answered, Duration::from_millis(1));
        // One POST ended, and its success raised the limit by one. So two permits are granted.
        let third = third.try_recv().unwrap();
        let fourth = fourth.try_recv().unwrap();
        assert!(fifth.try_recv().is_err());
        drop((second, third, fourth));
        fifth.try_recv().unwrap();
    }

    #[tokio::test]
    async fn a_waiter_that_left_and_a_dropped_permit_occupy_no_place() {
        let pace = SharedPace::new(Sweeper::default(), SchedulerLag::default());
        let (first, second) = (go(&pace), go(&pace));
        drop(wait(&pace));
        let mut last = wait(&pace);
        drop(first);
        let last = last.try_recv().unwrap();
        drop((second, last));
        let _both = (go(&pace), go(&pace));
        wait(&pace);
    }

    #[tokio::test]
    async fn a_wait_that_takes_too_long_ends() {
        let sweeper = Sweeper::default();
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (sweeper, stop) = (sweeper.clone(), stop.clone());
            async move { sweeper.run(stop).await }
        });
        let pace = SharedPace::new(sweeper, SchedulerLag::default());
        let _both = (go(&pace), go(&pace));
        let start = Instant::now();
        assert!(wait(&pace).await.is_err());
        assert!(start.elapsed() >= in_memory_max(Duration::ZERO) - SWEEP_EVERY);
        assert!(matches!(pace.request(&PaceRequest { gave_up_waiting: true, ..REQUEST }), PaceAnswer::Hold(_)));
        stop.cancel();
        running.await.unwrap();
    }
}
