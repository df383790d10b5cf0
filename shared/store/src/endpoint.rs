//! What the dispatcher looks up at attempt time, secrets opened. Secrets never travel in messages.

use postrider_model::delivery::EndpointStatus;
use postrider_model::ids::{EndpointId, TenantId};

use crate::config::{EndpointDocument, EndpointPrivate, EndpointSecrets, TenantLimits};
use crate::error::StoreError;
use crate::pool::Store;

/// An endpoint with all that an attempt needs.
#[derive(Debug, Clone)]
pub struct DispatchEndpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose.
    pub tenant: TenantId,
    /// Channel, URL, schedule, timeout, rate and the rest that is no secret.
    pub document: EndpointDocument,
    /// Whether it takes events.
    pub status: EndpointStatus,
    /// Its signing secrets.
    pub secrets: EndpointSecrets,
    /// Its own headers, token and credentials.
    pub private: EndpointPrivate,
    /// The profile of its tenant.
    pub profile: String,
    /// The limits of its tenant.
    pub limits: TenantLimits,
    /// Days of failure after which it is switched off, as its tenant says.
    pub disable_after_days: Option<u32>,
    /// Configuration version of its last edit.
    pub version: i64,
    /// Configuration version that this was read at: a message that asks for this or less is served.
    pub config_version: i64,
}

impl Store {
    /// The endpoint, as of now; `None`: it was deleted (endpoints are committed before any message names them).
    ///
    /// # Errors
    /// The database's, or [`StoreError::Crypto`] when a master key is missing.
    pub async fn endpoint_for_dispatch(&self, id: EndpointId) -> Result<Option<DispatchEndpoint>, StoreError> {
        let _ = id;
        todo!()
    }
}
