//! Configuration and history (events, deliveries, attempts, dead letters) in PostgreSQL 15 to 17.
//!
//! This crate owns every SQL statement, the migrations, the daily partitions and the encryption of secrets at rest.
//!
//! # What it promises
//!
//! - **One counter orders configuration.** Every edit increments the single row of `config_version` in its transaction and
//!   writes the version into the rows that it changes. The counter's lock serialises edits, so version order is commit order.
//!   Deleted rows remain as tombstones. [`feed`] sends both changed and deleted rows to services.
//! - **The history merges in any order.** [`record`] upserts decisions and outcomes. The final row is the same for every
//!   order, with or without duplicates.
//! - **Secrets are never in a column as plain text**, see [`crypto`].
//! - A pooled connection that is closed causes a reconnect, not an error.
//!
//! # Errors
//!
//! Every call that uses the database returns an error if the database is away or refuses the statement. Then nothing was
//! changed, unless the function's documentation says otherwise. The section `Errors` of a function lists only the other errors.
//!
//! # What it does not do
//!
//! It validates no endpoint (the API validates, with the tenant's profile), and it renders, sends and publishes nothing.
//! Messages to publish after a commit remain in the [`outbox`] until the caller removes them.

pub mod attributes;
pub mod audit;
pub mod audit_log;
pub mod claims;
pub mod config;
pub mod crypto;
mod dead_letters;
pub mod endpoint;
pub mod erasures;
mod error;
pub mod failures;
pub mod feed;
pub mod forms;
pub mod history;
pub mod idempotency;
pub mod intervention;
pub mod lines;
mod locks;
pub mod manual_retry;
mod migrate;
pub mod notices;
pub mod outbox;
pub mod partitions;
pub mod pauses;
pub mod people;
mod pool;
pub mod portal;
pub mod reconcile;
pub mod record;
pub mod replay;
mod retention;
pub mod saved_views;
pub mod services;
pub mod sessions;
mod settings;
mod sql;
pub mod stats;
mod store;
mod tls;
pub mod trouble;
pub mod waiting;
mod withdraw;

pub use error::{EditError, StoreError};
pub use pool::{PoolUsage, StoreConfig};
pub use settings::{DatabaseSettings, MasterKeySettings};
pub use store::{
    ClaimStore, ConfigFeed, ConfigStore, History, IdempotencyStore, LineStore, RecordStore, ServiceRegistry,
    SessionStore, Store,
};
