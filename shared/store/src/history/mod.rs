//! Reads the history: events, deliveries, attempts and dead letters, newest first and page by page.
//!
//! A cursor is the time and id of the last row of a page, so that pages do not shift when rows arrive.

mod cursor;
mod dead_letters;
mod deliveries;
mod events;
mod matching;
mod payload_search;
mod phase;
mod query;
mod test_data;

pub(crate) use cursor::Cursor;
pub use cursor::{Page, PageRequest};
pub(crate) use dead_letters::pending_letter;
pub use dead_letters::{DeadLetterRow, DeadLettersNotKept, EXCERPT_BYTES};
pub use deliveries::{AttemptRow, DeliveryRow};
pub(crate) use deliveries::{COLUMNS as DELIVERY_COLUMNS, EventKey, delivery, of_event};
pub use events::{DecisionRow, EventRow, EventSummary};
pub(crate) use events::{decision, event};
pub use matching::MatchingDeliveries;
pub use payload_search::{SearchCandidate, SearchStep, SearchStepMax};
pub(crate) use query::Query;
pub use test_data::TestData;
