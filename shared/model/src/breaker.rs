//! What is known about endpoints' breakers: statements that dispatchers make about them, and the board that keeps the newest.
//!
//! # What it promises
//! - The statement with the newest evidence stands, whatever order statements arrive in and however often.
//! - What nobody repeats for [`FORGOTTEN_AFTER`] is forgotten: an endpoint that nobody speaks of is closed.
//! - It is bounded: beyond [`BREAKERS_MAX`] new statements about open breakers are not taken.
//!
//! # What it does not
//! It decides nothing: when a breaker opens is the dispatcher's business. Evidence is compared by the wall clocks of the
//! machines that saw it, so a clock that is off by seconds may let an older statement stand that much longer.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delivery::{UnknownName, names};
use crate::ids::EndpointId;
use crate::time::UnixMillis;

/// A statement that is not repeated for so long is forgotten.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Statements on a board at most.
pub const BREAKERS_MAX: usize = 20_000;

/// The state of an endpoint's breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Deliveries flow.
    #[default]
    Closed,
    /// It answered again: still one at a time, until it has answered a few times in a row.
    HalfOpen,
    /// The endpoint fails: one attempt at a time, in the slow lane.
    Open,
}
names!(BreakerState { Closed => "closed", Open => "open", HalfOpen => "half_open" });

/// What a dispatcher says about an endpoint's breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerStatement {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its state.
    pub state: BreakerState,
    /// Since when it is in this state.
    pub since: UnixMillis,
    /// The last attempt that confirmed it.
    pub seen_at: UnixMillis,
}

impl BreakerStatement {
    /// By what statements are compared. At the very same moment the worse one stands, so that everybody chooses the same.
    fn age(&self) -> (UnixMillis, u8) {
        (self.seen_at, self.state as u8)
    }
}

/// A statement and when it was last made here.
#[derive(Debug, Clone, Copy)]
struct Note {
    statement: BreakerStatement,
    repeated_at: UnixMillis,
}

/// The newest statement about each endpoint whose breaker is not, or was not until lately, closed.
#[derive(Debug, Default)]
pub struct BreakerBoard {
    notes: HashMap<EndpointId, Note>,
}

impl BreakerBoard {
    /// Takes a statement in; tells whether it is news: of another state than was known, by newer evidence.
    pub fn record(&mut self, statement: BreakerStatement, now: UnixMillis) -> bool {
        let full = self.notes.len() >= BREAKERS_MAX;
        match self.notes.get_mut(&statement.endpoint) {
            Some(note) if statement.age() < note.statement.age() => false,
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

    /// What is known about an endpoint.
    pub fn get(&self, endpoint: EndpointId) -> Option<&BreakerStatement> {
        self.notes.get(&endpoint).map(|note| &note.statement)
    }

    /// Whether an endpoint's deliveries belong to the slow lane.
    pub fn is_open(&self, endpoint: EndpointId) -> bool {
        // The board is empty as a rule, and this is asked for each delivery.
        !self.notes.is_empty() && self.get(endpoint).is_some_and(|known| known.state != BreakerState::Closed)
    }

    /// Breakers in this state.
    pub fn count(&self, state: BreakerState) -> usize {
        self.notes.values().filter(|note| note.statement.state == state).count()
    }

    /// Every statement, for those who may have missed some.
    pub fn iter(&self) -> impl Iterator<Item = &BreakerStatement> {
        self.notes.values().map(|note| &note.statement)
    }

    /// Forgets what nobody repeated.
    pub fn forget_unrepeated(&mut self, now: UnixMillis) {
        self.notes.retain(|_, note| note.repeated_at.until(now) < FORGOTTEN_AFTER);
    }

    /// For whoever makes the statements: forgets breakers that closed a while ago, which everybody has heard by now, and
    /// those that no attempt has confirmed for `idle`.
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
    fn the_newest_evidence_stands_in_whatever_order_it_arrives() {
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
    fn what_is_not_repeated_is_forgotten_and_what_is_repeated_is_not() {
        let (mut board, one, other) = (BreakerBoard::default(), EndpointId::generate(), EndpointId::generate());
        board.record(statement(one, Open, 1), at(1));
        board.record(statement(other, Open, 1), at(1));
        board.record(statement(other, Open, 1), at(55));
        board.forget_unrepeated(at(70));
        assert!(!board.is_open(one) && board.is_open(other));
    }

    #[test]
    fn a_board_that_is_full_keeps_what_it_has() {
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
    fn closed_breakers_are_told_for_a_minute_and_open_ones_until_they_are_idle() {
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
