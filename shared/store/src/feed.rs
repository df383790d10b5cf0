//! The configuration feed: a snapshot, then every change, to every service, within two seconds.
//!
//! The version counter is the truth and is polled each second; `NOTIFY postrider_config` only makes it faster. A feed
//! outlives the database: it reconnects for ever, listens first and reloads then, so that no edit falls between.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use postrider_model::ids::{EndpointId, KeyId, TenantId};
use serde::Deserialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio_postgres::types::Json;
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};
use tokio_util::sync::CancellationToken;

use crate::config::{CHANNEL, Channel, KeyHash, Scopes, TenantLimits};
use crate::error::StoreError;
use crate::intervention::Intervention;
use crate::pool::Store;
use crate::sql::{RowExt, unsigned};

/// How often the version is asked for when no hint comes.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for the version.
const POLL_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for a snapshot or changes.
const READ_LIMIT: Duration = Duration::from_secs(120);
const RECONNECT_MIN: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// What a service wants to hear of. Everything else stays empty in its [`Changes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedScope {
    /// [`Changes::tenants`].
    pub tenants: bool,
    /// [`Changes::keys`].
    pub keys: bool,
    /// [`Changes::subscriptions`].
    pub subscriptions: bool,
    /// [`Changes::endpoints_changed`] (never in a snapshot).
    pub endpoint_ids: bool,
    /// [`Changes::interventions`].
    pub interventions: bool,
}

impl FeedScope {
    /// Tenants and keys.
    pub const INGEST: Self =
        Self { tenants: true, keys: true, subscriptions: false, endpoint_ids: false, interventions: false };
    /// Tenants and subscriptions.
    pub const FANOUT: Self =
        Self { tenants: true, keys: false, subscriptions: true, endpoint_ids: false, interventions: false };
    /// Tenants, ids of endpoints that changed, interventions.
    pub const DISPATCHER: Self =
        Self { tenants: true, keys: false, subscriptions: false, endpoint_ids: true, interventions: true };
    /// Everything.
    pub const ALL: Self =
        Self { tenants: true, keys: true, subscriptions: true, endpoint_ids: true, interventions: true };
}

/// A tenant, as services need it.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantConfig {
    /// Its id.
    pub id: TenantId,
    /// Its profile.
    pub profile: String,
    /// Its limits.
    pub limits: TenantLimits,
    /// Whether events of a type outside the catalog are refused.
    pub enforce_catalog: bool,
    /// Whether events are checked against their type's JSON Schema.
    pub enforce_schemas: bool,
    /// Days of failure after which an endpoint is switched off.
    pub disable_after_days: Option<u32>,
    /// Configuration version of its last edit.
    pub version: i64,
}

/// An API key, as ingest needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    /// Its public id.
    pub id: KeyId,
    /// Whose.
    pub tenant: TenantId,
    /// What its text hashes to.
    pub hash: KeyHash,
    /// What it may do.
    pub scopes: Scopes,
}

/// What an active endpoint subscribes to, as fan-out needs it. Not compiled: that takes the tenant's profile.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSubscription {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Whose.
    pub tenant: TenantId,
    /// Patterns of event types.
    pub event_types: Vec<String>,
    /// Attribute -> values.
    pub filters: BTreeMap<String, Vec<String>>,
    /// Conditions on the payload.
    pub payload_filter: Option<serde_json::Value>,
    /// How deliveries reach it.
    pub channel: Channel,
    /// Whether its bodies escape everything that is not ASCII.
    pub ascii_json: bool,
    /// Configuration version of its last edit.
    pub version: i64,
}

/// What changed up to `version`. Apply all of it before believing to know `version`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// The configuration version that this leads to.
    pub version: i64,
    /// This is everything: forget what was known before.
    pub snapshot: bool,
    /// Tenants made or edited.
    pub tenants: Vec<TenantConfig>,
    /// Tenants deleted.
    pub tenants_gone: Vec<TenantId>,
    /// Keys made.
    pub keys: Vec<KeyConfig>,
    /// Keys deleted (forget the hash of this id).
    pub keys_gone: Vec<KeyId>,
    /// Subscriptions of active endpoints made or edited.
    pub subscriptions: Vec<EndpointSubscription>,
    /// Endpoints deleted, made inactive or disabled.
    pub subscriptions_gone: Vec<EndpointId>,
    /// Endpoints made, edited or deleted: what a cache of them forgets.
    pub endpoints_changed: Vec<EndpointId>,
    /// Interventions that still matter.
    pub interventions: Vec<Intervention>,
}

impl Changes {
    /// Whether nothing but the version differs.
    pub fn is_empty(&self) -> bool {
        let Self { version: _, snapshot, tenants, tenants_gone, keys, keys_gone, .. } = self;
        !snapshot
            && tenants.is_empty()
            && tenants_gone.is_empty()
            && keys.is_empty()
            && keys_gone.is_empty()
            && self.subscriptions.is_empty()
            && self.subscriptions_gone.is_empty()
            && self.endpoints_changed.is_empty()
            && self.interventions.is_empty()
    }
}

/// How fresh a feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedState {
    /// The last version that was handed out; 0 before the snapshot.
    pub version: i64,
    /// When the database last said that this is the current version (or a newer one was handed out).
    pub confirmed: Option<Instant>,
}

impl FeedState {
    /// Whether the database confirmed the version within the last `limit`: an unknown key is then unknown indeed.
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
    /// The next changes, first the snapshot. `None`: the feed was stopped.
    pub async fn recv(&mut self) -> Option<Changes> {
        self.changes.recv().await
    }

    /// How fresh it is, to be watched.
    pub fn state(&self) -> watch::Receiver<FeedState> {
        self.state.clone()
    }
}

/// What fan-out needs of an endpoint's document; the rest is not even parsed into values.
#[derive(Deserialize)]
struct SubscriptionDocument {
    event_types: Vec<String>,
    #[serde(default)]
    filters: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    payload_filter: Option<serde_json::Value>,
    #[serde(default)]
    channel: Channel,
    #[serde(default)]
    ascii_json: bool,
}

async fn current(client: &Client) -> Result<i64, StoreError> {
    client.query_one("SELECT version FROM config_version", &[]).await?.col("version")
}

/// Rows of one table, one at a time: a snapshot may have a million.
async fn each(
    tx: &Transaction<'_>,
    sql: &str,
    since: i64,
    mut take: impl FnMut(&Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut rows = pin!(tx.query_raw(sql, [since]).await?);
    while let Some(row) = rows.try_next().await? {
        take(&row)?;
    }
    Ok(())
}

/// Reads what changed after `since`, everything for `None`, as of one version.
async fn read(client: &mut Client, what: FeedScope, since: Option<i64>) -> Result<Changes, StoreError> {
    let options = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let tx = options.start().await?;
    let version = tx.query_one("SELECT version FROM config_version", &[]).await?.col("version")?;
    let mut changes = Changes { version, snapshot: since.is_none(), ..Changes::default() };
    // Tombstones matter only to those who knew the living.
    let (after, living) = match since {
        Some(version) => (version, ""),
        None => (-1, " AND deleted_at IS NULL"),
    };
    if what.tenants {
        let sql = format!(
            "SELECT id, profile, limits, enforce_catalog, enforce_schemas, disable_after_days, version,
                    deleted_at IS NOT NULL AS gone
             FROM tenants WHERE version > $1{living}"
        );
        each(&tx, &sql, after, |row| {
            let id = TenantId(row.col("id")?);
            if row.col("gone")? {
                changes.tenants_gone.push(id);
                return Ok(());
            }
            let Json(limits) = row.col("limits")?;
            changes.tenants.push(TenantConfig {
                id,
                profile: row.col("profile")?,
                limits,
                enforce_catalog: row.col("enforce_catalog")?,
                enforce_schemas: row.col("enforce_schemas")?,
                disable_after_days: row.col::<Option<i32>>("disable_after_days")?.map(unsigned),
                version: row.col("version")?,
            });
            Ok(())
        })
        .await?;
    }
    if what.keys {
        let sql = format!(
            "SELECT id, tenant, hash, scopes, deleted_at IS NOT NULL AS gone FROM api_keys WHERE version > $1{living}"
        );
        each(&tx, &sql, after, |row| {
            let id = KeyId(row.col("id")?);
            if row.col("gone")? {
                changes.keys_gone.push(id);
                return Ok(());
            }
            let hash: &[u8] = row.try_get("hash")?;
            let hash = hash.try_into().map_err(|_| StoreError::Unreadable {
                what: "api_keys.hash",
                detail: format!("{} bytes", hash.len()),
            })?;
            let scopes = Scopes::from_bits(row.col("scopes")?);
            changes.keys.push(KeyConfig { id, tenant: TenantId(row.col("tenant")?), hash: KeyHash(hash), scopes });
            Ok(())
        })
        .await?;
    }
    if what.subscriptions {
        let living = if since.is_none() { " AND deleted_at IS NULL AND status = 0" } else { "" };
        let sql = format!(
            "SELECT id, tenant, document, version, deleted_at IS NOT NULL OR status <> 0 AS gone
             FROM endpoints WHERE version > $1{living}"
        );
        each(&tx, &sql, after, |row| {
            let endpoint = EndpointId(row.col("id")?);
            if row.col("gone")? {
                changes.subscriptions_gone.push(endpoint);
                return Ok(());
            }
            let Json::<SubscriptionDocument>(document) = row.col("document")?;
            changes.subscriptions.push(EndpointSubscription {
                endpoint,
                tenant: TenantId(row.col("tenant")?),
                event_types: document.event_types,
                filters: document.filters,
                payload_filter: document.payload_filter,
                channel: document.channel,
                ascii_json: document.ascii_json,
                version: row.col("version")?,
            });
            Ok(())
        })
        .await?;
    }
    if what.endpoint_ids && since.is_some() {
        // An endpoint is looked up with its tenant's profile and limits: a tenant's edit is one of all its endpoints.
        let sql = "SELECT id FROM endpoints
                   WHERE version > $1
                      OR (deleted_at IS NULL AND tenant IN (SELECT id FROM tenants WHERE version > $1))";
        each(&tx, sql, after, |row| {
            changes.endpoints_changed.push(EndpointId(row.col("id")?));
            Ok(())
        })
        .await?;
    }
    if what.interventions {
        let sql = "SELECT target, least_epoch, reason, version, created_at FROM interventions WHERE version > $1";
        each(&tx, sql, after, |row| {
            changes.interventions.push(Intervention::read(row)?);
            Ok(())
        })
        .await?;
    }
    tx.commit().await?;
    Ok(changes)
}

impl Store {
    /// The current configuration version.
    ///
    /// # Errors
    /// The database's.
    pub async fn config_version(&self) -> Result<i64, StoreError> {
        let client = self.client().await?;
        current(&client).await
    }

    /// Everything that `what` names, as of one version.
    ///
    /// # Errors
    /// The database's.
    pub async fn snapshot(&self, what: FeedScope) -> Result<Changes, StoreError> {
        let mut client = self.client().await?;
        read(&mut client, what, None).await
    }

    /// What changed after `version`.
    ///
    /// # Errors
    /// The database's.
    pub async fn changes_since(&self, what: FeedScope, version: i64) -> Result<Changes, StoreError> {
        let mut client = self.client().await?;
        read(&mut client, what, Some(version)).await
    }

    /// Follows the configuration until `stop`: first the snapshot, as soon as the database answers, then changes.
    pub fn follow(&self, what: FeedScope, stop: CancellationToken) -> Feed {
        let (changes_to, changes) = mpsc::channel(1);
        let (state_to, state) = watch::channel(FeedState::default());
        let follower = Follower { store: self.clone(), what, changes: changes_to, state: state_to };
        tokio::spawn(async move {
            stop.run_until_cancelled(follower.run()).await;
        });
        Feed { changes, state }
    }
}

/// The task behind a [`Feed`].
struct Follower {
    store: Store,
    what: FeedScope,
    changes: mpsc::Sender<Changes>,
    state: watch::Sender<FeedState>,
}

/// Nobody reads the feed any more.
struct Dropped;

impl Follower {
    async fn run(self) {
        let mut pause = RECONNECT_MIN;
        let mut away = false;
        loop {
            let before = self.state.borrow().confirmed;
            let Err(error) = self.session().await else { return };
            if self.state.borrow().confirmed != before {
                (pause, away) = (RECONNECT_MIN, false);
            }
            // Once an outage, not once a try: the state says how old the configuration is.
            if away {
                tracing::debug!(%error, "configuration feed: still no database");
            } else {
                tracing::warn!(%error, config.version = self.state.borrow().version, "configuration feed interrupted, reconnecting");
                away = true;
            }
            tokio::select! {
                () = self.changes.closed() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RECONNECT_MAX),
            }
        }
    }

    /// Follows over one connection until it breaks.
    async fn session(&self) -> Result<Dropped, StoreError> {
        let hint = Arc::new(Notify::new());
        let notified = Arc::clone(&hint);
        let (mut client, driver) = self.store.listen(move |_| notified.notify_one()).await?;
        // Listen first, reload then: what is committed in between is hinted at and read again.
        within(POLL_LIMIT, async { Ok(client.batch_execute(&format!("LISTEN {CHANNEL}")).await?) }).await?;
        let mut reload = true;
        loop {
            let known = self.state.borrow().version;
            let version = within(POLL_LIMIT, current(&client)).await?;
            if reload || version != known {
                // A version below the known one is another database, or one restored: start over.
                let since = if known == 0 || version < known { None } else { Some(known) };
                let changes = within(READ_LIMIT, read(&mut client, self.what, since)).await?;
                let version = changes.version;
                if version != known && self.changes.send(changes).await.is_err() {
                    return Ok(Dropped);
                }
                self.confirm(version);
                reload = false;
            } else {
                self.confirm(known);
            }
            tokio::select! {
                () = self.changes.closed() => return Ok(Dropped),
                () = hint.notified() => {}
                () = tokio::time::sleep(POLL_EVERY) => {}
            }
            if driver.is_closed() {
                return Err(StoreError::Unavailable("the connection was closed".into()));
            }
        }
    }

    fn confirm(&self, version: i64) {
        self.state.send_replace(FeedState { version, confirmed: Some(Instant::now()) });
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable(format!("no answer within {limit:?}"));
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}
