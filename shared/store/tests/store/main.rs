//! The store against a real PostgreSQL; every test has a database of its own.

mod configuration;
mod feed;
mod partitions;
mod reading;
mod recording;
mod replaying;
mod retrying;
mod support;
