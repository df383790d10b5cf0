//! The API through its router, with a real PostgreSQL and a real RabbitMQ.

mod access;
mod audit_log;
mod dead_letters;
mod edits;
mod endpoints;
mod erasures;
mod event_types;
mod harness;
mod log;
mod matching;
mod once;
mod openapi;
mod payload_search;
mod portal;
mod product_keys;
mod recorded;
mod recover;
mod tenants;
mod test_call;
mod trouble;
