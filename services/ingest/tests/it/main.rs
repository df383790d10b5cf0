//! Tests of ingest through its routes, with a real database and a real broker.

mod harness;
mod identity;
mod stop;
