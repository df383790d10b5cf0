//! End-to-end scenarios: the real binary in separate processes, a real RabbitMQ and PostgreSQL, receivers on loopback. One file
//! for each scenario; shared code is in `harness`.

#![expect(clippy::print_stdout, reason = "lateness is a figure to read")]

mod harness;

mod batches;
mod blocked;
mod cancel_and_expunge;
mod chat;
mod cloudevents;
mod crash;
mod dashboard;
mod dead_letters;
mod deploy;
mod disk;
mod email;
mod erasure;
mod event_types;
mod every_product;
mod expiry;
mod explain;
mod filters;
mod foreign;
mod fuzz;
mod hostile;
mod inner_networks;
mod intake;
mod isolation;
mod kumomta;
mod ladder;
mod large_batches;
mod magnetite;
mod memory;
mod metigan;
mod migma;
mod migomail;
mod mumara;
mod operational_events;
mod operator_commands;
mod ordering;
mod pagination;
mod partitions;
mod pause;
mod producers;
mod product_keys;
mod profiles;
mod pushover;
mod read_your_writes;
mod receiving;
mod recover;
mod replays;
mod reserialising_verifiers;
mod restarts;
mod retention;
mod retries;
mod retry_after;
mod retry_schedule;
mod rotation;
mod secrets;
mod stale_edits;
mod standard;
mod start_and_stop;
mod stats;
mod test_call;
mod tour;
mod traces;
