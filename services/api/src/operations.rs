//! What this service gives to `postrider-operations`.

use std::sync::Arc;

use postrider_model::ids::{KeyId, TenantId};
use postrider_operations::{Caller, Deps, KeyTable, Operations};
use postrider_store::config::Scopes;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::auth::{self, Keys};
use crate::config::Config;

impl KeyTable for Keys {
    fn insert(&self, id: KeyId, text: &SecretString, tenant: TenantId, scopes: Scopes) {
        self.made(id, text, tenant, scopes);
    }

    fn remove(&self, id: KeyId) {
        self.deleted(id);
    }
}

impl From<auth::Caller> for Caller {
    fn from(caller: auth::Caller) -> Self {
        match caller {
            auth::Caller::Operator { tenant, acting } => Self::Operator { tenant, acting },
            auth::Caller::Tenant { tenant, scopes, acting } => Self::Tenant { tenant, scopes, acting },
        }
    }
}

/// The operations of this process.
pub(crate) fn new(config: &Config, deps: Deps, stop: &CancellationToken) -> Arc<Operations> {
    let Config { test_patience, confirm_timeout, .. } = *config;
    let config = postrider_operations::Config { test_patience, confirm_timeout };
    Arc::new(Operations::new(config, deps, stop.clone()))
}
