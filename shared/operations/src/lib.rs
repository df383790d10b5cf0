//! The operations of Postrider: what a call of the HTTP API or a page of the dashboard does.
//!
//! Each file or folder has the operations on one kind of object, with the types of their parameters and results. The API and the
//! dashboard both call these operations, so the same rules apply to both: who may do what ([`Caller`]), what a valid tenant or
//! endpoint is, and what an answer shows.
//!
//! The comment of each operation states which scope it requires, or that only operators may call it. Other callers get
//! [`Error::Forbidden`].
//!
//! # Promises
//! - A tenant never learns of another tenant's objects: they are [`Error::NotFound`], like objects that do not exist.
//! - [`Error::Invalid`] names each wrong field by a JSON pointer.
//! - Secrets and keys are returned once, by the operation that creates them. Values of an endpoint's own headers are never
//!   returned.
//! - A retry or requeue is committed before the operation returns. Then it is published. If the process dies in between, the
//!   recorder's outbox relay publishes it.
//!
//! # Not here
//! HTTP: routes, headers and the reading of requests belong to the API and the dashboard. Only the conversion of an [`Error`] to
//! a [`Problem`](postrider_http::problem::Problem) is here, so that both answer an error with the same status. Operations send no
//! requests to endpoints: for a test call, a dispatcher makes the attempt.

pub mod audit_log;
pub mod dead_letters;
pub mod deliveries;
pub mod endpoints;
pub mod erasures;
pub mod event_types;
pub mod events;
pub mod explain;
pub mod failures;
pub mod find;
pub mod keys;
pub mod page;
pub mod portal;
pub mod product_keys;
pub mod profiles;
pub mod replays;
pub mod saved_views;
pub mod stats;
pub mod system;
pub mod tenants;
pub mod test_calls;
pub mod trouble;

mod caller;
mod edit_budget;
mod error;
mod find_caller;
mod heavy;
mod metrics;
mod peer_budget;
mod test_event;
mod text;
mod trends;
mod unknown_keys;
mod wait_for_edit;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postrider_access::KeyTable;
use postrider_broker::{BreakerStates, Broker};
use postrider_egress::AddressGuard;
use postrider_mail::Recipients;
use postrider_model::limits::{OIDC_EXCHANGES_PER_PEER_BURST, OIDC_EXCHANGES_PER_PEER_SECOND};
use postrider_profiles::{Profile, Profiles};
use postrider_relay::Relay;
use postrider_store::Store;
use tokio_util::sync::CancellationToken;

pub use crate::caller::Caller;
pub use crate::error::{Error, FieldError, Forbidden};
pub use crate::find_caller::RequestBudget;
pub use crate::metrics::Interface;
pub use crate::portal::DashboardAddress;

use crate::edit_budget::EditBudgets;
use crate::heavy::Heavy;
use crate::peer_budget::PeerBudget;
use crate::unknown_keys::UnknownKeys;

/// How long a retry or a requeue waits for the broker's confirm. After that the outbox relay publishes it.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(4);

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
    /// The addresses to which e-mail may be sent.
    pub recipients: Recipients,
    /// The API keys of this process.
    pub keys: Arc<KeyTable<RequestBudget>>,
    /// How people reach the dashboard.
    pub address: DashboardAddress,
}

/// The operations; the API and the dashboard share one instance.
pub struct Operations {
    broker: Broker,
    relay: Relay,
    breakers: BreakerStates,
    store: Store,
    profiles: Arc<Profiles>,
    guard: AddressGuard,
    recipients: Recipients,
    keys: Arc<KeyTable<RequestBudget>>,
    unknown_keys: UnknownKeys,
    sign_ins: PeerBudget,
    edits: EditBudgets,
    heavy: Heavy,
    address: DashboardAddress,
    stop: CancellationToken,
}

impl Operations {
    /// Creates the operations. They receive the dispatchers' statements about breakers until `stop` is cancelled.
    pub fn new(deps: Deps, stop: CancellationToken) -> Self {
        let Deps { broker, store, profiles, guard, recipients, keys, address } = deps;
        let relay = Relay::new(&broker, store.clone(), Arc::clone(&profiles));
        let breakers = BreakerStates::follow(&broker, stop.clone());
        let (unknown_keys, edits, heavy) = (UnknownKeys::new(store.clone()), EditBudgets::default(), Heavy::new());
        let sign_ins = PeerBudget::new(OIDC_EXCHANGES_PER_PEER_SECOND, OIDC_EXCHANGES_PER_PEER_BURST);
        Self {
            broker,
            relay,
            breakers,
            store,
            profiles,
            guard,
            recipients,
            keys,
            unknown_keys,
            sign_ins,
            edits,
            heavy,
            address,
            stop,
        }
    }

    /// Whether the deployment sends e-mail.
    pub fn sends_email(&self) -> bool {
        self.recipients.is_on()
    }

    /// Returns the profile of this name.
    ///
    /// # Errors
    /// [`Error::Internal`] if no profile of this name is loaded.
    pub fn profile(&self, name: &str) -> Result<&Arc<Profile>, Error> {
        self.profiles.get(name).ok_or_else(|| {
            tracing::error!(profile = name, "the profile of a tenant is not loaded");
            Error::Internal
        })
    }

    /// Charges a return from the identity provider to the client's address: each costs requests to the provider.
    ///
    /// # Errors
    /// [`Error::TooMany`] if the address's budget is used up.
    pub fn charge_sign_in(&self, peer: Option<IpAddr>) -> Result<(), Error> {
        let Some(peer) = peer else { return Ok(()) };
        let detail = "too many sign-ins with the identity provider from your address";
        self.sign_ins.charge(peer).map_err(|wait| Error::too_many(detail, wait))
    }

    /// Returns the store for a change by this caller. The change counts toward the limit of the caller's tenant, and the audit
    /// log names the caller's key.
    fn edits_of(&self, caller: Caller) -> Result<Store, Error> {
        if let Caller::Tenant { tenant, .. } = caller {
            self.edits.charge(tenant)?;
        }
        Ok(self.store.acting_as(caller.acting()))
    }
}
