//! The states of endpoints' breakers: dispatchers make statements about them, and a board stores the newest statement about
//! each endpoint.
//!
//! # What it promises
//! - The statement about the newest attempt is used, even if statements arrive late, twice or in another order.
//! - A statement that is not repeated for [`FORGOTTEN_AFTER`] is removed: the breaker counts as closed.
//! - The size is bounded: a board with [`BREAKERS_MAX`] statements records no further endpoints.
//!
//! # What it does not do
//! It does not decide when a breaker opens; the dispatcher decides that. Attempts are compared by the clocks of their
//! dispatchers: if a clock is `n` seconds fast, the board may use an outdated statement for up to `n` seconds.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::EndpointId;
use crate::text::names;
use crate::time::UnixMillis;

/// A statement that is not repeated for this time is removed.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Maximum number of statements on a board.
pub const BREAKERS_MAX: usize = 20_000;

/// The state of an endpoint's breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Deliveries are attempted as the pace allows.
    #[default]
    Closed,
    /// The endpoint answered again: one attempt at a time, until it has answered a few times in a row.
    HalfOpen,
    /// The endpoint fails: one attempt at a time, in the slow lane.
    Open,
}
names!(BreakerState { Closed => "closed", Open => "open", HalfOpen => "half_open" });

/// A dispatcher's statement about an endpoint's breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerStatement {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The state of the breaker.
    pub state: BreakerState,
    /// When the breaker entered this state.
    pub since: UnixMillis,
    /// The time of the last attempt that confirmed the state.
    pub seen_at: UnixMillis,
}

impl BreakerStatement {
    /// The sort key of a statement. If two statements have the same time, the one with the worse state is used, so that every
    /// process uses the same statement.
    fn order(&self) -> (UnixMillis, u8) {
        (self.seen_at, self.state as u8)
    }
}

/// A statement, and the time of its last arrival.
#[derive(Debug, Clone, Copy)]
struct Note {
    statement: BreakerStatement,
    repeated_at: UnixMillis,
}

/// The newest statement about each endpoint whose breaker is open or half open, or has closed recently.
#[derive(Debug, Default)]
pub struct BreakerBoard {
    notes: HashMap<EndpointId, Note>,
}

impl BreakerBoard {
    /// Records a statement. Returns whether it changed the state of the endpoint's breaker.
    pub fn record(&mut self, statement: BreakerStatement, now: UnixMillis) -> bool {
        let full = self.notes.len() >= BREAKERS_MAX;
        match self.notes.get_mut(&statement.endpoint) {
            Some(note) if statement.order() < note.statement.order() => false,
            Some(note) => {
                let news = note.statement.state != statement.state;
                *note = Note { statement, repeated_at: now };
                news
            }
            None if full => false,
            None => {
                self.notes.insert(statement.endpoint, Note { statement, repeated_at: now });
                statement.state != BreakerState::Closed
            }
        }
    }

    /// The newest statement about an endpoint.
    pub fn get(&self, endpoint: EndpointId) -> Option<&BreakerStatement> {
        self.notes.get(&endpoint).map(|note| &note.statement)
    }

    /// Whether an endpoint's deliveries belong to the slow lane.
    pub fn is_open(&self, endpoint: EndpointId) -> bool {
        // This function runs for each delivery, and the board is usually empty.
        !self.notes.is_empty() && self.get(endpoint).is_some_and(|known| known.state != BreakerState::Closed)
    }

    /// The number of breakers in this state.
    pub fn count(&self, state: BreakerState) -> usize {
        self.notes.values().filter(|note| note.statement.state == state).count()
    }

    /// Every statement.
    pub fn iter(&self) -> impl Iterator<Item = &BreakerStatement> {
        self.notes.values().map(|note| &note.statement)
    }

    /// Removes statements that were not repeated for [`FORGOTTEN_AFTER`].
    pub fn forget_unrepeated(&mut self, now: UnixMillis) {
        self.notes.retain(|_, note| note.repeated_at.until(now) < FORGOTTEN_AFTER);
    }

    /// For the process that makes the statements. Removes closed breakers [`FORGOTTEN_AFTER`] after they closed, when every
    /// process has received that statement, and other breakers without an attempt for `idle`.
    pub fn forget_settled(&mut self, idle: Duration, now: UnixMillis) {
        self.notes.retain(|_, Note { statement, .. }| {
            let limit = if statement.state == BreakerState::Closed { FORGOTTEN_AFTER } else { idle };
            statement.seen_at.until(now) < limit
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BreakerState::{Closed, HalfOpen, Open};

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(seconds * 1_000)
    }

    fn statement(endpoint: EndpointId, state: BreakerState, seen: i64) -> BreakerStatement {
        BreakerStatement { endpoint, state, since: at(0), seen_at: at(seen) }
    }

    #[test]
    fn the_newest_statement_wins_in_whatever_order_they_arrive() {
        let endpoint = EndpointId::generate();
        let all = [(Open, 1), (HalfOpen, 2), (Closed, 3), (Open, 4)].map(|(s, seen)| statement(endpoint, s, seen));
        for first in 0..all.len() {
            let mut board = BreakerBoard::default();
            for shift in 0..all.len() * 2 {
                board.record(all[(first + shift * 3) % all.len()], at(5));
            }
            assert_eq!(board.get(endpoint), Some(&all[3]), "beginning with {first}");
        }
    }

    #[test]
    fn only_another_state_is_news() {
        let (mut board, endpoint) = (BreakerBoard::default(), EndpointId::generate());
        let news = [(Closed, 1), (Open, 2), (Open, 3), (HalfOpen, 1), (Closed, 4), (Closed, 4)]
            .map(|(state, seen)| board.record(statement(endpoint, state, seen), at(9)));
        assert_eq!(news, [false, true, false, false, true, false]);
        assert!(!board.is_open(endpoint));
    }

    #[test]
    fn statements_that_are_not_repeated_are_forgotten() {
        let (mut board, one, other) = (BreakerBoard::default(), EndpointId::generate(), EndpointId::generate());
        board.record(statement(one, Open, 1), at(1));
        board.record(statement(other, Open, 1), at(1));
        board.record(statement(other, Open, 1), at(55));
        board.forget_unrepeated(at(70));
        assert!(!board.is_open(one) && board.is_open(other));
    }

    #[test]
    fn a_full_board_keeps_its_statements() {
        let mut board = BreakerBoard::default();
        let known = EndpointId::generate();
        board.record(statement(known, Open, 1), at(1));
        for _ in 0..BREAKERS_MAX + 5 {
            board.record(statement(EndpointId::generate(), Open, 1), at(1));
        }
        assert_eq!(board.count(Open), BREAKERS_MAX);
        board.record(statement(known, Closed, 2), at(2));
        assert!(!board.is_open(known));
    }

    #[test]
    fn closed_breakers_are_kept_for_a_minute_and_open_ones_until_idle() {
        let (mut board, closed, open) = (BreakerBoard::default(), EndpointId::generate(), EndpointId::generate());
        board.record(statement(closed, Closed, 1), at(1));
        board.record(statement(open, Open, 1), at(1));
        board.forget_settled(Duration::from_secs(3_600), at(30));
        assert_eq!(board.iter().count(), 2);
        board.forget_settled(Duration::from_secs(3_600), at(90));
        assert_eq!(board.iter().count(), 1);
        board.forget_settled(Duration::from_secs(3_600), at(3_700));
        assert_eq!(board.iter().count(), 0);
    }
}
