//! The store against a real PostgreSQL; every test has a database of its own.

mod attributes;
mod configuration;
mod event_types;
mod feed;
mod health;
mod migrating;
mod partitions;
mod reading;
mod recording;
mod replaying;
mod retrying;
mod services;
mod stats;
mod support;
