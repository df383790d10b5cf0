//! The states of breakers, from the hints of dispatchers, for services that only read them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use postrider_model::breaker::{BreakerBoard, BreakerState, BreakerStatement};
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::Hint;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;

/// The interval at which statements that were not repeated are removed.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// The latest statements of dispatchers about breakers. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct BreakerStates {
    board: Arc<RwLock<BreakerBoard>>,
}

impl BreakerStates {
    /// Starts a task that applies the hints of dispatchers until `stop`, and returns the states that it updates.
    pub fn follow(broker: &Broker, stop: CancellationToken) -> Self {
        let states = Self::default();
        let mut hints = broker.listen_for_hints(broker.hint_sender(), stop);
        let board = Arc::clone(&states.board);
        broker.tasks().spawn("breaker states", async move {
            let mut forget = tokio::time::interval(FORGET_EVERY);
            loop {
                let statements = tokio::select! {
                    hint = hints.recv() => match hint {
                        Some(Hint::Breakers(statements)) => statements,
                        Some(_) => continue,
                        None => return,
                    },
                    _ = forget.tick() => Vec::new(),
                };
                let now = UnixMillis::now();
                let mut board = board.write();
                for statement in statements {
                    board.record(statement, now);
                }
                board.forget_unrepeated(now);
            }
        });
        states
    }

    /// Whether the breaker of an endpoint is open or half open. If so, the endpoint's deliveries belong in the slow lane.
    pub fn is_open(&self, endpoint: EndpointId) -> bool {
        self.board.read().is_open(endpoint)
    }

    /// The statements about breakers that are not closed, at most [`BREAKERS_MAX`](postrider_model::breaker::BREAKERS_MAX), in no
    /// order.
    pub fn open(&self) -> Vec<BreakerStatement> {
        self.board.read().iter().filter(|statement| statement.state != BreakerState::Closed).copied().collect()
    }

    /// The latest statement about an endpoint's breaker. `None` means that no dispatcher made a statement recently, so the
    /// breaker is closed.
    pub fn get(&self, endpoint: EndpointId) -> Option<BreakerStatement> {
        self.board.read().get(endpoint).copied()
    }

    /// The number of breakers in this state.
    pub fn count(&self, state: BreakerState) -> usize {
        self.board.read().count(state)
    }
}
