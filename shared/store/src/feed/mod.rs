//! The configuration feed: a snapshot, then every change, to every service, usually within milliseconds.
//!
//! The version counter is authoritative and polled every second; `NOTIFY postrider_config` only makes it faster. A feed
//! survives outages of the database: it always reconnects, and listens before it reads, so that it misses no edit.

mod follow;
mod read;

use std::time::{Duration, Instant};

use postrider_model::endpoint::Channel;
use postrider_model::event::EventType;
use postrider_model::ids::{EndpointId, KeyId, TenantId};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{KeyHash, KeyTenants, Scopes, TenantLimits};
use crate::error::StoreError;
use crate::intervention::Intervention;
use crate::store::ConfigFeed;
use follow::Follower;

/// The kinds of changes that a service needs. All others stay empty in its [`Changes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedScope {
    /// [`Changes::tenants`].
    pub tenants: bool,
    /// [`Changes::keys`].
    pub keys: bool,
    /// [`Changes::event_types`].
    pub event_types: bool,
    /// [`Changes::subscriptions`].
    pub subscriptions: bool,
    /// [`Changes::endpoints_changed`] (never in a snapshot).
    pub endpoint_ids: bool,
    /// [`Changes::interventions`].
    pub interventions: bool,
}

impl FeedScope {
    const TENANTS: Self = Self {
        tenants: true,
        keys: false,
        event_types: false,
        subscriptions: false,
        endpoint_ids: false,
        interventions: false,
    };
    /// Tenants, keys and event types.
    pub const KEYS: Self = Self { keys: true, event_types: true, ..Self::TENANTS };
    /// Tenants and subscriptions.
    pub const FANOUT: Self = Self { subscriptions: true, ..Self::TENANTS };
    /// Tenants, ids of endpoints that changed, interventions.
    pub const DISPATCHER: Self = Self { endpoint_ids: true, interventions: true, ..Self::TENANTS };
}

/// A tenant, as services need it.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantConfig {
    /// Its id.
    pub id: TenantId,
    /// Its profile.
    pub profile: String,
    /// The operator's own id for it.
    pub external_id: Option<String>,
    /// Its limits.
    pub limits: TenantLimits,
    /// Whether events of a type outside the catalog are refused.
    pub enforce_catalog: bool,
    /// Whether events are checked against their type's JSON Schema.
    pub enforce_schemas: bool,
    /// Days of failures after which an endpoint is disabled.
    pub disable_after_days: Option<u32>,
    /// Configuration version of its last edit.
    pub version: i64,
}

/// An API key or a product key, as ingest needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    /// Its public id.
    pub id: KeyId,
    /// The tenants that it is for.
    pub tenants: KeyTenants,
    /// The hash of its text.
    pub hash: KeyHash,
    /// What it may do.
    pub scopes: Scopes,
}

/// A tenant's definition of an event type, as ingest needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTypeConfig {
    /// The tenant.
    pub tenant: TenantId,
    /// The type.
    pub name: EventType,
    /// The JSON Schema of its `data`; left out for tenants that do not enforce schemas.
    pub schema: Option<String>,
}

/// The subscription of an active endpoint, as fan-out needs it. Not compiled, because that requires the tenant's profile. A
/// snapshot may have a million of these, so lists have no spare capacity.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSubscription {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Patterns of event types.
    pub event_types: Box<[String]>,
    /// Attributes and their values, by attribute.
    pub filters: Box<[(String, Box<[String]>)]>,
    /// Conditions on the payload.
    pub payload_filter: Option<serde_json::Value>,
    /// How deliveries reach it.
    pub channel: Channel,
    /// Whether its bodies escape all non-ASCII characters.
    pub ascii_json: bool,
    /// Configuration version of its last edit.
    pub version: i64,
}

/// The changes up to `version`. A service is at `version` once it has applied all of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// The configuration version after these changes.
    pub version: i64,
    /// Whether this is a snapshot, which replaces everything known before.
    pub snapshot: bool,
    /// Tenants created or edited.
    pub tenants: Vec<TenantConfig>,
    /// Tenants deleted.
    pub tenants_gone: Vec<TenantId>,
    /// Keys created.
    pub keys: Vec<KeyConfig>,
    /// Ids of deleted keys.
    pub keys_gone: Vec<KeyId>,
    /// Event types created or edited; all of a tenant's if the tenant was edited.
    pub event_types: Vec<EventTypeConfig>,
    /// Event types deleted.
    pub event_types_gone: Vec<(TenantId, EventType)>,
    /// Subscriptions of active endpoints created or edited; all of a tenant's if the tenant was edited.
    pub subscriptions: Vec<EndpointSubscription>,
    /// Endpoints deleted, deactivated or disabled, with their tenants.
    pub subscriptions_gone: Vec<(TenantId, EndpointId)>,
    /// Endpoints created, edited or deleted, for caches to invalidate.
    pub endpoints_changed: Vec<EndpointId>,
    /// Interventions that may concern pending deliveries.
    pub interventions: Vec<Intervention>,
}

/// The freshness of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedState {
    /// The last published version; 0 before the snapshot.
    pub version: i64,
    /// When the database last confirmed that this is the current version (or a newer one was published).
    pub confirmed: Option<Instant>,
}

impl FeedState {
    /// Whether the database confirmed the version within the last `limit`, so that an unknown key does not exist.
    pub fn is_fresh(&self, limit: Duration) -> bool {
        self.confirmed.is_some_and(|at| at.elapsed() <= limit)
    }
}

/// A running feed; dropping it ends it.
#[derive(Debug)]
pub struct Feed {
    changes: mpsc::Receiver<Changes>,
    state: watch::Receiver<FeedState>,
}

impl Feed {
    /// The next changes; the snapshot comes first. `None`: the feed was stopped.
    pub async fn recv(&mut self) -> Option<Changes> {
        self.changes.recv().await
    }

    /// Its freshness, as a watch channel.
    pub fn state(&self) -> watch::Receiver<FeedState> {
        self.state.clone()
    }
}

impl ConfigFeed {
    /// The current configuration version.
    pub async fn config_version(&self) -> Result<i64, StoreError> {
        let client = self.0.client().await?;
        read::current(&client).await
    }

    /// Follows the configuration until `stop`: first the snapshot, as soon as the database answers, then changes.
    pub fn follow(&self, what: FeedScope, stop: CancellationToken) -> Feed {
        let (changes_to, changes) = mpsc::channel(1);
        let (state_to, state) = watch::channel(FeedState::default());
        let follower = Follower { store: self.0.clone(), what, changes: changes_to, state: state_to };
        tokio::spawn(async move {
            stop.run_until_cancelled(follower.run()).await;
        });
        Feed { changes, state }
    }
}
