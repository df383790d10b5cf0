//! Metrics of ingest. `docs/metrics.md` documents the names.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// Registers the description of every metric of ingest.
pub(crate) fn describe() {
    describe_counter!("postrider_ingest_events_total", "events answered with 202, by whether they are duplicates");
    describe_counter!(
        "postrider_ingest_unconfirmed_events_total",
        "events that the broker did not confirm, or that were not sent to it; over HTTP the answer is 503"
    );
    describe_counter!(
        "postrider_ingest_limited_requests_total",
        "refusals because of a tenant's or key's limit (429): requests, or single events of a batch"
    );
    describe_gauge!("postrider_ingest_config_version", "configuration version in use by this process");
    describe_counter!("postrider_ingest_intake_messages_total", "messages consumed from the exchange, by result");
    // The counters start at 0, so that monitoring sees the first increase.
    for duplicate in ["true", "false"] {
        counter!("postrider_ingest_events_total", "duplicate" => duplicate).increment(0);
    }
    for result in [Intaken::Accepted, Intaken::Ignored, Intaken::Refused, Intaken::Postponed] {
        counter!("postrider_ingest_intake_messages_total", "result" => result.as_str()).increment(0);
    }
    counter!("postrider_ingest_unconfirmed_events_total").increment(0);
    counter!("postrider_ingest_limited_requests_total").increment(0);
}

#[expect(clippy::cast_precision_loss, reason = "a version stays far below 2^53")]
pub(crate) fn config_version(version: i64) {
    gauge!("postrider_ingest_config_version").set(version as f64);
}

pub(crate) fn accepted(duplicate: bool) {
    counter!("postrider_ingest_events_total", "duplicate" => if duplicate { "true" } else { "false" }).increment(1);
}

pub(crate) fn unconfirmed() {
    counter!("postrider_ingest_unconfirmed_events_total").increment(1);
}

pub(crate) fn limited() {
    counter!("postrider_ingest_limited_requests_total").increment(1);
}

/// The result of a message from the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intaken {
    /// The valid events of the message were accepted.
    Accepted,
    /// The message is a KumoMTA record that results in no event.
    Ignored,
    /// The message became a dead letter.
    Refused,
    /// The message was moved to the end of the queue and is tried again later.
    Postponed,
}

impl Intaken {
    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Postponed => "postponed",
        }
    }
}

pub(crate) fn intake(result: Intaken) {
    counter!("postrider_ingest_intake_messages_total", "result" => result.as_str()).increment(1);
}
