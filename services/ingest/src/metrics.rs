//! What ingest counts. Names are documented in `docs/metrics.md`.

use metrics::{counter, describe_counter};

/// Describes every metric of ingest to the recorder in force.
pub(crate) fn describe() {
    describe_counter!("postrider_ingest_events_total", "events answered with 202, by whether they were repeats");
    describe_counter!("postrider_ingest_unconfirmed_total", "events answered with 503 because no confirm came in time");
    describe_counter!("postrider_ingest_limited_total", "requests answered with 429");
}

pub(crate) fn accepted(duplicate: bool) {
    counter!("postrider_ingest_events_total", "duplicate" => if duplicate { "true" } else { "false" }).increment(1);
}

pub(crate) fn refused() {
    counter!("postrider_ingest_unconfirmed_total").increment(1);
}

pub(crate) fn limited() {
    counter!("postrider_ingest_limited_total").increment(1);
}
