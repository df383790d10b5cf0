//! Configuration: tenants, API keys, product keys, endpoints, event types. Every edit is one transaction: it first increments the
//! version counter, then writes the version into the rows that it changes and notifies `postrider_config`, a hint to the feed.
//!
//! Deletion is soft: the row remains as a tombstone without secrets, and reads do not return it.

mod config_version;
mod document;
mod endpoint_health;
mod endpoint_list;
mod endpoint_row;
mod endpoints;
mod event_types;
mod keys;
mod product_keys;
mod reseal;
mod secrets;
mod tenants;

pub use config_version::observe_edits;
pub(crate) use config_version::{CHANNEL, bump, finish};
pub(crate) use document::body_kind;
pub use document::{
    Endpoint, EndpointDocument, EndpointDraft, EndpointList, EndpointSummary, EndpointVersion, NewEndpoint,
};
pub(crate) use endpoint_health::last_failure;
pub use endpoint_health::{EndpointHealth, LastFailure, Outage, Recovery};
pub(crate) use endpoint_row::{COLUMNS as ENDPOINT_COLUMNS, EndpointRow, endpoint_at};
pub use endpoints::FoundEndpoint;
pub use event_types::{EventTypeAt, EventTypeDraft, EventTypePage, SavedEventType, TenantEventType};
pub use keys::{ApiKey, CreatedKey, KeyHash, NewKey, Scopes};
pub use product_keys::{CreatedProductKey, KeyTenants, ProductKey};
pub use reseal::Resealed;
pub(crate) use secrets::open_private;
pub use secrets::{EndpointPrivate, EndpointSecrets, NewSecret, PushoverCredentials, Rotation};
pub use tenants::{Tenant, TenantDraft};
