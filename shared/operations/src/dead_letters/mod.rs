//! Dead letters: messages that Postrider could not process.

mod change;

use std::collections::BTreeMap;

use postrider_broker::Queue;
use postrider_model::timestamp::Timestamp;
use postrider_store::history::DeadLetterRow;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::parse_id;
use crate::page::{List, PageQuery};
use crate::system::QUEUES;
use crate::{Caller, Error, Operations};

pub use change::{ChangeDeadLetters, DeadLetterAction, DeadLetterRefused, DeadLettersChanged};
pub use postrider_model::dead_letter::{DeadLetterFilter, DeadLetterState};

/// The name of the list of dead letters in cursors.
const LIST: &str = "dead_letters";

/// Returns the possible sources of a dead letter: every queue except the queue of dead letters, and `unknown`.
pub fn dead_letter_sources() -> impl Iterator<Item = &'static str> {
    let consumed = QUEUES.into_iter().filter(|queue| *queue != Queue::DeadLetters);
    consumed.map(Queue::name).chain(["unknown"])
}

/// A message that could not be processed.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetter {
    /// Its id.
    #[schema(example = "4711")]
    pub id: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// The queue that the message came from; `unknown` if neither the routing key nor the verified user of the publisher
    /// identifies the queue.
    #[schema(example = "postrider.intake")]
    pub source: String,
    /// Why it could not be processed. `unverified` marks a reason that was not written by Postrider's own user.
    #[schema(example = "no such tenant")]
    pub reason: String,
    /// The headers of the message, unchanged. A producer may have written any header, even `x-source` and `x-reason`.
    pub headers: BTreeMap<String, String>,
    /// The routing key with which the message was published.
    #[schema(example = "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6.email.bounced")]
    pub routing_key: String,
    /// The AMQP property `message_id` of the message.
    #[schema(example = json!(null))]
    pub message_id: Option<String>,
    /// The length of the message in bytes. If a producer's message is longer than 256 KiB, only its first 64 KiB are kept.
    pub body_bytes: u64,
    /// The first 4 KiB of the message, as text.
    #[schema(example = "{}")]
    pub body_excerpt: String,
    /// When it was requeued. If the message fails again, it becomes another dead letter.
    #[schema(example = json!(null))]
    pub requeued_at: Option<Timestamp>,
    /// When it was discarded.
    #[schema(example = json!(null))]
    pub discarded_at: Option<Timestamp>,
    /// Who discarded it: the first 8 hexadecimal digits of the SHA-256 of the operator's key, or the id of the person, as in the
    /// audit log.
    #[schema(example = json!(null))]
    pub discarded_by: Option<String>,
}

/// A dead letter that was requeued.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterRequeued {
    /// Its id.
    #[schema(example = "4711")]
    pub id: String,
}

impl From<DeadLetterRow> for DeadLetter {
    fn from(row: DeadLetterRow) -> Self {
        Self {
            id: row.id.to_string(),
            received_at: row.received_at.into(),
            source: row.source,
            reason: row.reason,
            headers: row.headers.into_iter().collect(),
            routing_key: row.routing_key,
            message_id: row.message_id,
            requeued_at: row.requeued_at.map(Timestamp),
            discarded_at: row.discarded_at.map(Timestamp),
            discarded_by: row.discarded_by,
            body_bytes: row.bytes,
            body_excerpt: String::from_utf8_lossy(&row.excerpt).into_owned(),
        }
    }
}

impl DeadLetter {
    /// Returns what was done with the dead letter.
    pub fn state(&self) -> DeadLetterState {
        match (self.requeued_at, self.discarded_at) {
            (Some(_), _) => DeadLetterState::Requeued,
            (None, Some(_)) => DeadLetterState::Discarded,
            (None, None) => DeadLetterState::Open,
        }
    }
}

impl Operations {
    /// Lists dead letters that match the filter, newest first. Operators only.
    ///
    /// # Errors
    /// [`Error::TooMany`] while other searches of operators run.
    pub async fn list_dead_letters(
        &self,
        caller: Caller,
        filter: &DeadLetterFilter,
        page: &PageQuery,
    ) -> Result<List<DeadLetter>, Error> {
        caller.operator()?;
        let _slot = if filter.is_search() { Some(self.heavy.search(None).await?) } else { None };
        let page = self.store.history().list_dead_letters(filter, &page.request(LIST)?).await?;
        Ok(List::of(LIST, page, DeadLetter::from))
    }

    /// Reads a dead letter. Operators only.
    pub async fn read_dead_letter(&self, caller: Caller, id: &str) -> Result<DeadLetter, Error> {
        caller.operator()?;
        Ok(self.store.history().get_dead_letter(parse_id("dead letter", id)?).await?.into())
    }

    /// Publishes a dead letter again to the queue that it came from. A dead letter can be requeued only once.
    ///
    /// # Errors
    /// Returns the errors of [`Operations::change_dead_letter`].
    pub async fn requeue_dead_letter(&self, caller: Caller, id: &str) -> Result<DeadLetterRequeued, Error> {
        self.change_dead_letter(caller, DeadLetterAction::Requeue, id).await?;
        Ok(DeadLetterRequeued { id: id.to_owned() })
    }
}
