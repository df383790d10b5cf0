//! What the recorder hands over, and what came of it.

use bytes::Bytes;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::{AcceptedEvent, Decision, NumbersReport, OutcomeReport};
use sha2::{Digest, Sha256};

/// Messages to be written together: any mix, any order, duplicates welcome.
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
    /// What ingest says of its numbers.
    pub numbers: Vec<NumbersReport>,
}

impl RecordBatch {
    /// Messages in the batch.
    pub fn len(&self) -> usize {
        self.events.len() + self.decisions.len() + self.outcomes.len() + self.dead_letters.len() + self.numbers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Parts the batch in two of about the same number of messages: the way to find the one that is refused.
    #[must_use]
    pub fn halve(mut self) -> (Self, Self) {
        // Rounding up keeps the first half from being empty; a batch of one message stays whole in it.
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

/// A message that could not be processed, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// When it was received here.
    pub received_at: UnixMillis,
    /// Which queue or service it came from.
    pub source: String,
    /// Why it could not be processed.
    pub reason: String,
    /// Its bytes, or the first of them.
    pub body: Bytes,
    /// How many bytes it had, where only the first were kept.
    pub whole_bytes: Option<u64>,
    /// The tenant whose producers published it, as its routing key says (empty where that says none); `None` for a message of a
    /// service. Those of producers are limited by tenant and day.
    pub producer: Option<String>,
    /// Its headers, for requeueing and for people.
    pub headers: Vec<(String, String)>,
    /// What it was published with first; empty where that does not matter.
    pub routing_key: String,
    /// `content_type`.
    pub content_type: Option<String>,
    /// `message_id`.
    pub message_id: Option<String>,
}

impl DeadLetter {
    /// What makes it the same letter when it is delivered again: everything but the time.
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

/// What a batch came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// Events that were not on record before.
    pub events: u64,
    /// Places in [`RecordBatch::events`] of those whose id belongs to an event with other content. They may have been delivered.
    pub other_events: Vec<usize>,
    /// Decisions that were new or added endpoints.
    pub decisions: u64,
    /// Delivery rows made or changed.
    pub deliveries: u64,
    /// Attempts that were not on record before.
    pub attempts: u64,
    /// Dead letters that were not on record before.
    pub dead_letters: u64,
    /// Dead letters that were counted and not kept, because their tenant's limit for the day is used up.
    pub dead_letters_not_kept: u64,
    /// Messages skipped because their day has no partition (it was dropped, or lies far off).
    pub skipped: u64,
}
