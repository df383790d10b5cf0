//! All keys and all tenants in memory. A tenant is stored with its external id, event types and rate limiter. The configuration
//! feed updates them.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::RwLock;
use postrider_access::{Key, KeyTable, bearer};
use postrider_model::event::EventType;
use postrider_model::ids::{KeyId, TenantId};
use postrider_model::scope::Scope;
use postrider_profiles::{Profile, Profiles};
use postrider_store::Store;
use postrider_store::config::{KeyHash, KeyTenants};
use postrider_store::feed::{self, Changes, FeedScope, FeedState};
use secrecy::SecretString;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::event_types::EventTypes;
use crate::metrics;
use crate::refused::{Refused, TenantError};

/// A key or tenant that is not in memory counts as unknown only if the database has confirmed the configuration within this
/// time. Otherwise the key or tenant may be new.
const FRESH: Duration = Duration::from_secs(5);
/// Time after which a producer should repeat an event if the tenant's profile is not loaded in this process.
const PROFILE_RETRY: Duration = Duration::from_secs(30);

/// A tenant that may publish, with the data that checks of its events need.
#[derive(Debug, Clone)]
pub(crate) struct PublishingTenant {
    pub(crate) id: TenantId,
    pub(crate) profile: Arc<Profile>,
    /// Whether to refuse event types that neither the profile's catalog nor the tenant defines.
    pub(crate) enforces_catalog: bool,
    /// The event types that the tenant defines.
    pub(crate) event_types: Arc<EventTypes>,
    /// Whether its events are decided in the order in which they are accepted, because it has an ordered endpoint.
    pub(crate) is_ordered: bool,
    pub(crate) config_version: i64,
}

impl PublishingTenant {
    /// Whether the profile's catalog or the tenant defines this type.
    pub(crate) fn defines(&self, event_type: &EventType) -> bool {
        self.profile.event_type(event_type.as_str()).is_some() || self.event_types.has(event_type)
    }
}

/// A tenant in memory.
#[derive(Clone)]
struct Tenant {
    profile: Option<Arc<Profile>>,
    external_id: Option<String>,
    enforces_catalog: bool,
    event_types: Arc<EventTypes>,
    is_ordered: bool,
    events_per_second: f64,
    waiting_max: u64,
    rate: Option<Arc<DefaultDirectRateLimiter>>,
}

#[derive(Default)]
struct Table {
    version: i64,
    tenants: HashMap<TenantId, Tenant>,
    external_ids: HashMap<String, TenantId>,
}

/// The tenants for which a key may publish.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    /// `None` for an operator key.
    pub(crate) id: Option<KeyId>,
    pub(crate) tenants: Arc<KeyTenants>,
}

impl Table {
    /// Returns the tenant with this id or external id.
    fn find(&self, name: &str) -> Option<TenantId> {
        let id = name.parse().ok().or_else(|| self.external_ids.get(name).copied());
        id.filter(|id| self.tenants.contains_key(id))
    }

    fn insert(&mut self, id: TenantId, tenant: Tenant) {
        self.remove(id);
        if let Some(external_id) = &tenant.external_id {
            self.external_ids.insert(external_id.clone(), id);
        }
        self.tenants.insert(id, tenant);
    }

    /// Removes a tenant and its external id. The external id is not removed if it belongs to another tenant now.
    fn remove(&mut self, id: TenantId) {
        if let Some(external_id) = self.tenants.remove(&id).and_then(|tenant| tenant.external_id)
            && self.external_ids.get(&external_id) == Some(&id)
        {
            self.external_ids.remove(&external_id);
        }
    }
}

/// All tenants and all keys.
pub(crate) struct TenantDirectory {
    keys: KeyTable<()>,
    profiles: Arc<Profiles>,
    table: RwLock<Table>,
    /// The configuration version in force in this process, or 0 before the first version.
    applied: watch::Sender<i64>,
}

impl TenantDirectory {
    pub(crate) fn new(profiles: Arc<Profiles>, operator_keys: &[SecretString]) -> Self {
        let (keys, applied) = (KeyTable::new(operator_keys), watch::Sender::new(0));
        Self { keys, profiles, table: RwLock::default(), applied }
    }

    /// Follows the configuration feed until `stop`. Calls `on_loaded` when the first configuration is in force.
    pub(crate) async fn follow(self: Arc<Self>, store: Store, stop: CancellationToken, on_loaded: impl FnOnce()) {
        let feed = store.feed().follow(FeedScope::KEYS, stop);
        let mut on_loaded = Some(on_loaded);
        let apply = |changes| {
            self.apply_tenants(changes);
            if let Some(on_loaded) = on_loaded.take() {
                on_loaded();
            }
        };
        self.keys.follow(feed, apply).await;
    }

    /// Notes in the database which keys are used, until `stop`.
    pub(crate) async fn note_key_use(self: Arc<Self>, store: Store, stop: CancellationToken) {
        self.keys.note_use(store, stop).await;
    }

    /// Returns a receiver of the configuration version in force in this process.
    pub(crate) fn applied(&self) -> watch::Receiver<i64> {
        self.applied.subscribe()
    }

    /// Returns the tenants for which the key in an `Authorization` header may publish.
    ///
    /// # Errors
    /// There is no valid key, or the key lacks the scope `publish`.
    pub(crate) fn grant(&self, authorization: Option<&str>) -> Result<Grant, Refused> {
        let key = bearer(authorization).ok_or(Refused::NoKey("send the key as `Authorization: Bearer <key>`"))?;
        match self.keys.find(&KeyHash::of(key), FRESH)? {
            Key::Operator(_) => Ok(Grant { id: None, tenants: Arc::new(KeyTenants::All) }),
            Key::Tenant { id, tenants, scopes, .. } if scopes.contains(Scope::Publish) => {
                Ok(Grant { id: Some(id), tenants })
            }
            Key::Tenant { .. } => Err(Refused::NotAllowed("the key lacks the scope `publish`")),
        }
    }

    /// Returns the tenant with this id or external id.
    ///
    /// # Errors
    /// No such tenant is in memory.
    pub(crate) fn find(&self, name: &str) -> Result<TenantId, TenantError> {
        self.table
            .read()
            .find(name)
            .ok_or_else(|| if self.keys.is_fresh(FRESH) { TenantError::NotFound } else { TenantError::MaybeNew })
    }

    /// Returns the tenant with its configuration in force.
    ///
    /// # Errors
    /// The tenant was deleted, or its profile is not loaded in this process.
    pub(crate) fn publishing_tenant(&self, id: TenantId) -> Result<PublishingTenant, Refused> {
        let table = self.table.read();
        let tenant = table.tenants.get(&id).ok_or(TenantError::NotFound)?;
        let not_loaded = || Refused::later("the tenant's profile is not loaded in this service", PROFILE_RETRY);
        Ok(PublishingTenant {
            id,
            profile: tenant.profile.clone().ok_or_else(not_loaded)?,
            enforces_catalog: tenant.enforces_catalog,
            event_types: Arc::clone(&tenant.event_types),
            is_ordered: tenant.is_ordered,
            config_version: table.version,
        })
    }

    /// Waits until a configuration is in force.
    pub(crate) async fn loaded(&self) {
        let mut state = self.keys.state();
        // This struct owns the sender, so no error can occur.
        let _ = state.wait_for(|_| self.table.read().version > 0).await;
    }

    /// Waits until all changes that were committed before `moment` are in force in this process. A message may arrive before
    /// the configuration of its tenant. While the database is unavailable, this function waits without a time limit.
    ///
    /// It waits for two responses of the database after `moment`, because the first response may belong to a query that started
    /// before `moment`.
    pub(crate) async fn caught_up(&self, mut moment: Instant) {
        let mut state = self.keys.state();
        for _ in 0..2 {
            let later = |state: &FeedState| {
                state.confirmed.is_some_and(|at| at > moment) && self.table.read().version >= state.version
            };
            match state.wait_for(later).await.map(|state| state.confirmed) {
                Ok(confirmed) => moment = confirmed.unwrap_or(moment),
                // This struct owns the sender, so no error can occur.
                Err(_) => return,
            }
        }
    }

    /// Returns the maximum number of waiting deliveries of a tenant.
    pub(crate) fn waiting_max(&self, tenant: TenantId) -> u64 {
        self.table.read().tenants.get(&tenant).map_or(u64::MAX, |tenant| tenant.waiting_max)
    }

    /// Charges events to a tenant's rate.
    ///
    /// # Errors
    /// The rate is exceeded, or the batch contains more events than the rate allows in one second.
    pub(crate) fn charge(&self, tenant: TenantId, events: usize) -> Result<(), Refused> {
        let rate = self.table.read().tenants.get(&tenant).and_then(|tenant| tenant.rate.clone());
        let (Some(rate), Some(events)) = (rate, u32::try_from(events).ok().and_then(NonZeroU32::new)) else {
            return Ok(());
        };
        match rate.check_n(events) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(wait)) => {
                let wait = wait.wait_time_from(DefaultClock::default().now());
                Err(Refused::limited("the tenant's events_per_second is used up", wait.max(Duration::from_secs(1))))
            }
            Err(_) => {
                let detail = format!("{events} events are more than the tenant's events_per_second allows at once");
                Err(Refused::field("/events", detail))
            }
        }
    }

    fn apply_tenants(&self, changes: Changes) {
        let mut table = self.table.write();
        let mut before = HashMap::new();
        if changes.snapshot {
            before = std::mem::take(&mut table.tenants);
            table.external_ids.clear();
            // A snapshot contains all event types, so the old event types are removed. The rate limiters are preserved.
            before.values_mut().for_each(|tenant| tenant.event_types = Arc::default());
        }
        for tenant in &changes.tenants {
            let prepared = self.prepare(tenant, table.tenants.get(&tenant.id).or_else(|| before.get(&tenant.id)));
            table.insert(tenant.id, prepared);
        }
        for event_type in changes.event_types {
            if let Some(tenant) = table.tenants.get_mut(&event_type.tenant) {
                Arc::make_mut(&mut tenant.event_types).set(event_type.name, event_type.schema, event_type.ttl_seconds);
            }
        }
        for (tenant, name) in &changes.event_types_gone {
            if let Some(tenant) = table.tenants.get_mut(tenant) {
                Arc::make_mut(&mut tenant.event_types).remove(name);
            }
        }
        for tenant in &changes.tenants_gone {
            table.remove(*tenant);
        }
        table.version = changes.version;
        drop(table);
        metrics::config_version(changes.version);
        self.applied.send_replace(changes.version);
    }

    /// Returns the new state of a tenant. The rate limiter is replaced only if the rate changed. Otherwise each edit would
    /// allow another burst.
    fn prepare(&self, tenant: &feed::FeedTenant, before: Option<&Tenant>) -> Tenant {
        let events_per_second = tenant.limits.events_per_second();
        let rate = match before.filter(|before| before.events_per_second == events_per_second) {
            Some(before) => before.rate.clone(),
            None => quota(events_per_second).map(|quota| Arc::new(RateLimiter::direct(quota))),
        };
        Tenant {
            profile: self.profiles.get(&tenant.profile).cloned(),
            external_id: tenant.external_id.clone(),
            enforces_catalog: tenant.enforce_catalog,
            event_types: before.map(|before| Arc::clone(&before.event_types)).unwrap_or_default(),
            is_ordered: tenant.ordered,
            events_per_second,
            waiting_max: u64::from(tenant.limits.waiting_deliveries()),
            rate,
        }
    }
}

/// Returns a quota with this rate. The burst is the number of events of one second, but at least one event.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn quota(events_per_second: f64) -> Option<Quota> {
    let period = Duration::try_from_secs_f64(1.0 / events_per_second).ok()?;
    let burst = NonZeroU32::new(events_per_second.clamp(1.0, f64::from(u32::MAX)) as u32)?;
    Some(Quota::with_period(period)?.allow_burst(burst))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::str::FromStr;

    use postrider_http::problem::Problem;
    use postrider_store::config::Scopes;
    use postrider_store::feed::{FeedEventType, FeedKey, FeedTenant};

    use super::*;

    /// The first changes that a feed sends.
    #[derive(Default)]
    pub(crate) struct Snapshot(Changes);

    impl Snapshot {
        pub(crate) fn tenant(mut self, id: TenantId, external_id: Option<&str>) -> Self {
            self.0.tenants.push(FeedTenant {
                id,
                profile: "standard".into(),
                external_id: external_id.map(str::to_owned),
                limits: Default::default(),
                enforce_catalog: false,
                enforce_schemas: false,
                disable_after_days: None,
                ordered: false,
                version: 1,
            });
            self
        }

        pub(crate) fn key(mut self, text: &str, tenants: KeyTenants, scopes: Scopes) -> Self {
            self.0.keys.push(FeedKey { id: KeyId::generate(), tenants, hash: KeyHash::of(text), scopes });
            self
        }
    }

    /// Creates a directory with this snapshot and with an operator key.
    pub(crate) fn directory(Snapshot(changes): Snapshot, fresh: bool) -> TenantDirectory {
        let directory = TenantDirectory::new(Arc::new(Profiles::builtin()), &[SecretString::from("operator")]);
        apply(&directory, Changes { version: 7, snapshot: true, ..changes });
        let confirmed = fresh.then(std::time::Instant::now);
        directory.keys.set_state(FeedState { version: 7, confirmed });
        directory
    }

    fn apply(directory: &TenantDirectory, changes: Changes) {
        directory.keys.apply(&changes);
        directory.apply_tenants(changes);
    }

    fn changes(tenant: TenantId, scopes: Scopes, events_per_second: Option<f64>) -> Changes {
        let mut known = Snapshot::default().tenant(tenant, None).key("secret", KeyTenants::One(tenant), scopes).0;
        known.tenants[0].limits.events_per_second = events_per_second;
        Changes { version: 7, snapshot: true, ..known }
    }

    /// Returns the tenant for which a key publishes.
    fn publishing_tenant(
        directory: &TenantDirectory,
        authorization: Option<&str>,
    ) -> Result<PublishingTenant, Refused> {
        let sender = crate::http::sender::Sender::of(directory, authorization, None)?;
        directory.publishing_tenant(sender.named().expect("a tenant's key"))
    }

    #[test]
    fn a_key_with_the_scope_is_its_tenant() {
        let tenant = TenantId::generate();
        let directory = directory(Snapshot(changes(tenant, Scopes::ALL, None)), true);
        let found = publishing_tenant(&directory, Some("Bearer secret")).unwrap();
        assert_eq!((found.id, found.config_version), (tenant, 7));
    }

    #[test]
    fn a_wrong_key_a_missing_scope_and_a_stale_table_are_told_apart() {
        let tenant = TenantId::generate();
        let status = |directory: &TenantDirectory, header| {
            Problem::from(publishing_tenant(directory, header).map(|_| ()).unwrap_err()).status
        };
        let known = directory(Snapshot(changes(tenant, [Scope::Read].into_iter().collect(), None)), true);
        assert_eq!(status(&known, None), 401);
        assert_eq!(status(&known, Some("Basic abc")), 401);
        assert_eq!(status(&known, Some("Bearer other")), 401);
        assert_eq!(status(&known, Some("Bearer secret")), 403);
        let stale = directory(Snapshot(changes(tenant, Scopes::ALL, None)), false);
        assert_eq!(status(&stale, Some("Bearer other")), 503);
        assert!(publishing_tenant(&stale, Some("Bearer secret")).is_ok());
    }

    #[tokio::test]
    async fn an_unknown_tenant_is_waited_for_until_the_feed_has_caught_up() {
        let (known, new) = (TenantId::generate(), TenantId::generate());
        let directory = Arc::new(directory(Snapshot(changes(known, Scopes::ALL, None)), true));
        assert!(directory.publishing_tenant(known).is_ok());
        let received = Instant::now();
        let waiting = tokio::spawn({
            let directory = Arc::clone(&directory);
            async move { directory.caught_up(received).await }
        });
        let confirm = |version| {
            directory.keys.set_state(FeedState { version, confirmed: Some(Instant::now()) });
        };
        // The first response may belong to an earlier query. A response about a version that is not in force yet does not
        // count.
        confirm(7);
        confirm(8);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        apply(&directory, Changes { version: 8, snapshot: false, keys: Vec::new(), ..changes(new, Scopes::ALL, None) });
        confirm(8);
        tokio::task::yield_now().await;
        confirm(8);
        waiting.await.unwrap();
        assert!(directory.publishing_tenant(new).is_ok());
        assert!(directory.publishing_tenant(TenantId::generate()).is_err());
    }

    #[test]
    fn a_deleted_key_is_unknown() {
        let tenant = TenantId::generate();
        let first = changes(tenant, Scopes::ALL, None);
        let gone = vec![first.keys[0].id];
        let directory = directory(Snapshot(first), true);
        apply(&directory, Changes { version: 8, keys_gone: gone, ..Changes::default() });
        assert_eq!(publishing_tenant(&directory, Some("Bearer secret")).unwrap_err(), Refused::NoKey("no such key"));
    }

    #[test]
    fn event_types_follow_the_feed_and_outlive_an_edit_of_their_tenant() {
        let (tenant, name) = (TenantId::generate(), EventType::from_str("order.paid").unwrap());
        let defined = || FeedEventType { tenant, name: name.clone(), schema: None, ttl_seconds: None };
        let directory =
            directory(Snapshot(Changes { event_types: vec![defined()], ..changes(tenant, Scopes::ALL, None) }), true);
        let has = || publishing_tenant(&directory, Some("Bearer secret")).unwrap().event_types.has(&name);
        assert!(has());
        apply(&directory, Changes { snapshot: false, ..changes(tenant, Scopes::ALL, None) });
        assert!(has());
        apply(&directory, Changes { event_types_gone: vec![(tenant, name.clone())], ..Changes::default() });
        assert!(!has());
        apply(&directory, Changes { event_types: vec![defined()], ..Changes::default() });
        assert!(has());
        apply(&directory, changes(tenant, Scopes::ALL, None));
        assert!(!has(), "a snapshot is everything");
    }

    #[test]
    fn a_rate_that_is_used_up_is_429_and_an_impossible_batch_is_422() {
        let tenant = TenantId::generate();
        let directory = directory(Snapshot(changes(tenant, Scopes::ALL, Some(10.0))), true);
        assert!(matches!(directory.charge(tenant, 11), Err(Refused::Invalid(_))));
        assert!(directory.charge(tenant, 10).is_ok());
        let refused = Problem::from(directory.charge(tenant, 1).unwrap_err());
        assert_eq!((refused.status, refused.retry_after_seconds), (429, Some(1)));
    }

    #[test]
    fn a_snapshot_of_the_feed_gives_no_second_burst() {
        let tenant = TenantId::generate();
        let hourly = || changes(tenant, Scopes::ALL, Some(1.0 / 3_600.0));
        let directory = directory(Snapshot(hourly()), true);
        assert!(directory.charge(tenant, 1).is_ok());
        apply(&directory, hourly());
        assert!(directory.charge(tenant, 1).is_err());
    }

    #[test]
    fn an_external_id_follows_its_tenant() {
        let (one, other) = (TenantId::generate(), TenantId::generate());
        let directory = directory(Snapshot::default().tenant(one, Some("acme")), true);
        assert_eq!(directory.find("acme"), Ok(one));
        assert_eq!(directory.find(&one.to_string()), Ok(one));
        // The external id moves from one tenant to another in a single change. The feed may send the two tenants in either
        // order.
        let moved = Snapshot::default().tenant(other, Some("acme")).tenant(one, Some("old")).0;
        apply(&directory, Changes { version: 8, ..moved });
        assert_eq!((directory.find("acme"), directory.find("old")), (Ok(other), Ok(one)));
        apply(&directory, Changes { version: 9, tenants_gone: vec![other], ..Changes::default() });
        assert_eq!(directory.find("acme"), Err(TenantError::NotFound));
        assert_eq!(directory.find(&other.to_string()), Err(TenantError::NotFound));
    }
}
