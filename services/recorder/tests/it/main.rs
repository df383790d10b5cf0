//! Tests of the recorder with a real broker and a real database.

mod disable;
mod harness;
mod outages;
mod outbox_relay;
mod poison;
mod reconciling;
mod recording;
mod sequencing;
