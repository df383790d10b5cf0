//! Who calls, and what they may do.
//!
//! Tenants' keys are a full in-memory table of hashes, kept fresh by the configuration feed, so that a request costs no query
//! and the database may be away. Operators' keys come from the configuration and are compared in constant time.
//!
//! Requests and changes are charged to the tenant, whichever of its keys they came with (`budget`); keys that do not exist to
//! those who try them (`refused`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use parking_lot::RwLock;
use postrider_http::problem::Problem;
use postrider_model::ids::{KeyId, TenantId};
use postrider_store::Store;
use postrider_store::audit_log::{Acting, Actor, Via};
use postrider_store::config::{KeyHash, KeyTenants, Scope, Scopes};
use postrider_store::feed::{Changes, FeedScope, FeedState};
use postrider_telemetry::health::Check;
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Api;
use crate::budget::Budget;
use crate::errors::no_such;
use crate::metrics;
use crate::refused::Place;
use crate::request::Params;

const COME_BACK: Duration = Duration::from_secs(2);

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// An operator, who may name a tenant by `?tenant=`.
    Operator {
        /// The tenant named.
        tenant: Option<TenantId>,
        /// How its changes are recorded.
        acting: Acting,
    },
    /// A tenant's key.
    Tenant {
        /// Whose.
        tenant: TenantId,
        /// What it may do.
        scopes: Scopes,
        /// How its changes are recorded.
        acting: Acting,
    },
}

impl Caller {
    /// Lets operators through only.
    pub(crate) fn operator(self) -> Result<(), Problem> {
        match self {
            Self::Operator { .. } => Ok(()),
            Self::Tenant { .. } => Err(Problem::forbidden("this takes an operator key")),
        }
    }

    /// The tenant whose things are meant; operators must name one.
    pub(crate) fn tenant(self, scope: Scope) -> Result<TenantId, Problem> {
        self.visible(scope)?.ok_or_else(|| {
            Problem::invalid_field("tenant", "an operator key names the tenant by ?tenant=<id or external id>")
        })
    }

    /// The tenant whose things may be seen; `None`: everybody's.
    pub(crate) fn visible(self, scope: Scope) -> Result<Option<TenantId>, Problem> {
        match self {
            Self::Operator { tenant, .. } => Ok(tenant),
            Self::Tenant { tenant, scopes, .. } if scopes.contains(scope) => Ok(Some(tenant)),
            Self::Tenant { .. } => {
                Err(Problem::forbidden(format!("this takes a key with the scope `{}`", scope.as_str())))
            }
        }
    }

    /// How its changes are recorded.
    pub(crate) fn acting(self) -> Acting {
        match self {
            Self::Operator { acting, .. } | Self::Tenant { acting, .. } => acting,
        }
    }

    /// The same caller, recorded otherwise.
    pub(crate) fn with(mut self, other: impl FnOnce(&mut Acting)) -> Self {
        match &mut self {
            Self::Operator { acting, .. } | Self::Tenant { acting, .. } => other(acting),
        }
        self
    }

    /// Checks that the caller may do `scope` with this very tenant.
    pub(crate) fn may(self, scope: Scope, wanted: TenantId) -> Result<(), Problem> {
        match self.visible(scope)? {
            Some(visible) if visible != wanted => Err(no_such("tenant")),
            _ => Ok(()),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        // A layer in front of the handler may have asked already: a request is charged once.
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(*known);
        }
        let params = Params::from_request_parts(parts, &()).await?;
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = authorization
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim())
            .filter(|key| !key.is_empty())
            .ok_or_else(|| Problem::unauthorized("send a key: `Authorization: Bearer <key>`"))?;
        let found = api.keys.find(key, api.config.keys_fresh_for);
        let caller = found.map_err(|problem| api.refused.judge(problem, Place::Api, &parts.extensions))?;
        let named = match params.get("tenant") {
            Some(name) => Some(api.find_tenant(name).await?),
            None => None,
        };
        match caller {
            Caller::Operator { acting, .. } => Ok(Caller::Operator { tenant: named, acting }),
            Caller::Tenant { tenant, .. } if named.is_some_and(|named| named != tenant) => Err(no_such("tenant")),
            caller => Ok(caller),
        }
    }
}

impl Api {
    /// The store, for a change that this caller makes: charged to its tenant, and recorded under its key.
    ///
    /// # Errors
    /// 429: the tenant changes too much.
    pub(crate) fn edits_of(&self, caller: Caller) -> Result<Store, Problem> {
        if let Caller::Tenant { tenant, .. } = caller {
            self.keys.charge_edit(tenant)?;
        }
        Ok(self.store.acting_as(caller.acting()))
    }
}

/// Every key there is.
pub(crate) struct Keys {
    operators: Vec<KeyHash>,
    table: RwLock<Table>,
    state: RwLock<Option<watch::Receiver<FeedState>>>,
    /// The configuration version in force here; 0 before the first.
    applied: watch::Sender<i64>,
}

#[derive(Default)]
struct Table {
    keys: HashMap<KeyHash, Entry>,
    /// Product keys: they publish and do nothing here.
    product_keys: HashSet<KeyHash>,
    hashes: HashMap<KeyId, KeyHash>,
    /// Of every tenant that has a key, or had one.
    budgets: HashMap<TenantId, Arc<Budget>>,
}

struct Entry {
    id: KeyId,
    tenant: TenantId,
    scopes: Scopes,
    budget: Arc<Budget>,
}

impl Keys {
    pub(crate) fn new(operator_keys: &[SecretString]) -> Self {
        let operators = operator_keys.iter().map(|key| KeyHash::of(key.expose_secret())).collect();
        Self { operators, table: RwLock::default(), state: RwLock::default(), applied: watch::Sender::new(0) }
    }

    /// Keeps the table fresh until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, store: Store, stop: CancellationToken, ready: Check) {
        let mut feed = store.feed().follow(FeedScope::KEYS, stop);
        *self.state.write() = Some(feed.state());
        while let Some(changes) = feed.recv().await {
            let version = changes.version;
            self.table.write().apply(changes);
            metrics::config_version(version);
            self.applied.send_replace(version);
            ready.ok();
        }
    }

    /// The configuration version in force here, and its changes.
    pub(crate) fn applied(&self) -> watch::Receiver<i64> {
        self.applied.subscribe()
    }

    /// Enters a key that was just made, so that its holder need not wait for the feed.
    pub(crate) fn made(&self, id: KeyId, text: &SecretString, tenant: TenantId, scopes: Scopes) {
        self.table.write().insert(id, KeyHash::of(text.expose_secret()), tenant, scopes);
    }

    /// Forgets a key that was just deleted.
    pub(crate) fn deleted(&self, id: KeyId) {
        self.table.write().remove(id);
    }

    /// Charges a change to a tenant.
    fn charge_edit(&self, tenant: TenantId) -> Result<(), Problem> {
        let budget = self.table.read().budgets.get(&tenant).cloned();
        budget.map_or(Ok(()), |budget| budget.charge_edit())
    }

    fn find(&self, key: &str, fresh_for: Duration) -> Result<Caller, Problem> {
        self.find_hash(KeyHash::of(key), fresh_for)
    }

    /// Who holds the key of this hash.
    ///
    /// # Errors
    /// 401: nobody; 503: nobody that is known here, while the database is away.
    pub(crate) fn find_hash(&self, hash: KeyHash, fresh_for: Duration) -> Result<Caller, Problem> {
        // Every operator key is compared, whichever matches, byte by byte without an early end.
        let matches = self.operators.iter().fold(Choice::from(0), |found, operator| found | operator.0.ct_eq(&hash.0));
        if bool::from(matches) {
            let [a, b, c, d, ..] = hash.0;
            let acting = Acting { actor: Actor::Operator([a, b, c, d]), via: Some(Via::Api), claim: None };
            return Ok(Caller::Operator { tenant: None, acting });
        }
        if let Some(entry) = self.table.read().keys.get(&hash) {
            entry.budget.charge_request()?;
            let acting = Acting { actor: Actor::Key(entry.id), via: Some(Via::Api), claim: None };
            return Ok(Caller::Tenant { tenant: entry.tenant, scopes: entry.scopes, acting });
        }
        if self.table.read().product_keys.contains(&hash) {
            let detail =
                "this key publishes for several tenants and does nothing else; use a tenant's key or an operator key";
            return Err(Problem::forbidden(detail));
        }
        let fresh = self.state.read().as_ref().is_some_and(|state| state.borrow().is_fresh(fresh_for));
        if fresh {
            Err(Problem::unauthorized("no such key"))
        } else {
            Err(Problem::unavailable("the key is not known here, and the database is not available", COME_BACK))
        }
    }
}

impl Table {
    fn apply(&mut self, changes: Changes) {
        if changes.snapshot {
            // Budgets stay as they are: a snapshot is no reason to begin anew.
            self.keys.clear();
            self.hashes.clear();
        }
        for key in changes.keys {
            match key.tenants {
                KeyTenants::One(tenant) => self.insert(key.id, key.hash, tenant, key.scopes),
                KeyTenants::Several(_) | KeyTenants::All => self.insert_product_key(key.id, key.hash),
            }
        }
        for id in changes.keys_gone {
            self.remove(id);
        }
        if !changes.tenants_gone.is_empty() {
            self.keys.retain(|_, entry| !changes.tenants_gone.contains(&entry.tenant));
            self.budgets.retain(|tenant, _| !changes.tenants_gone.contains(tenant));
        }
    }

    fn insert(&mut self, id: KeyId, hash: KeyHash, tenant: TenantId, scopes: Scopes) {
        let budget = Arc::clone(self.budgets.entry(tenant).or_default());
        self.keys.insert(hash, Entry { id, tenant, scopes, budget });
        self.hashes.insert(id, hash);
    }

    fn insert_product_key(&mut self, id: KeyId, hash: KeyHash) {
        self.product_keys.insert(hash);
        self.hashes.insert(id, hash);
    }

    fn remove(&mut self, id: KeyId) {
        if let Some(hash) = self.hashes.remove(&id) {
            self.product_keys.remove(&hash);
            self.keys.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::limits::{API_REQUESTS_BURST, EDITS_BURST};
    use postrider_store::feed::KeyConfig;

    use super::*;

    const FRESH: Duration = Duration::from_secs(5);

    fn status(found: Result<Caller, Problem>) -> u16 {
        found.map_or_else(|problem| problem.status, |_| 200)
    }

    fn keys(confirmed: bool) -> (Keys, watch::Sender<FeedState>) {
        let keys = Keys::new(&[SecretString::from("old operator"), SecretString::from("new operator")]);
        let state = FeedState { version: 1, confirmed: confirmed.then(std::time::Instant::now) };
        let (sender, receiver) = watch::channel(state);
        *keys.state.write() = Some(receiver);
        (keys, sender)
    }

    #[test]
    fn operators_are_known_without_a_database_and_an_unknown_key_is_no_wrong_one_then() {
        let nothing_yet = Keys::new(&[SecretString::from("operator")]);
        assert_eq!(status(nothing_yet.find("operator", FRESH)), 200);
        assert_eq!(status(nothing_yet.find("unknown", FRESH)), 503);
        let (keys, _state) = keys(false);
        assert_eq!(status(keys.find("old operator", FRESH)), 200);
        assert_eq!(status(keys.find("new operator", FRESH)), 200);
        assert_eq!(status(keys.find("unknown", FRESH)), 503);
    }

    #[test]
    fn a_tenant_that_asks_too_often_with_all_its_keys_is_told_when_to_come_back_and_no_other_is() {
        let (keys, _state) = keys(true);
        let tenant = TenantId::generate();
        for (name, tenant) in [("one", tenant), ("two", tenant), ("other", TenantId::generate())] {
            keys.made(KeyId::generate(), &SecretString::from(name), tenant, Scopes::ALL);
        }
        // At most two bursts' worth, however slow this machine is at asking.
        let asked = (0..2 * API_REQUESTS_BURST.get()).map(|n| keys.find(["one", "two"][n as usize % 2], FRESH));
        let refused = asked.filter_map(Result::err).next().expect("a burst has an end");
        assert_eq!((refused.status, refused.retry_after_seconds), (429, Some(1)));
        // A new key is no new budget.
        keys.made(KeyId::generate(), &SecretString::from("three"), tenant, Scopes::ALL);
        let refused = (0..API_REQUESTS_BURST.get()).filter_map(|_| keys.find("three", FRESH).err()).next();
        assert_eq!(refused.map(|problem| problem.status), Some(429));
        assert_eq!(status(keys.find("other", FRESH)), 200);
    }

    #[test]
    fn changes_have_a_budget_of_their_own() {
        let (keys, _state) = keys(true);
        let tenant = TenantId::generate();
        keys.made(KeyId::generate(), &SecretString::from("one"), tenant, Scopes::ALL);
        let refused = (0..2 * EDITS_BURST.get()).filter_map(|_| keys.charge_edit(tenant).err()).next();
        assert_eq!(refused.map(|problem| problem.status), Some(429));
        assert_eq!(status(keys.find("one", FRESH)), 200);
        assert!(keys.charge_edit(TenantId::generate()).is_ok());
    }

    #[test]
    fn keys_come_and_go_with_the_feed() {
        let (keys, _state) = keys(true);
        let (id, tenant) = (KeyId::generate(), TenantId::generate());
        let key = |text: &str| KeyConfig {
            id,
            tenants: KeyTenants::One(tenant),
            hash: KeyHash::of(text),
            scopes: Scopes::ALL,
        };
        let apply = |changes: Changes| keys.table.write().apply(changes);
        assert_eq!(status(keys.find("mine", FRESH)), 401);
        apply(Changes { keys: vec![key("mine")], ..Changes::default() });
        let acting = Acting { actor: Actor::Key(id), via: Some(Via::Api), claim: None };
        assert_eq!(keys.find("mine", FRESH).unwrap(), Caller::Tenant { tenant, scopes: Scopes::ALL, acting });
        apply(Changes { keys_gone: vec![id], ..Changes::default() });
        assert_eq!(status(keys.find("mine", FRESH)), 401);
        apply(Changes { keys: vec![key("mine")], ..Changes::default() });
        apply(Changes { tenants_gone: vec![tenant], ..Changes::default() });
        assert_eq!(status(keys.find("mine", FRESH)), 401);
        apply(Changes { keys: vec![key("mine")], ..Changes::default() });
        apply(Changes { snapshot: true, ..Changes::default() });
        assert_eq!(status(keys.find("mine", FRESH)), 401);
    }
}
