//! The configuration feed: sends every service a snapshot, then every change, usually within milliseconds.
//!
//! The version counter is authoritative and polled every second; `NOTIFY postrider_config` only makes the feed faster. A feed
//! survives outages of the database: it always reconnects, and listens before it reads, so that it misses no edit.

mod follow;
mod read;

use std::time::{Duration, Instant};

use postrider_model::delivery::BodyKind;
use postrider_model::event::EventType;
use postrider_model::ids::{EndpointId, KeyId, TenantId};
use postrider_model::ordering::Ordering;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{KeyHash, KeyTenants, Scopes};
use crate::error::StoreError;
use crate::intervention::Intervention;
use crate::store::ConfigFeed;
use follow::Follower;
use postrider_model::tenant_limits::TenantLimits;

/// The kinds of changes that a service needs. The feed leaves all other kinds in [`Changes`] empty.
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
    /// [`Changes::endpoints_changed`], which a snapshot leaves empty.
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
    /// Tenants, ids of changed endpoints, and interventions.
    pub const DISPATCHER: Self = Self { endpoint_ids: true, interventions: true, ..Self::TENANTS };
}

/// The settings of a tenant that services need.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedTenant {
    /// Its id.
    pub id: TenantId,
    /// Its profile.
    pub profile: String,
    /// The operator's own id for it.
    pub external_id: Option<String>,
    /// Its limits.
    pub limits: TenantLimits,
    /// Whether ingest refuses events of a type outside the catalog.
    pub enforce_catalog: bool,
    /// Whether ingest checks events against their type's JSON Schema.
    pub enforce_schemas: bool,
    /// Days of failures after which an endpoint is disabled.
    pub disable_after_days: Option<u32>,
    /// Whether it has an ordered endpoint.
    pub ordered: bool,
    /// Configuration version of its last edit.
    pub version: i64,
}

/// The settings of an API key or a product key that ingest needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedKey {
    /// Its public id.
    pub id: KeyId,
    /// The tenants for which it is valid.
    pub tenants: KeyTenants,
    /// The hash of its text.
    pub hash: KeyHash,
    /// What the key may do.
    pub scopes: Scopes,
}

/// The part of a tenant's definition of an event type that ingest needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEventType {
    /// The tenant.
    pub tenant: TenantId,
    /// The type.
    pub name: EventType,
    /// The JSON Schema of the type's `data`; `None` for a tenant that does not enforce schemas.
    pub schema: Option<String>,
    /// Number of seconds after which events of the type expire, unless they state another expiry.
    pub ttl_seconds: Option<u32>,
}

/// The subscription of an active or paused endpoint, as fan-out needs it. The subscription is not compiled, because that requires the
/// tenant's profile. A snapshot may have a million subscriptions, so the lists have no spare capacity.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSubscription {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Patterns of event types.
    pub event_types: Box<[String]>,
    /// The accepted values of attributes, sorted by attribute.
    pub filters: Box<[(String, Box<[String]>)]>,
    /// The payload filter, as the customer wrote it.
    pub payload_filter: Option<serde_json::Value>,
    /// The format of the endpoint's bodies.
    pub body_kind: BodyKind,
    /// Whether the endpoint is paused.
    pub paused: bool,
    /// The order of the endpoint's deliveries, with its generation.
    pub ordering: Option<Box<(Ordering, u32)>>,
    /// Configuration version of the endpoint's last edit.
    pub version: i64,
}

/// The changes up to and including `version`. A service is at `version` once it has applied all of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// The configuration version after these changes.
    pub version: i64,
    /// Whether this is a snapshot, which replaces everything that the service has received.
    pub snapshot: bool,
    /// Tenants created or edited.
    pub tenants: Vec<FeedTenant>,
    /// Tenants deleted.
    pub tenants_gone: Vec<TenantId>,
    /// Keys created.
    pub keys: Vec<FeedKey>,
    /// Ids of deleted keys.
    pub keys_gone: Vec<KeyId>,
    /// Event types created or edited. If a tenant was edited, all of its event types.
    pub event_types: Vec<FeedEventType>,
    /// Event types deleted.
    pub event_types_gone: Vec<(TenantId, EventType)>,
    /// Subscriptions of active and paused endpoints created or edited. If a tenant was edited, all of its subscriptions.
    pub subscriptions: Vec<EndpointSubscription>,
    /// Endpoints deleted, deactivated or disabled, with their tenants.
    pub subscriptions_gone: Vec<(TenantId, EndpointId)>,
    /// Endpoints created, edited or deleted, so that caches can drop them.
    pub endpoints_changed: Vec<EndpointId>,
    /// Interventions that may concern pending deliveries.
    pub interventions: Vec<Intervention>,
}

/// How fresh a feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedState {
    /// The version of the last changes that were sent; 0 before the snapshot.
    pub version: i64,
    /// When the database last confirmed that `version` is current, or when the feed sent a newer version.
    pub confirmed: Option<Instant>,
}

impl FeedState {
    /// Whether the database confirmed the version within the last `limit`. If so, a key that the service has not received does
    /// not exist.
    pub fn is_fresh(&self, limit: Duration) -> bool {
        self.confirmed.is_some_and(|at| at.elapsed() <= limit)
    }
}

/// A running feed. Dropping it stops it.
#[derive(Debug)]
pub struct Feed {
    changes: mpsc::Receiver<Changes>,
    state: watch::Receiver<FeedState>,
}

impl Feed {
    /// Receives the next changes, the snapshot first. `None`: the feed was stopped.
    pub async fn recv(&mut self) -> Option<Changes> {
        self.changes.recv().await
    }

    /// Watches how fresh the feed is.
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

    /// Follows the configuration until `stop`: sends the snapshot as soon as the database answers, then changes.
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
