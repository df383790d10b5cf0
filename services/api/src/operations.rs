//! What this service gives to `postrider-operations`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use postrider_http::problem::Problem;
use postrider_model::ids::{KeyId, TenantId};
use postrider_operations::{Caller, Deps, Error, Forbidden, KeyHolders, KeyTable, Operations};
use postrider_store::config::{KeyHash, Scopes};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::Api;
use crate::auth::Keys;
use crate::config::Config;
use crate::refused::{self, Place};

impl KeyTable for Keys {
    fn insert(&self, id: KeyId, text: &SecretString, tenant: TenantId, scopes: Scopes) {
        self.made(id, text, tenant, scopes);
    }

    fn remove(&self, id: KeyId) {
        self.deleted(id);
    }
}

/// The operations of this process.
pub(crate) fn new(config: &Config, deps: Deps, stop: &CancellationToken) -> Arc<Operations> {
    let Config { test_patience, confirm_timeout, .. } = *config;
    let config = postrider_operations::Config { test_patience, confirm_timeout };
    Arc::new(Operations::new(config, deps, stop.clone()))
}

/// The error of a key that cannot be used.
fn key_error(problem: Problem) -> Error {
    let retry_after = Duration::from_secs(problem.retry_after_seconds.unwrap_or(1));
    match problem.status_code() {
        StatusCode::FORBIDDEN => Forbidden::SeveralTenants.into(),
        StatusCode::TOO_MANY_REQUESTS => Error::TooMany { detail: problem.detail, retry_after },
        _ => Error::Unavailable { detail: problem.detail, retry_after },
    }
}

impl KeyHolders for Api {
    fn find(&self, key: KeyHash) -> Result<Option<Caller>, Error> {
        match self.keys.find_hash(key, self.config.keys_fresh_for) {
            Ok(caller) => Ok(Some(caller)),
            Err(problem) if problem.status_code() == StatusCode::UNAUTHORIZED => Ok(None),
            Err(problem) => Err(key_error(problem)),
        }
    }

    fn count_unknown(&self, peer: Option<IpAddr>) -> Result<(), Error> {
        let detail = || refused::TOO_MANY.to_owned();
        self.refused.count(Place::SignIn, peer).map_err(|retry_after| Error::TooMany { detail: detail(), retry_after })
    }
}
