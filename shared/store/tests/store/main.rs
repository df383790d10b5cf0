//! The store with a real PostgreSQL. Every test has a database of its own.

mod attributes;
mod audit_log;
mod auditing;
mod claims;
mod configuration;
mod event_types;
mod feed;
mod forms;
mod health;
mod hours;
mod idempotency;
mod manual_retries;
mod migrating;
mod partitions;
mod purging;
mod reading;
mod reconciling;
mod recording;
mod replaying;
mod resealing;
mod services;
mod stats;
mod support;
mod waiting;
