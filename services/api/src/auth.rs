//! Authenticates callers and determines what they may do.
//!
//! The hashes of all tenants' keys are in memory, updated by the configuration feed, so that a request needs no query and works
//! while the database is away. Operator keys come from the settings and are compared in constant time.
//!
//! A request is charged to its tenant, for all keys of the tenant together (`budget`). Attempts with unknown keys are limited by
//! address (`refused`).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use postrider_access::{Key, KeyError, KeyTable, bearer};
use postrider_http::problem::Problem;
use postrider_model::ids::{KeyId, TenantId};
use postrider_operations::{Caller, Error};
use postrider_store::Store;
use postrider_store::audit_log::{Acting, Actor, Via};
use postrider_store::config::{KeyHash, KeyTenants, Scopes};
use postrider_store::feed::{Changes, FeedScope};
use postrider_telemetry::health::Check;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Api;
use crate::budget::Budget;
use crate::failure::problem;
use crate::metrics;
use crate::refused::Place;

const COME_BACK: Duration = Duration::from_secs(2);

/// The caller identified by a request's key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Auth(pub(crate) Caller);

impl FromRequestParts<Arc<Api>> for Auth {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        // A layer in front of the handler may have authenticated the request already; it is charged once.
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(*known);
        }
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key =
            bearer(authorization).ok_or_else(|| Problem::unauthorized("send a key: `Authorization: Bearer <key>`"))?;
        let found = api.keys.find(key, api.config.keys_fresh_for);
        let caller = found.map_err(|problem| api.refused.judge(problem, Place::Api, &parts.extensions))?;
        let named = match tenant_param(parts) {
            Some(name) => Some(api.operations.find_tenant(&name).await.map_err(problem)?),
            None => None,
        };
        match caller {
            Caller::Operator { acting, .. } => Ok(Self(Caller::Operator { tenant: named, acting })),
            Caller::Tenant { tenant, .. } if named.is_some_and(|named| named != tenant) => {
                Err(problem(Error::NotFound("tenant")))
            }
            caller => Ok(Self(caller)),
        }
    }
}

/// The parameter `tenant`.
fn tenant_param(parts: &Parts) -> Option<String> {
    let query = parts.uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "tenant").map(|(_, tenant)| tenant.into_owned())
}

/// The table of keys, and the responses to invalid keys.
pub(crate) struct Keys {
    table: KeyTable<Budget>,
    /// The configuration version in force here; 0 before the first.
    applied: watch::Sender<i64>,
}

impl Keys {
    pub(crate) fn new(operator_keys: &[SecretString]) -> Self {
        Self { table: KeyTable::new(operator_keys), applied: watch::Sender::new(0) }
    }

    /// Follows the configuration until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, store: Store, stop: CancellationToken, ready: Check) {
        let apply = |changes: Changes| {
            metrics::config_version(changes.version);
            self.applied.send_replace(changes.version);
            ready.ok();
        };
        self.table.follow(store.feed().follow(FeedScope::KEYS, stop), apply).await;
    }

    /// The configuration version in force here, and its changes.
    pub(crate) fn applied(&self) -> watch::Receiver<i64> {
        self.applied.subscribe()
    }

    /// Adds a key that was just created, so that it is valid before the feed reports it.
    pub(crate) fn made(&self, id: KeyId, text: &SecretString, tenant: TenantId, scopes: Scopes) {
        self.table.insert(id, text, tenant, scopes);
    }

    /// Removes a key that was just deleted.
    pub(crate) fn deleted(&self, id: KeyId) {
        self.table.remove(id);
    }

    fn find(&self, key: &str, fresh_for: Duration) -> Result<Caller, Problem> {
        self.find_hash(KeyHash::of(key), fresh_for)
    }

    /// The caller whose key has this hash; charges the request to its tenant.
    ///
    /// # Errors
    /// 401 for an unknown key, 503 for one that may be new, 403 for a key of several tenants, 429 for a tenant without budget.
    pub(crate) fn find_hash(&self, hash: KeyHash, fresh_for: Duration) -> Result<Caller, Problem> {
        let acting = |actor| Acting { actor, via: Some(Via::Api), claim: None };
        match self.table.find(&hash, fresh_for) {
            Ok(Key::Operator(hash)) => Ok(Caller::Operator { tenant: None, acting: acting(Actor::Operator(hash)) }),
            Ok(Key::Tenant { id, tenants, scopes, budget }) => match (&*tenants, budget) {
                (KeyTenants::One(tenant), Some(budget)) => {
                    budget.charge_request()?;
                    Ok(Caller::Tenant { tenant: *tenant, scopes, acting: acting(Actor::Key(id)) })
                }
                _ => Err(Problem::forbidden(
                    "this key publishes for several tenants and does nothing else; use a tenant's key or an operator key",
                )),
            },
            Err(KeyError::Unknown) => Err(Problem::unauthorized("no such key")),
            Err(KeyError::MaybeNew) => {
                Err(Problem::unavailable("the key is not known here, and the database is not available", COME_BACK))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::limits::API_REQUESTS_BURST;
    use postrider_store::feed::{FeedState, KeyConfig};

    use super::*;

    const FRESH: Duration = Duration::from_secs(5);

    fn status(found: Result<Caller, Problem>) -> u16 {
        found.map_or_else(|problem| problem.status, |_| 200)
    }

    fn keys() -> Keys {
        let keys = Keys::new(&[SecretString::from("operator")]);
        keys.table.set_state(FeedState { version: 1, confirmed: Some(std::time::Instant::now()) });
        keys
    }

    #[test]
    fn each_kind_of_key_gets_its_answer() {
        let stale = Keys::new(&[SecretString::from("operator")]);
        assert_eq!(status(stale.find("operator", FRESH)), 200);
        assert_eq!(status(stale.find("unknown", FRESH)), 503);
        let keys = keys();
        assert_eq!(status(keys.find("unknown", FRESH)), 401);
        let key = |tenants| {
            let (id, hash) = (KeyId::generate(), KeyHash::of("mine"));
            Changes { keys: vec![KeyConfig { id, tenants, hash, scopes: Scopes::ALL }], ..Changes::default() }
        };
        let tenant = TenantId::generate();
        let changes = key(KeyTenants::One(tenant));
        let acting = Acting { actor: Actor::Key(changes.keys[0].id), via: Some(Via::Api), claim: None };
        keys.table.apply(&changes);
        assert_eq!(keys.find("mine", FRESH).unwrap(), Caller::Tenant { tenant, scopes: Scopes::ALL, acting });
        keys.table.apply(&key(KeyTenants::All));
        assert_eq!(status(keys.find("mine", FRESH)), 403);
    }

    #[test]
    fn all_keys_of_a_tenant_share_one_budget_of_requests() {
        let keys = keys();
        let tenant = TenantId::generate();
        for (name, tenant) in [("one", tenant), ("two", tenant), ("other", TenantId::generate())] {
            keys.made(KeyId::generate(), &SecretString::from(name), tenant, Scopes::ALL);
        }
        // At most two bursts, even on a slow machine.
        let asked = (0..2 * API_REQUESTS_BURST.get()).map(|n| keys.find(["one", "two"][n as usize % 2], FRESH));
        let refused = asked.filter_map(Result::err).next().expect("a burst has an end");
        assert_eq!((refused.status, refused.retry_after_seconds), (429, Some(1)));
        // A new key does not get a new budget.
        keys.made(KeyId::generate(), &SecretString::from("three"), tenant, Scopes::ALL);
        let refused = (0..API_REQUESTS_BURST.get()).filter_map(|_| keys.find("three", FRESH).err()).next();
        assert_eq!(refused.map(|problem| problem.status), Some(429));
        assert_eq!(status(keys.find("other", FRESH)), 200);
    }
}
