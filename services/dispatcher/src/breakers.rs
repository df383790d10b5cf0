//! What this dispatcher says about breakers, and what it hears from the others, so that all of them agree.
//!
//! Each turn of a breaker is told at once, and everything that is known again every [`REPEAT_EVERY`] and whenever somebody
//! begins to listen: a hint that was lost, and a process that restarted, are made good by that. Statements are compared by
//! the attempt that they are known by, so that the newest evidence stands everywhere.
//!
//! Does not: keep anything over a restart of all dispatchers. A breaker is learnt anew within a few attempts.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_broker::HintSender;
use postrider_model::attempt::Outcome;
use postrider_model::breaker::{BreakerBoard, BreakerState, BreakerStatement};
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::Hint;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::dispatcher::Dispatcher;
use crate::metrics::Metrics;
use crate::pace::Turn;

/// How often everything is told again; several times within [`postrider_model::breaker::FORGOTTEN_AFTER`].
const REPEAT_EVERY: Duration = Duration::from_secs(10);
/// However many ask, everything is told no more often than this.
const REPEAT_AT_MOST_EVERY: Duration = Duration::from_millis(500);
/// Statements in one hint.
const STATEMENTS_MAX: usize = 500;
/// A breaker that no attempt has confirmed for so long is forgotten: the endpoint may be another one by now.
const IDLE: Duration = Duration::from_secs(86_400);

/// What is known about breakers here, by whoever says it.
pub(crate) type Board = Arc<Mutex<BreakerBoard>>;

/// The dispatcher's part in it.
pub(crate) struct Breakers {
    board: Board,
    hints: HintSender,
    metrics: Arc<Metrics>,
}

impl Breakers {
    pub(crate) fn new(board: Board, hints: HintSender, metrics: Arc<Metrics>) -> Self {
        Self { board, hints, metrics }
    }

    /// An attempt that ended at `ended_at` with `outcome` meant something for an endpoint's breaker.
    pub(crate) fn turn(&self, endpoint: EndpointId, turn: Turn, outcome: Outcome, ended_at: UnixMillis) {
        let (state, turned) = match turn {
            Turn::None => return,
            Turn::Confirmed(state) => (state, false),
            Turn::To(state) => (state, true),
        };
        let statement = self.make(endpoint, state, ended_at);
        if turned {
            self.metrics.breaker_turned(state);
            tracing::info!(endpoint.id = %endpoint, breaker = %state, %outcome, "a breaker turned");
            self.hints.send(Hint::Breakers(vec![statement]));
        }
    }

    /// An endpoint was deleted: nobody needs to hold anything back from it.
    pub(crate) fn close(&self, endpoint: EndpointId, now: UnixMillis) {
        if self.board.lock().is_open(endpoint) {
            let closed = self.make(endpoint, BreakerState::Closed, now);
            self.hints.send(Hint::Breakers(vec![closed]));
        }
    }

    /// Writes a statement of our own down. It is newer than what is known, also where our clock says otherwise.
    fn make(&self, endpoint: EndpointId, state: BreakerState, seen_at: UnixMillis) -> BreakerStatement {
        let mut board = self.board.lock();
        let known = board.get(endpoint).copied();
        let seen_at = known.map_or(seen_at, |known| seen_at.max(known.seen_at.plus(Duration::from_millis(1))));
        let since = known.filter(|known| known.state == state).map_or(seen_at, |known| known.since);
        let statement = BreakerStatement { endpoint, state, since, seen_at };
        if board.hear(statement, seen_at) {
            self.metrics.breakers(&board);
        }
        statement
    }

    /// Tells everything.
    fn repeat(&self) {
        let statements: Vec<BreakerStatement> = {
            let mut board = self.board.lock();
            board.forget_settled(IDLE, UnixMillis::now());
            self.metrics.breakers(&board);
            board.all().copied().collect()
        };
        for some in statements.chunks(STATEMENTS_MAX) {
            self.hints.send(Hint::Breakers(some.to_vec()));
        }
    }
}

/// Listens to the other dispatchers, and tells again, until nothing is heard any more.
pub(crate) async fn agree(dispatcher: Arc<Dispatcher>, mut heard: mpsc::Receiver<Hint>) {
    let mut repeat = tokio::time::interval(REPEAT_EVERY);
    repeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut repeated = Instant::now();
    loop {
        tokio::select! {
            hint = heard.recv() => match hint {
                Some(Hint::Breakers(statements)) => statements.into_iter().for_each(|said| dispatcher.hear(said)),
                Some(Hint::Ask) => repeat.reset_after(REPEAT_AT_MOST_EVERY.saturating_sub(repeated.elapsed())),
                Some(Hint::Applied(_)) => {}
                None => return,
            },
            _ = repeat.tick() => {
                repeated = Instant::now();
                dispatcher.breakers.repeat();
            }
        }
    }
}

impl Dispatcher {
    /// Takes over what another dispatcher says, unless this one has seen better since: then it says so.
    fn hear(&self, said: BreakerStatement) {
        let now = UnixMillis::now();
        let news = {
            let mut board = self.breakers.board.lock();
            let news = board.hear(said, now);
            if news {
                self.metrics.breakers(&board);
            }
            news
        };
        if !news {
            return;
        }
        let Some(entry) = self.endpoints.met(said.endpoint) else { return };
        if !entry.gate.adopt(said.state, said.seen_at.until(now)) {
            self.breakers.close(said.endpoint, now);
        }
    }
}
