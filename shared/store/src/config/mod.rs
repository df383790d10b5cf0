//! Configuration: tenants, API keys, endpoints. Every edit is one transaction that first bumps the version counter,
//! stamps what it touches, and notifies `postrider_config` as a hint to [`crate::feed`].
//!
//! Deleting is soft: the row stays as a tombstone, its secrets are wiped, and readers answer "no such".

mod counter;
mod endpoints;
mod keys;
mod limits;
mod secrets;
mod tenants;

pub(crate) use counter::{CHANNEL, bump, finish};
pub(crate) use endpoints::{COLUMNS as ENDPOINT_COLUMNS, EndpointRow, endpoint_at};
pub use endpoints::{
    Channel, Endpoint, EndpointDocument, EndpointDraft, EndpointList, EndpointSummary, EndpointVersion, NewEndpoint,
    SignatureKey,
};
pub use keys::{ApiKey, CreatedKey, KeyHash, NewKey, Scope, Scopes};
pub use limits::TenantLimits;
pub(crate) use secrets::open_private;
pub use secrets::{EndpointPrivate, EndpointSecrets, PushoverCredentials, Rotation};
pub use tenants::{Tenant, TenantDraft};
