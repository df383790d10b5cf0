//! End-to-end scenarios: the real binary as processes of their own, a real RabbitMQ and PostgreSQL, receivers on
//! loopback. One scenario a file; what they share is in `harness`.

#![expect(clippy::print_stdout, reason = "lateness is a figure to read")]

mod harness;

mod blocked;
mod cloudevents;
mod crash;
mod dashboard;
mod dead_letters;
mod edits;
mod explain;
mod filters;
mod foreign;
mod fuzz;
mod intake;
mod kumomta;
mod ladder;
mod magnetite;
mod metigan;
mod migma;
mod migomail;
mod mumara;
mod operational_events;
mod pages;
mod parked;
mod producers;
mod profiles;
mod pushover;
mod receiving;
mod replays;
mod reserialised;
mod retries;
mod retry_after;
mod rotation;
mod standard;
mod test_call;
mod tour;
mod traces;
mod withdraw;
