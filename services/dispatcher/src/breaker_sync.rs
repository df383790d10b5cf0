//! Keeps the breakers of all dispatchers in agreement.
//!
//! A dispatcher announces each transition of a breaker immediately. It announces its whole board every [`REPEAT_EVERY`], and
//! when another dispatcher requests it. These announcements replace lost hints and inform restarted dispatchers. Of two
//! statements about an endpoint, every dispatcher uses the one about the newer attempt.
//!
//! Breakers are lost when all dispatchers restart at the same time. The breaker of a failing endpoint opens again within a few
//! attempts.

use std::sync::Arc;
use std::time::Duration;

use postrider_broker::HintSender;
use postrider_model::attempt::Outcome;
use postrider_model::breaker::{BreakerState, BreakerStatement};
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::Hint;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::endpoint::{EndpointCache, SharedBreakerBoard};
use crate::metrics::Metrics;
use crate::pace::Transition;

/// Interval between announcements of the whole board. It must be a small part of [`postrider_model::breaker::FORGOTTEN_AFTER`].
const REPEAT_EVERY: Duration = Duration::from_secs(10);
/// Minimum time between two announcements of the board when other dispatchers request it.
const REPEAT_AT_MOST_EVERY: Duration = Duration::from_millis(500);
/// Maximum number of statements in one hint.
const STATEMENTS_MAX: usize = 500;
/// Time without an attempt after which a breaker is forgotten, because the endpoint may have changed.
const IDLE: Duration = Duration::from_secs(86_400);

/// Announces this dispatcher's breakers and applies the breakers that other dispatchers announce.
pub(crate) struct BreakerSync {
    board: SharedBreakerBoard,
    hints: HintSender,
    metrics: Arc<Metrics>,
}

impl BreakerSync {
    pub(crate) fn new(board: SharedBreakerBoard, hints: HintSender, metrics: Arc<Metrics>) -> Self {
        Self { board, hints, metrics }
    }

    /// Records how an attempt changed or confirmed the breaker of its endpoint. The attempt ended at `ended_at`.
    pub(crate) fn record(&self, endpoint: EndpointId, transition: Transition, outcome: Outcome, ended_at: UnixMillis) {
        match transition {
            Transition::None => {}
            Transition::Confirmed(state) => {
                self.state(endpoint, state, ended_at);
            }
            Transition::To(state) => {
                let statement = self.state(endpoint, state, ended_at);
                self.metrics.breaker_turned(state);
                tracing::info!(endpoint.id = %endpoint, breaker = %state, %outcome, "a breaker changed");
                self.hints.send(Hint::Breakers(vec![statement]));
            }
        }
    }

    /// Closes the breaker of an endpoint that was deleted, or that answered this dispatcher after another dispatcher opened the
    /// breaker.
    pub(crate) fn close(&self, endpoint: EndpointId, now: UnixMillis) {
        if self.board.lock().is_open(endpoint) {
            let closed = self.state(endpoint, BreakerState::Closed, now);
            self.hints.send(Hint::Breakers(vec![closed]));
        }
    }

    /// Records this dispatcher's statement on the board. The statement replaces the previous one even if this dispatcher's
    /// clock is behind.
    fn state(&self, endpoint: EndpointId, state: BreakerState, seen_at: UnixMillis) -> BreakerStatement {
        let mut board = self.board.lock();
        let known = board.get(endpoint).copied();
        let seen_at = known.map_or(seen_at, |known| seen_at.max(known.seen_at.plus(Duration::from_millis(1))));
        let since = known.filter(|known| known.state == state).map_or(seen_at, |known| known.since);
        let statement = BreakerStatement { endpoint, state, since, seen_at };
        if board.record(statement, seen_at) {
            self.metrics.breakers(&board);
        }
        statement
    }

    /// Announces the whole board.
    fn announce_all(&self) {
        let statements: Vec<BreakerStatement> = {
            let mut board = self.board.lock();
            board.forget_settled(IDLE, UnixMillis::now());
            self.metrics.breakers(&board);
            board.iter().copied().collect()
        };
        for chunk in statements.chunks(STATEMENTS_MAX) {
            self.hints.send(Hint::Breakers(chunk.to_vec()));
        }
    }

    /// Applies another dispatcher's statement. If the endpoint answered this dispatcher after the attempt of that statement,
    /// announces a closed breaker instead.
    fn apply(&self, statement: BreakerStatement, endpoints: &EndpointCache) {
        let now = UnixMillis::now();
        {
            let mut board = self.board.lock();
            if !board.record(statement, now) {
                return;
            }
            self.metrics.breakers(&board);
        }
        let Some(entry) = endpoints.get(statement.endpoint) else { return };
        if !entry.pace.adopt(statement.state, statement.seen_at.until(now)) {
            self.close(statement.endpoint, now);
        }
    }

    /// Applies other dispatchers' hints and announces the board regularly, until `received` is closed.
    pub(crate) async fn run(&self, endpoints: &EndpointCache, mut received: mpsc::Receiver<Hint>) {
        let mut repeat = tokio::time::interval(REPEAT_EVERY);
        repeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut repeated = Instant::now();
        loop {
            tokio::select! {
                hint = received.recv() => match hint {
                    Some(Hint::Breakers(statements)) => {
                        statements.into_iter().for_each(|statement| self.apply(statement, endpoints));
                    }
                    Some(Hint::Ask) => repeat.reset_after(REPEAT_AT_MOST_EVERY.saturating_sub(repeated.elapsed())),
                    Some(Hint::Applied(_)) => {}
                    None => return,
                },
                _ = repeat.tick() => {
                    repeated = Instant::now();
                    self.announce_all();
                }
            }
        }
    }
}
