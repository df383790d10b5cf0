//! Ingest through its routes, over a real PostgreSQL and a real RabbitMQ.

mod harness;
mod identity;
mod stop;
