//! End-to-end scenarios: the real binary as processes of their own, a real RabbitMQ and PostgreSQL, receivers on
//! loopback. One scenario a file; what they share is in `harness`.

#![expect(clippy::print_stdout, reason = "lateness is a figure to read")]

mod harness;

mod blocked;
mod bodies;
mod cloudevents;
mod crash;
mod dashboard;
mod dead_letters;
mod deploy;
mod disk;
mod edits;
mod event_types;
mod every_product;
mod explain;
mod figures;
mod filters;
mod foreign;
mod fuzz;
mod guarantees;
mod hostile;
mod intake;
mod isolation;
mod kumomta;
mod ladder;
mod leaks;
mod magnetite;
mod memory;
mod metigan;
mod migma;
mod migomail;
mod mumara;
mod operational_events;
mod pages;
mod parked;
mod partitions;
mod producers;
mod product_keys;
mod profiles;
mod pushover;
mod read_your_writes;
mod receiving;
mod replays;
mod reserialised;
mod restarts;
mod retention;
mod retries;
mod retry_after;
mod rotation;
mod secrecy;
mod standard;
mod stopping;
mod test_call;
mod tools;
mod tour;
mod traces;
mod withdraw;
