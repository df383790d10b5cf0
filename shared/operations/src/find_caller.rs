//! Finds the caller of a request by its API key, its portal link, or the person who signed in.
//!
//! The hashes of all keys are in memory, so that a request needs no query and works while the database is not available. All keys
//! of a tenant share one budget of requests.

use std::net::IpAddr;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use postrider_access::{Key, KeyError, KeyTable};
use postrider_model::ids::PersonId;
use postrider_model::limits::{API_REQUESTS_BURST, API_REQUESTS_PER_SECOND};
use postrider_store::audit_log::{Acting, Actor, Via};
use postrider_store::config::{KeyHash, KeyTenants};
use postrider_store::portal::PortalLink;

use crate::error::{Error, Forbidden};
use crate::metrics::Interface;
use crate::{Caller, Operations};

/// An unknown key is refused only if the database confirmed the configuration within this time. Otherwise the key may be new.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// The limit on a tenant's requests.
pub struct RequestBudget(DefaultDirectRateLimiter);

impl Default for RequestBudget {
    fn default() -> Self {
        Self(RateLimiter::direct(Quota::per_second(API_REQUESTS_PER_SECOND).allow_burst(API_REQUESTS_BURST)))
    }
}

impl RequestBudget {
    fn charge(&self) -> Result<(), Error> {
        self.0.check().map_err(|over| {
            let detail =
                format!("a tenant may make {API_REQUESTS_PER_SECOND} requests a second with all its keys together");
            Error::too_many(detail, over.wait_time_from(DefaultClock::default().now()))
        })
    }
}

fn find(keys: &KeyTable<RequestBudget>, hash: KeyHash) -> Result<Option<Caller>, Error> {
    let acting = |actor| Acting { actor, via: Some(Via::Api), claim: None };
    match keys.find(&hash, FRESH_FOR) {
        Ok(Key::Operator(hash)) => Ok(Some(Caller::Operator { tenant: None, acting: acting(Actor::Operator(hash)) })),
        Ok(Key::Tenant { id, tenants, scopes, budget }) => match (&*tenants, budget) {
            (KeyTenants::One(tenant), Some(budget)) => {
                budget.charge()?;
                Ok(Some(Caller::Tenant { tenant: *tenant, scopes, acting: acting(Actor::Key(id)) }))
            }
            _ => Err(Forbidden::SeveralTenants.into()),
        },
        Err(KeyError::Unknown) => Ok(None),
        Err(maybe_new @ KeyError::MaybeNew) => Err(Error::unavailable(maybe_new.to_string())),
    }
}

impl Operations {
    /// Finds the caller whose key has this hash, and charges the request to its tenant's budget. `None` if there is no such key.
    ///
    /// # Errors
    /// [`Error::Unavailable`] for a key that may be new; [`Forbidden::SeveralTenants`] for a product key; [`Error::TooMany`] if
    /// the tenant's budget is used up.
    pub fn find_caller(&self, key: KeyHash) -> Result<Option<Caller>, Error> {
        find(&self.keys, key)
    }

    /// Returns the caller of a session that a portal link opened, and charges the request to the budget of the link's tenant.
    ///
    /// # Errors
    /// [`Error::TooMany`] if the tenant's budget is used up.
    pub fn caller_of_link(&self, link: &PortalLink) -> Result<Caller, Error> {
        self.keys.budget_of_existing(link.tenant).charge()?;
        let acting = Acting { actor: Actor::Portal(link.id), via: Some(Via::Dashboard), claim: None };
        Ok(Caller::Tenant { tenant: link.tenant, scopes: link.scopes, acting })
    }

    /// Returns the caller of a session of an operator whom the identity provider signed in.
    pub fn caller_of_person(&self, person: PersonId) -> Caller {
        let acting = Acting { actor: Actor::Person(person), via: Some(Via::Dashboard), claim: None };
        Caller::Operator { tenant: None, acting }
    }

    /// Counts a request with an unknown key, or a sign-in that the identity provider does not confirm, from this address.
    ///
    /// # Errors
    /// [`Error::TooMany`] if there were too many such requests.
    pub fn count_unknown_key(&self, place: Interface, peer: Option<IpAddr>) -> Result<(), Error> {
        self.unknown_keys.count(place, peer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use postrider_model::ids::{KeyId, TenantId};
    use postrider_store::config::Scopes;
    use postrider_store::feed::{Changes, FeedKey, FeedState};
    use secrecy::SecretString;

    use super::*;

    fn keys() -> KeyTable<RequestBudget> {
        KeyTable::new(&[SecretString::from("operator")])
    }

    fn fresh_keys() -> KeyTable<RequestBudget> {
        let keys = keys();
        keys.set_state(FeedState { version: 1, confirmed: Some(Instant::now()) });
        keys
    }

    fn try_key(keys: &KeyTable<RequestBudget>, key: &str) -> Result<Option<Caller>, Error> {
        find(keys, KeyHash::of(key))
    }

    #[test]
    fn each_kind_of_key_gets_its_answer() {
        let stale = keys();
        assert!(matches!(try_key(&stale, "operator"), Ok(Some(Caller::Operator { .. }))));
        assert!(matches!(try_key(&stale, "unknown"), Err(Error::Unavailable { .. })));
        let keys = fresh_keys();
        assert_eq!(try_key(&keys, "unknown"), Ok(None));
        let key = |tenants| {
            let (id, hash) = (KeyId::generate(), KeyHash::of("mine"));
            Changes { keys: vec![FeedKey { id, tenants, hash, scopes: Scopes::ALL }], ..Changes::default() }
        };
        let tenant = TenantId::generate();
        let changes = key(KeyTenants::One(tenant));
        let acting = Acting { actor: Actor::Key(changes.keys[0].id), via: Some(Via::Api), claim: None };
        keys.apply(&changes);
        assert_eq!(try_key(&keys, "mine"), Ok(Some(Caller::Tenant { tenant, scopes: Scopes::ALL, acting })));
        keys.apply(&key(KeyTenants::All));
        assert_eq!(try_key(&keys, "mine"), Err(Forbidden::SeveralTenants.into()));
    }

    #[test]
    fn all_keys_of_a_tenant_share_one_budget_of_requests() {
        let keys = fresh_keys();
        let insert = |name, tenant| keys.insert(KeyId::generate(), &SecretString::from(name), tenant, Scopes::ALL);
        let tenant = TenantId::generate();
        insert("one", tenant);
        insert("two", tenant);
        insert("other", TenantId::generate());
        // Twice the burst exceeds the budget, even on a slow machine.
        let mut tried = (0..2 * API_REQUESTS_BURST.get()).map(|n| try_key(&keys, ["one", "two"][n as usize % 2]));
        let refused = tried.find_map(Result::err);
        assert!(matches!(refused, Some(Error::TooMany { retry_after, .. }) if retry_after == Duration::from_secs(1)));
        // A new key does not get a new budget.
        insert("three", tenant);
        let refused = (0..API_REQUESTS_BURST.get()).find_map(|_| try_key(&keys, "three").err());
        assert!(matches!(refused, Some(Error::TooMany { .. })), "{refused:?}");
        assert!(try_key(&keys, "other").is_ok());
    }
}
