//! The operations of Postrider: what a call of the HTTP API or a page of the dashboard does.
//!
//! One file a noun, and in it the types that its operations take and return. Both faces call these operations, so a rule
//! holds for both: who may do what ([`Caller`]), what a valid tenant or endpoint is, and what an answer shows.
//!
//! # Promises
//! - A tenant never learns of another tenant's things: they are [`Error::NotFound`], like things that do not exist.
//! - [`Error::Invalid`] names each wrong field by a JSON pointer.
//! - Secrets and keys are returned once, by the operation that creates them. Values of an endpoint's own headers are never
//!   returned.
//! - A retry, and a dead letter that is requeued, is committed before the operation returns, and then published. If the
//!   process dies in between, the recorder's outbox relay publishes it.
//!
//! # Not here
//! HTTP: routes, headers, status codes and the reading of requests belong to the API and the dashboard. Nothing is sent to
//! endpoints: a test call asks a dispatcher.

pub mod audit_log;
pub mod dead_letters;
pub mod deliveries;
pub mod endpoints;
pub mod event_types;
pub mod events;
pub mod explain;
pub mod keys;
pub mod page;
pub mod product_keys;
pub mod profiles;
pub mod replays;
pub mod stats;
pub mod system;
pub mod tenants;
pub mod test_calls;

mod caller;
mod edit_budget;
mod error;
mod heavy;
mod settle;
mod test_event;
mod text;
mod trends;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postrider_broker::{BreakerStates, Broker};
use postrider_egress::AddressGuard;
use postrider_ledger::relay::Relay;
use postrider_model::ids::{KeyId, TenantId};
use postrider_profiles::{Profile, Profiles};
use postrider_store::Store;
use postrider_store::config::{KeyHash, Scopes};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub use crate::caller::Caller;
pub use crate::error::{Error, FieldError, Forbidden};

use crate::edit_budget::EditBudgets;
use crate::heavy::Heavy;

/// Timeouts of operations.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// How long a test call waits for a dispatcher beyond the endpoint's own timeout.
    pub test_patience: Duration,
    /// How long a retry waits for the broker's confirm before it is left to the outbox relay.
    pub confirm_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { test_patience: Duration::from_secs(2), confirm_timeout: Duration::from_secs(4) }
    }
}

/// The process's table of API keys, which learns of a key as soon as it is created or deleted here.
pub trait KeyTable: Send + Sync {
    /// Enters a key that was just created.
    fn insert(&self, id: KeyId, text: &SecretString, tenant: TenantId, scopes: Scopes);

    /// Removes a key that was just deleted.
    fn remove(&self, id: KeyId);
}

/// The holders of API keys. The API implements it over its key table, and the dashboard signs visitors in with it.
pub trait KeyHolders: Send + Sync {
    /// The holder of a key, whose tenant is charged for a request; `None` if there is no such key.
    ///
    /// # Errors
    /// The key cannot be used here or now.
    fn find(&self, key: KeyHash) -> Result<Option<Caller>, Error>;

    /// Counts a sign-in with a key that does not exist, from this address.
    ///
    /// # Errors
    /// [`Error::TooMany`]: too many such keys were tried.
    fn count_unknown(&self, peer: Option<IpAddr>) -> Result<(), Error>;
}

/// Dependencies of the operations.
pub struct Deps {
    /// RabbitMQ, for retries and test calls.
    pub broker: Broker,
    /// PostgreSQL.
    pub store: Store,
    /// Every profile.
    pub profiles: Arc<Profiles>,
    /// Decides which URLs an endpoint may have.
    pub guard: AddressGuard,
    /// The API keys of this process.
    pub keys: Arc<dyn KeyTable>,
}

/// Everything that the API and the dashboard can do.
pub struct Operations {
    config: Config,
    broker: Broker,
    relay: Relay,
    breakers: BreakerStates,
    store: Store,
    profiles: Arc<Profiles>,
    guard: AddressGuard,
    keys: Arc<dyn KeyTable>,
    edits: EditBudgets,
    heavy: Heavy,
    stop: CancellationToken,
}

impl Operations {
    /// Operations over `deps`; they follow the dispatchers' statements about breakers until `stop`.
    pub fn new(config: Config, deps: Deps, stop: CancellationToken) -> Self {
        let Deps { broker, store, profiles, guard, keys } = deps;
        let relay = Relay::new(&broker, store.clone(), Arc::clone(&profiles));
        let breakers = BreakerStates::follow(&broker, stop.clone());
        let (edits, heavy) = (EditBudgets::default(), Heavy::new());
        Self { config, broker, relay, breakers, store, profiles, guard, keys, edits, heavy, stop }
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// [`Error::Internal`] when a tenant has a profile that is not loaded.
    pub fn profile(&self, name: &str) -> Result<&Arc<Profile>, Error> {
        self.profiles.get(name).ok_or_else(|| {
            tracing::error!(profile = name, "the profile of a tenant is not loaded");
            Error::Internal
        })
    }

    /// The store, for a change by this caller: charged to its tenant, and recorded under its key.
    fn edits_of(&self, caller: Caller) -> Result<Store, Error> {
        if let Caller::Tenant { tenant, .. } = caller {
            self.edits.charge(tenant)?;
        }
        Ok(self.store.acting_as(caller.acting()))
    }
}
