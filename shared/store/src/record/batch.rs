//! A batch of messages to write, and the result.

use bytes::Bytes;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::{AcceptedEvent, Decision, NumbersReport, OutcomeReport};
use sha2::{Digest, Sha256};

/// Messages to write in one transaction, of any kind, in any order, with or without duplicates.
#[derive(Debug, Clone, Default)]
pub struct RecordBatch {
    /// Accepted events with their `data`.
    pub events: Vec<(AcceptedEvent, Bytes)>,
    /// Decisions.
    pub decisions: Vec<Decision>,
    /// Outcomes, each with the excerpt of the response's body.
    pub outcomes: Vec<(OutcomeReport, Bytes)>,
    /// Messages that could not be processed.
    pub dead_letters: Vec<DeadLetter>,
    /// Reports of ingest about its sequence numbers.
    pub numbers: Vec<NumbersReport>,
}

impl RecordBatch {
    /// The number of messages in the batch.
    pub fn len(&self) -> usize {
        self.events.len() + self.decisions.len() + self.outcomes.len() + self.dead_letters.len() + self.numbers.len()
    }

    /// Whether the batch is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Splits the batch into two halves, to isolate a message that the database refuses.
    #[must_use]
    pub fn halve(mut self) -> (Self, Self) {
        // Rounds up, so that the first half is never empty.
        let mut keep = self.len().div_ceil(2);
        let mut rest = Self::default();
        fn split<T>(from: &mut Vec<T>, keep: &mut usize) -> Vec<T> {
            let at = from.len().min(*keep);
            *keep -= at;
            from.split_off(at)
        }
        rest.events = split(&mut self.events, &mut keep);
        rest.decisions = split(&mut self.decisions, &mut keep);
        rest.outcomes = split(&mut self.outcomes, &mut keep);
        rest.dead_letters = split(&mut self.dead_letters, &mut keep);
        rest.numbers = split(&mut self.numbers, &mut keep);
        (self, rest)
    }
}

/// A message that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// When the recorder received it.
    pub received_at: UnixMillis,
    /// The queue or service from which it came.
    pub source: String,
    /// Why it could not be processed.
    pub reason: String,
    /// Its body, which may be truncated.
    pub body: Bytes,
    /// The full length of the body in bytes, if the body was truncated.
    pub whole_bytes: Option<u64>,
    /// For a producer's message, the tenant in its routing key (empty if the routing key names no tenant); `None` for a message
    /// of a service. Only dead letters of producers have a limit by tenant and day.
    pub producer: Option<String>,
    /// Its headers, which are needed for requeueing and shown to the operator.
    pub headers: Vec<(String, String)>,
    /// Its original routing key; empty if it is not needed for requeueing.
    pub routing_key: String,
    /// Its property `content_type`.
    pub content_type: Option<String>,
    /// Its property `message_id`.
    pub message_id: Option<String>,
}

impl DeadLetter {
    /// A hash of all fields except the time, by which a redelivery of the same dead letter is detected.
    pub fn identity(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.source.as_bytes());
        part(self.reason.as_bytes());
        part(&self.body);
        part(self.routing_key.as_bytes());
        part(self.content_type.as_deref().unwrap_or_default().as_bytes());
        part(self.message_id.as_deref().unwrap_or_default().as_bytes());
        for (name, value) in &self.headers {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        hash.finalize().into()
    }
}

/// The result of writing a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// Events that were not yet on record.
    pub events: u64,
    /// Indexes in [`RecordBatch::events`] of events whose id belongs to an event with other content. These events may have been
    /// delivered.
    pub other_events: Vec<usize>,
    /// Decisions that were not yet on record or that added endpoints.
    pub decisions: u64,
    /// Rows of deliveries inserted or changed.
    pub deliveries: u64,
    /// Attempts that were not yet on record.
    pub attempts: u64,
    /// Dead letters that were not yet on record.
    pub dead_letters: u64,
    /// Dead letters that were counted but not kept, because their tenant's daily limit is used up.
    pub dead_letters_not_kept: u64,
    /// Messages skipped because their day has no partition: the partition was dropped or not created.
    pub skipped: u64,
}
