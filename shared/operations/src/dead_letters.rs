//! Dead letters: messages that Postrider could not process.
//!
//! A requeue is committed with an entry in the outbox. Then the message is published. If the broker does not confirm it in time,
//! or this process dies in between, the recorder's outbox relay publishes it.

use std::collections::BTreeMap;

use postrider_broker::Queue;
use postrider_model::timestamp::Timestamp;
use postrider_store::history::DeadLetterRow;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::parse_id;
use crate::page::{List, PageQuery};
use crate::{CONFIRM_TIMEOUT, Caller, Error, Operations};

/// A message that could not be processed.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetter {
    /// Its id.
    #[schema(example = "4711")]
    pub id: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// The queue that the message came from; `unknown` if neither its routing key nor its publisher's verified user shows it.
    #[schema(example = "postrider.intake")]
    pub source: String,
    /// Why it could not be processed. `unverified` marks a reason that another user than Postrider's wrote.
    #[schema(example = "no such tenant")]
    pub reason: String,
    /// The headers of the message, unchanged. A producer may have written any of them, even `x-source` and `x-reason`.
    pub headers: BTreeMap<String, String>,
    /// The routing key that it was published with.
    #[schema(example = "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6.email.bounced")]
    pub routing_key: String,
    /// The AMQP property `message_id` of the message.
    #[schema(example = json!(null))]
    pub message_id: Option<String>,
    /// The length of the message in bytes. Of a producer's message above 256 KiB only the first 64 KiB are kept.
    pub body_bytes: u64,
    /// The first 4 KiB of the message, as text.
    #[schema(example = "{}")]
    pub body_excerpt: String,
    /// When it was requeued. If the message fails again, it becomes another dead letter.
    #[schema(example = json!(null))]
    pub requeued_at: Option<Timestamp>,
}

/// A dead letter that is requeued.
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
            body_bytes: row.bytes,
            body_excerpt: String::from_utf8_lossy(&row.excerpt).into_owned(),
        }
    }
}

impl Operations {
    /// Lists dead letters, newest first. Operators only.
    pub async fn list_dead_letters(&self, caller: Caller, page: &PageQuery) -> Result<List<DeadLetter>, Error> {
        caller.operator()?;
        let page = self.store.history().list_dead_letters(&page.request("dead_letters")?).await?;
        Ok(List::of("dead_letters", page, DeadLetter::from))
    }

    /// Publishes a dead letter again to the queue that it came from; once for each letter.
    ///
    /// # Errors
    /// Operators only. [`Error::Conflict`] for a letter from a queue that is not requeueable, and for one of which only a part
    /// was stored.
    pub async fn requeue_dead_letter(&self, caller: Caller, id: &str) -> Result<DeadLetterRequeued, Error> {
        caller.operator()?;
        let id: i64 = parse_id("dead letter", id)?;
        let letter = self.store.history().get_dead_letter(id).await?;
        if Queue::requeue_target(&letter.source, &letter.routing_key).is_none() {
            let detail = format!("cannot requeue: {} is not a requeueable queue", letter.source);
            return Err(Error::Conflict(detail));
        }
        if letter.is_cut {
            let detail = format!("cannot requeue: only the first part of {} bytes was kept", letter.bytes);
            return Err(Error::Conflict(detail));
        }
        let pending = self.edits_of(caller)?.requeue_dead_letter(id).await?;
        // In a task: a client that disconnects must not stop the publishing halfway.
        let relay = self.relay.clone();
        let publishing = tokio::spawn(async move {
            if let Err(error) = relay.publish_letter(pending).await {
                tracing::warn!(dead_letter.id = id, %error, "cannot publish a requeued dead letter; the outbox relay will");
            }
        });
        if tokio::time::timeout(CONFIRM_TIMEOUT, publishing).await.is_err() {
            tracing::warn!(
                dead_letter.id = id,
                "a requeued dead letter is committed, but not confirmed in time; the outbox relay publishes it"
            );
        }
        Ok(DeadLetterRequeued { id: id.to_string() })
    }
}
