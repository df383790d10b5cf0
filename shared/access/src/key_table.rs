//! A table of API keys, by their hash.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use postrider_model::ids::{KeyId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::config::{KeyHash, KeyTenants, Scopes};
use postrider_store::feed::{Changes, Feed, FeedState};
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the keys that were used are noted in the database.
const NOTE_USE_EVERY: Duration = Duration::from_secs(60);

/// The table of all keys. `B` is the budget of one tenant, such as a rate limiter. All keys of the tenant share the budget.
pub struct KeyTable<B> {
    operators: Vec<KeyHash>,
    table: RwLock<Table<B>>,
    state: watch::Sender<FeedState>,
}

struct Table<B> {
    keys: HashMap<KeyHash, TenantKey<B>>,
    hashes: HashMap<KeyId, KeyHash>,
    budgets: HashMap<TenantId, Arc<B>>,
}

struct TenantKey<B> {
    id: KeyId,
    tenants: Arc<KeyTenants>,
    scopes: Scopes,
    /// The tenant's budget; `None` for a key of several tenants.
    budget: Option<Arc<B>>,
    /// Whether it was found since its use was last noted.
    used: AtomicBool,
}

/// A valid key.
#[derive(Debug)]
pub enum Key<B> {
    /// An operator's key, with the first bytes of its hash.
    Operator([u8; 4]),
    /// A key of one or several tenants, which a tenant or an operator created.
    Tenant {
        /// Its id.
        id: KeyId,
        /// The tenants for which the key is valid.
        tenants: Arc<KeyTenants>,
        /// The permissions of the key.
        scopes: Scopes,
        /// The budget of its tenant; `None` for a key of several tenants.
        budget: Option<Arc<B>>,
    },
}

/// Why a key is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key does not exist.
    #[error("no such key")]
    Unknown,
    /// The configuration in memory is stale, so the key may exist.
    #[error("the key is not known here, and the database is not available")]
    MaybeNew,
}

/// Extracts the key from the value of an `Authorization` header. The case of the scheme `Bearer` does not matter.
pub fn bearer(authorization: Option<&str>) -> Option<&str> {
    let (scheme, key) = authorization?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

impl<B: Default> KeyTable<B> {
    /// Creates a table with the operators' keys only. The first configuration adds tenants' keys.
    pub fn new(operator_keys: &[SecretString]) -> Self {
        let operators = operator_keys.iter().map(|key| KeyHash::of(key.expose_secret())).collect();
        let table = Table { keys: HashMap::new(), hashes: HashMap::new(), budgets: HashMap::new() };
        Self { operators, table: RwLock::new(table), state: watch::Sender::default() }
    }

    /// Finds the valid key with this hash. For a hash that is not in the table, the error is [`KeyError::Unknown`] if the
    /// database confirmed the configuration within `fresh_for`, otherwise [`KeyError::MaybeNew`].
    ///
    /// # Errors
    /// The table does not have the key.
    pub fn find(&self, hash: &KeyHash, fresh_for: Duration) -> Result<Key<B>, KeyError> {
        // Compares the hash with every operator key, always with all bytes and all keys, so that the duration does not reveal a
        // match.
        let matches = self.operators.iter().fold(Choice::from(0), |found, operator| found | operator.0.ct_eq(&hash.0));
        if bool::from(matches) {
            let [a, b, c, d, ..] = hash.0;
            return Ok(Key::Operator([a, b, c, d]));
        }
        if let Some(key) = self.table.read().keys.get(hash) {
            // Most requests find it set, and a write would slow down those on other processors.
            if !key.used.load(Ordering::Relaxed) {
                key.used.store(true, Ordering::Relaxed);
            }
            let (tenants, budget) = (Arc::clone(&key.tenants), key.budget.clone());
            return Ok(Key::Tenant { id: key.id, tenants, scopes: key.scopes, budget });
        }
        Err(if self.is_fresh(fresh_for) { KeyError::Unknown } else { KeyError::MaybeNew })
    }

    /// Whether the database confirmed the configuration within `fresh_for`.
    pub fn is_fresh(&self, fresh_for: Duration) -> bool {
        self.state.borrow().is_fresh(fresh_for)
    }

    /// Watches the freshness of the configuration.
    pub fn state(&self) -> watch::Receiver<FeedState> {
        self.state.subscribe()
    }

    /// Stores the freshness of the configuration.
    pub fn set_state(&self, state: FeedState) {
        self.state.send_replace(state);
    }

    /// Returns the budget of a tenant; `None` if the tenant had neither a key nor a portal session since the start of the
    /// process.
    pub fn budget(&self, tenant: TenantId) -> Option<Arc<B>> {
        self.table.read().budgets.get(&tenant).cloned()
    }

    /// Returns the budget of an existing tenant, with or without keys.
    pub fn budget_of_existing(&self, tenant: TenantId) -> Arc<B> {
        self.budget(tenant).unwrap_or_else(|| Arc::clone(self.table.write().budgets.entry(tenant).or_default()))
    }

    /// Adds a key of one tenant that was just created, so that the key is valid before the feed reports it.
    pub fn insert(&self, id: KeyId, key: &SecretString, tenant: TenantId, scopes: Scopes) {
        self.table.write().insert(id, KeyHash::of(key.expose_secret()), &KeyTenants::One(tenant), scopes);
    }

    /// Removes a key that was just deleted.
    pub fn remove(&self, id: KeyId) {
        self.table.write().remove(id);
    }

    /// The keys that were found since the last call.
    fn take_used(&self) -> Vec<KeyId> {
        let table = self.table.read();
        table.keys.values().filter(|key| key.used.swap(false, Ordering::Relaxed)).map(|key| key.id).collect()
    }

    /// Notes in the database which keys are used, every minute until `stop`. The use of the last minute before a stop may be missing.
    pub async fn note_use(&self, store: Store, stop: CancellationToken) {
        let mut used = BTreeSet::new();
        while stop.run_until_cancelled(tokio::time::sleep(NOTE_USE_EVERY)).await.is_some() {
            used.extend(self.take_used());
            if used.is_empty() {
                continue;
            }
            let ids: Vec<KeyId> = used.iter().copied().collect();
            match stop.run_until_cancelled(store.config().note_used_keys(&ids, UnixMillis::now())).await {
                Some(Ok(())) => used.clear(),
                Some(Err(error)) => tracing::debug!(%error, "cannot note which keys are used; trying again in 60 s"),
                None => return,
            }
        }
    }

    /// Applies the configuration feed until it ends. Calls `on_changes` after this table has applied each change.
    pub async fn follow(&self, mut feed: Feed, mut on_changes: impl FnMut(Changes)) {
        let mut state = feed.state();
        loop {
            tokio::select! {
                changes = feed.recv() => match changes {
                    Some(changes) => {
                        self.apply(&changes);
                        on_changes(changes);
                    }
                    None => return,
                },
                changed = state.changed() => if changed.is_err() { return },
            }
            self.set_state(*state.borrow_and_update());
        }
    }

    /// Applies changes of the configuration.
    pub fn apply(&self, changes: &Changes) {
        let mut table = self.table.write();
        if changes.snapshot {
            table.keys.clear();
            table.hashes.clear();
        }
        for key in &changes.keys {
            table.insert(key.id, key.hash, &key.tenants, key.scopes);
        }
        for id in &changes.keys_gone {
            table.remove(*id);
        }
        if !changes.tenants_gone.is_empty() {
            let is_gone = |key: &TenantKey<B>| matches!(&*key.tenants, KeyTenants::One(tenant) if changes.tenants_gone.contains(tenant));
            table.keys.retain(|_, key| !is_gone(key));
            table.budgets.retain(|tenant, _| !changes.tenants_gone.contains(tenant));
        }
    }
}

impl<B: Default> Table<B> {
    fn insert(&mut self, id: KeyId, hash: KeyHash, tenants: &KeyTenants, scopes: Scopes) {
        let budget = match tenants {
            KeyTenants::One(tenant) => Some(Arc::clone(self.budgets.entry(*tenant).or_default())),
            KeyTenants::Several(_) | KeyTenants::All => None,
        };
        // An edited key has the same hash, but its tenants may differ.
        let used = AtomicBool::new(self.keys.get(&hash).is_some_and(|key| key.used.load(Ordering::Relaxed)));
        self.keys.insert(hash, TenantKey { id, tenants: Arc::new(tenants.clone()), scopes, budget, used });
        self.hashes.insert(id, hash);
    }

    fn remove(&mut self, id: KeyId) {
        if let Some(hash) = self.hashes.remove(&id) {
            self.keys.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use postrider_store::feed::FeedKey;

    use super::*;

    const FRESH: Duration = Duration::from_secs(5);

    #[test]
    fn operators_are_known_without_a_database() {
        let keys = KeyTable::<()>::new(&[SecretString::from("old operator"), SecretString::from("new operator")]);
        for key in ["old operator", "new operator"] {
            assert!(matches!(keys.find(&KeyHash::of(key), FRESH), Ok(Key::Operator(_))), "{key}");
        }
        assert_eq!(keys.find(&KeyHash::of("other"), FRESH).unwrap_err(), KeyError::MaybeNew);
        keys.set_state(FeedState { version: 1, confirmed: Some(Instant::now()) });
        assert_eq!(keys.find(&KeyHash::of("other"), FRESH).unwrap_err(), KeyError::Unknown);
    }

    #[test]
    fn keys_follow_the_feed_and_budgets_survive_a_snapshot() {
        let keys = KeyTable::<()>::new(&[]);
        let (id, tenant) = (KeyId::generate(), TenantId::generate());
        let key = || FeedKey { id, tenants: KeyTenants::One(tenant), hash: KeyHash::of("mine"), scopes: Scopes::ALL };
        let is_valid = || keys.find(&KeyHash::of("mine"), FRESH).is_ok();
        keys.apply(&Changes { keys: vec![key()], ..Changes::default() });
        assert!(is_valid());
        let budget = keys.budget(tenant).unwrap();
        keys.apply(&Changes { snapshot: true, ..Changes::default() });
        assert!(!is_valid());
        keys.apply(&Changes { snapshot: true, keys: vec![key()], ..Changes::default() });
        assert!(is_valid() && Arc::ptr_eq(&budget, &keys.budget(tenant).unwrap()));
        keys.apply(&Changes { keys_gone: vec![id], ..Changes::default() });
        assert!(!is_valid());
        keys.apply(&Changes { keys: vec![key()], ..Changes::default() });
        keys.apply(&Changes { tenants_gone: vec![tenant], ..Changes::default() });
        assert!(!is_valid() && keys.budget(tenant).is_none());
    }

    #[test]
    fn the_use_of_a_key_is_taken_once() {
        let keys = KeyTable::<()>::new(&[SecretString::from("operator")]);
        let (used, idle) = (KeyId::generate(), KeyId::generate());
        let key = |id, text| FeedKey { id, tenants: KeyTenants::All, hash: KeyHash::of(text), scopes: Scopes::ALL };
        keys.apply(&Changes { keys: vec![key(used, "used"), key(idle, "idle")], ..Changes::default() });
        for text in ["used", "operator", "used"] {
            assert!(keys.find(&KeyHash::of(text), FRESH).is_ok());
        }
        // The feed may report a key again before its use is taken.
        keys.apply(&Changes { keys: vec![key(used, "used")], ..Changes::default() });
        assert_eq!(keys.take_used(), [used]);
        assert!(keys.take_used().is_empty());
    }

    #[test]
    fn a_bearer_key_is_read_whatever_the_case_of_its_scheme() {
        assert_eq!(bearer(Some("Bearer key ")), Some("key"));
        assert_eq!(bearer(Some("bearer key")), Some("key"));
        for other in [None, Some("Basic key"), Some("Bearer "), Some("key")] {
            assert_eq!(bearer(other), None, "{other:?}");
        }
    }
}
