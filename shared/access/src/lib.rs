//! Access to the HTTP interfaces: one table of API keys in memory, used by ingest and the API.
//!
//! Owns the hashes of every key, the permissions of each key, and the tenants' budgets. Tenants' keys come from the
//! configuration feed, so that a request needs no query and works while the database is away. Operators' keys come from the
//! settings and are compared in constant time. Promises: a key is refused as unknown only while the configuration is fresh; a
//! snapshot of the feed does not reset a tenant's budget. It records the last use of each key in the database, to about a minute. It
//! does not answer requests: each service writes its own error responses.

mod key_table;
mod settings;

pub use key_table::{Key, KeyError, KeyTable, bearer};
pub use settings::Settings;
