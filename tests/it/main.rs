//! End-to-end scenarios: the real binary as processes of their own, a real RabbitMQ and PostgreSQL, receivers on
//! loopback. One scenario a file; what they share is in `harness`.

#![expect(clippy::print_stdout, reason = "lateness is a figure to read")]

mod harness;

mod blocked;
mod cloudevents;
mod crash;
mod dead_letters;
mod explain;
mod filters;
mod intake;
mod kumomta;
mod ladder;
mod magnetite;
mod metigan;
mod migma;
mod migomail;
mod mumara;
mod parked;
mod producers;
mod profiles;
mod replays;
mod reserialised;
mod retries;
mod retry_after;
mod rotation;
mod standard;
mod test_call;
mod traces;
mod withdraw;
