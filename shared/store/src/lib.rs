//! Configuration and history (events, deliveries, attempts, dead letters) in PostgreSQL 15 to 17.
//!
//! This crate owns every SQL statement, the migrations, the daily partitions and the encryption of secrets at rest.
//!
//! # What it promises
//!
//! - **One counter orders configuration.** Every edit bumps the single row of `config_version` in its own transaction
//!   and stamps what it touched; the row's lock serialises edits, so that version order is commit order. Deleted rows
//!   stay as tombstones. [`feed`] hands both on.
//! - **The log merges in any order.** [`record`] upserts from decisions and outcomes, whatever comes first or twice;
//!   the final row is the same for every order.
//! - **Secrets are never in a column as plain text**, see [`crypto`].
//! - A connection that died in the pool costs one retry, not an error.
//!
//! # What it does not
//!
//! It validates no endpoint (the API does, with the tenant's profile), renders and sends nothing, and publishes nothing:
//! what is to be published after a commit lies in [`outbox`] until its caller says that it was.

pub mod attributes;
pub mod audit;
pub mod audit_log;
pub mod claims;
pub mod config;
pub mod crypto;
pub mod endpoint;
mod error;
pub mod feed;
pub mod forms;
pub mod history;
pub mod idempotency;
pub mod intervention;
mod migrate;
pub mod outbox;
pub mod partitions;
mod pool;
pub mod reconcile;
pub mod record;
pub mod replay;
mod retention;
pub mod services;
mod sessions;
mod settings;
mod sql;
pub mod stats;
mod store;
mod tls;
pub mod waiting;
mod withdraw;

pub use error::{EditError, StoreError};
pub use pool::{PoolUsage, StoreConfig};
pub use settings::{DatabaseSettings, MasterKeySettings};
pub use store::{
    ClaimStore, ConfigFeed, ConfigStore, History, IdempotencyStore, RecordStore, ServiceRegistry, SessionStore, Store,
};
