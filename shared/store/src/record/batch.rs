//! A batch to write, and the result of writing it.

use bytes::Bytes;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::{AcceptedEvent, Decision, NumbersReport, OutcomeReport};
use sha2::{Digest, Sha256};

/// Messages to write together, in any mix and order, with or without duplicates.
#[derive(Debug, Clone, Default)]
pub struct RecordBatch {
    /// Accepted events with their `data`.
    pub events: Vec<(AcceptedEvent, Bytes)>,
    /// Decisions.
    pub decisions: Vec<Decision>,
    /// Outcomes with the excerpt of the response.
    pub outcomes: Vec<(OutcomeReport, Bytes)>,
    /// Messages that could not be processed.
    pub dead_letters: Vec<DeadLetter>,
    /// Reports of ingest about its sequence numbers.
    pub numbers: Vec<NumbersReport>,
}

impl RecordBatch {
    /// Messages in the batch.
    pub fn len(&self) -> usize {
        self.events.len() + self.decisions.len() + self.outcomes.len() + self.dead_letters.len() + self.numbers.len()
    }

    /// Whether the batch is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Splits the batch into two of about the same size, to isolate a message that the database refuses.
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
    /// Which queue or service it came from.
    pub source: String,
    /// Why it could not be processed.
    pub reason: String,
    /// Its body, possibly cut.
    pub body: Bytes,
    /// Full length in bytes, if the body was cut.
    pub whole_bytes: Option<u64>,
    /// The tenant in the routing key of a producer's message (empty if it names none); `None` for a message of a service.
    /// Letters of producers are limited by tenant and day.
    pub producer: Option<String>,
    /// Its headers, for requeueing and for display.
    pub headers: Vec<(String, String)>,
    /// Its original routing key; empty if it is not needed for requeueing.
    pub routing_key: String,
    /// `content_type`.
    pub content_type: Option<String>,
    /// `message_id`.
    pub message_id: Option<String>,
}

impl DeadLetter {
    /// Identifies the letter when it is redelivered: a hash of everything but the time.
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
    /// Events that were not on record before.
    pub events: u64,
    /// Indexes in [`RecordBatch::events`] of events whose id belongs to an event with other content. They may have been delivered.
    pub other_events: Vec<usize>,
    /// Decisions that were new or added endpoints.
    pub decisions: u64,
    /// Delivery rows inserted or changed.
    pub deliveries: u64,
    /// Attempts that were not on record before.
    pub attempts: u64,
    /// Dead letters that were not on record before.
    pub dead_letters: u64,
    /// Dead letters that were counted but not kept, because their tenant's daily limit is used up.
    pub dead_letters_not_kept: u64,
    /// Messages skipped because their day has no partition: it was dropped or not created.
    pub skipped: u64,
}
