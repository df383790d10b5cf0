//! Tests of the dispatcher with a real broker, a real database and a local receiver.

mod attempts;
mod batches;
mod blocked;
mod ends;
mod pacing;
mod parked;
mod receiver;
mod runs;
mod schedule;
mod world;
