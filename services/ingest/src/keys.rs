//! Who may publish: every key's hash and every tenant with its event types in memory, kept fresh by the configuration feed.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::RwLock;
use postrider_model::delivery::Lane;
use postrider_model::ids::{KeyId, TenantId};
use postrider_profiles::{Profile, Profiles};
use postrider_runtime::problem::Problem;
use postrider_store::Store;
use postrider_store::config::{KeyHash, Scope, Scopes};
use postrider_store::feed::{Changes, FeedScope, FeedState, TenantConfig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::accept::Publisher;
use crate::catalog::EventTypes;
use crate::metrics;

/// An unknown key is answered with 401 only while the configuration is known to be this fresh; else it may be a new one.
const FRESH: Duration = Duration::from_secs(5);

/// A tenant, prepared.
#[derive(Clone)]
struct Tenant {
    profile: Option<Arc<Profile>>,
    enforces_catalog: bool,
    event_types: Arc<EventTypes>,
    events_per_second: f64,
    waiting_max: u64,
    rate: Option<Arc<DefaultDirectRateLimiter>>,
}

impl Tenant {
    fn publisher(&self, tenant: TenantId, config_version: i64) -> Result<Publisher, Problem> {
        let profile = self.profile.clone().ok_or_else(profile_not_loaded)?;
        let (enforces_catalog, event_types) = (self.enforces_catalog, Arc::clone(&self.event_types));
        let (lane, waited) = (Lane::Live, Duration::ZERO);
        Ok(Publisher { tenant, profile, enforces_catalog, event_types, config_version, lane, waited })
    }
}

#[derive(Default)]
struct Table {
    version: i64,
    grants: HashMap<KeyHash, (KeyId, TenantId, Scopes)>,
    tenants: HashMap<TenantId, Tenant>,
}

/// Everybody who may publish.
pub(crate) struct Keys {
    profiles: Arc<Profiles>,
    table: RwLock<Table>,
    state: watch::Sender<FeedState>,
    /// The configuration version in force here; 0 before the first.
    applied: watch::Sender<i64>,
}

impl Keys {
    pub(crate) fn new(profiles: Arc<Profiles>) -> Self {
        let state = watch::Sender::new(FeedState::default());
        Self { profiles, table: RwLock::default(), state, applied: watch::Sender::new(0) }
    }

    /// Follows the feed until `stop`; `on_loaded` is called once a configuration is in force.
    pub(crate) async fn follow(self: Arc<Self>, store: Store, stop: CancellationToken, on_loaded: impl FnOnce()) {
        let mut feed = store.follow(FeedScope::INGEST, stop);
        let mut state = feed.state();
        let mut on_loaded = Some(on_loaded);
        loop {
            tokio::select! {
                changes = feed.recv() => match changes {
                    Some(changes) => self.apply(changes),
                    None => return,
                },
                changed = state.changed() => if changed.is_err() { return },
            }
            self.state.send_replace(*state.borrow_and_update());
            if self.table.read().version > 0
                && let Some(on_loaded) = on_loaded.take()
            {
                on_loaded();
            }
        }
    }

    /// The configuration version in force here, and its changes.
    pub(crate) fn applied(&self) -> watch::Receiver<i64> {
        self.applied.subscribe()
    }

    /// Who sends this `Authorization` header, if they may publish.
    ///
    /// # Errors
    /// 401 without a valid key, 503 for a key that may be newer than what is known here, 403 for one without the scope.
    pub(crate) fn publisher(&self, authorization: Option<&str>) -> Result<Publisher, Problem> {
        let key = authorization
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| Problem::unauthorized("send the key as `Authorization: Bearer <key>`"))?;
        let hash = KeyHash::of(key.trim());
        let table = self.table.read();
        let Some((_, id, scopes)) = table.grants.get(&hash).copied() else {
            return Err(if self.state.borrow().is_fresh(FRESH) {
                Problem::unauthorized("no such key")
            } else {
                let detail = "the key is not known here, and the database that may know it is not available";
                Problem::unavailable(detail, Duration::from_secs(2))
            });
        };
        if !scopes.contains(Scope::Publish) {
            return Err(Problem::forbidden("the key lacks the scope `publish`"));
        }
        let tenant = table.tenants.get(&id).ok_or_else(profile_not_loaded)?;
        tenant.publisher(id, table.version)
    }

    /// The tenant of a message on the exchange, which the broker's own permissions let in; `None` when there is none of
    /// this id as far as is known here.
    ///
    /// # Errors
    /// 503 when its profile is not loaded in this service.
    pub(crate) fn tenant(&self, id: TenantId) -> Result<Option<Publisher>, Problem> {
        let table = self.table.read();
        let Some(tenant) = table.tenants.get(&id) else { return Ok(None) };
        tenant.publisher(id, table.version).map(Some)
    }

    /// Returns once a configuration is in force.
    pub(crate) async fn loaded(&self) {
        let mut state = self.state.subscribe();
        // An error would mean that the sender, a field of this very struct, is gone.
        let _ = state.wait_for(|_| self.table.read().version > 0).await;
    }

    /// Returns once everything that was committed before `moment` is known here; as long as the database is away, never.
    ///
    /// A message may come sooner than the news of its tenant. Of two answers of the database after `moment` the second was
    /// asked for after `moment`, too.
    pub(crate) async fn caught_up(&self, mut moment: Instant) {
        let mut state = self.state.subscribe();
        for _ in 0..2 {
            let later = |state: &FeedState| {
                state.confirmed.is_some_and(|at| at > moment) && self.table.read().version >= state.version
            };
            match state.wait_for(later).await.map(|state| state.confirmed) {
                Ok(confirmed) => moment = confirmed.unwrap_or(moment),
                // The sender is a field of this very struct.
                Err(_) => return,
            }
        }
    }

    /// Deliveries of a tenant that may wait.
    pub(crate) fn waiting_max(&self, tenant: TenantId) -> u64 {
        self.table.read().tenants.get(&tenant).map_or(u64::MAX, |tenant| tenant.waiting_max)
    }

    /// Charges events to a tenant's rate.
    ///
    /// # Errors
    /// 429 with `Retry-After` when the rate is used up, 422 for a batch that is larger than what it allows in a second.
    pub(crate) fn charge(&self, tenant: TenantId, events: usize) -> Result<(), Problem> {
        let rate = self.table.read().tenants.get(&tenant).and_then(|tenant| tenant.rate.clone());
        let (Some(rate), Some(events)) = (rate, u32::try_from(events).ok().and_then(NonZeroU32::new)) else {
            return Ok(());
        };
        match rate.check_n(events) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(wait)) => {
                let wait = wait.wait_time_from(DefaultClock::default().now());
                let detail = "the tenant's events_per_second is used up";
                Err(Problem::too_many_requests(detail, wait.max(Duration::from_secs(1))))
            }
            Err(_) => {
                let detail = format!("{events} events are more than the tenant's events_per_second allows at once");
                Err(Problem::invalid_field("/events", detail))
            }
        }
    }

    fn apply(&self, changes: Changes) {
        let mut table = self.table.write();
        if changes.snapshot {
            table.grants.clear();
            table.tenants.clear();
        }
        for tenant in &changes.tenants {
            let prepared = self.prepare(tenant, table.tenants.get(&tenant.id));
            table.tenants.insert(tenant.id, prepared);
        }
        for said in changes.event_types {
            if let Some(tenant) = table.tenants.get_mut(&said.tenant) {
                Arc::make_mut(&mut tenant.event_types).set(said.name, said.schema);
            }
        }
        for (tenant, name) in &changes.event_types_gone {
            if let Some(tenant) = table.tenants.get_mut(tenant) {
                Arc::make_mut(&mut tenant.event_types).remove(name);
            }
        }
        for key in &changes.keys {
            table.grants.insert(key.hash, (key.id, key.tenant, key.scopes));
        }
        for tenant in &changes.tenants_gone {
            table.tenants.remove(tenant);
        }
        if !changes.keys_gone.is_empty() || !changes.tenants_gone.is_empty() {
            table.grants.retain(|_, (key, tenant, _)| {
                !changes.keys_gone.contains(key) && !changes.tenants_gone.contains(tenant)
            });
        }
        table.version = changes.version;
        drop(table);
        metrics::config_version(changes.version);
        self.applied.send_replace(changes.version);
    }

    /// Keeps the limiter of a tenant whose rate is unchanged: an edit of its name gives it no second burst.
    fn prepare(&self, tenant: &TenantConfig, before: Option<&Tenant>) -> Tenant {
        let profile = self.profiles.get(&tenant.profile).cloned();
        let events_per_second = tenant.limits.events_per_second();
        let kept = before.filter(|before| before.events_per_second == events_per_second);
        let rate = match kept {
            Some(before) => before.rate.clone(),
            None => quota(events_per_second).map(|quota| Arc::new(RateLimiter::direct(quota))),
        };
        let event_types = before.map(|before| Arc::clone(&before.event_types)).unwrap_or_default();
        let waiting_max = u64::from(tenant.limits.waiting_deliveries());
        Tenant { profile, enforces_catalog: tenant.enforce_catalog, event_types, events_per_second, waiting_max, rate }
    }
}

fn profile_not_loaded() -> Problem {
    Problem::unavailable("the tenant's profile is not loaded in this service", Duration::from_secs(30))
}

/// A rate with a burst of one second's worth, at least one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn quota(events_per_second: f64) -> Option<Quota> {
    let period = Duration::try_from_secs_f64(1.0 / events_per_second).ok()?;
    let burst = NonZeroU32::new(events_per_second.clamp(1.0, f64::from(u32::MAX)) as u32)?;
    Some(Quota::with_period(period)?.allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use postrider_model::event::EventType;
    use postrider_store::feed::{EventTypeConfig, KeyConfig};

    use super::*;

    fn changes(tenant: TenantId, scopes: Scopes, events_per_second: Option<f64>) -> Changes {
        let limits = postrider_store::config::TenantLimits { events_per_second, ..Default::default() };
        Changes {
            version: 7,
            snapshot: true,
            tenants: vec![TenantConfig {
                id: tenant,
                profile: "standard".into(),
                limits,
                enforce_catalog: false,
                enforce_schemas: false,
                disable_after_days: None,
                version: 1,
            }],
            keys: vec![KeyConfig { id: KeyId::generate(), tenant, hash: KeyHash::of("secret"), scopes }],
            ..Changes::default()
        }
    }

    fn keys(changes: Changes, fresh: bool) -> Keys {
        let keys = Keys::new(Arc::new(Profiles::builtin()));
        keys.apply(changes);
        let confirmed = fresh.then(std::time::Instant::now);
        keys.state.send_replace(FeedState { version: 7, confirmed });
        keys
    }

    #[test]
    fn a_key_with_the_scope_is_its_tenant() {
        let tenant = TenantId::generate();
        let keys = keys(changes(tenant, Scopes::ALL, None), true);
        let publisher = keys.publisher(Some("Bearer secret")).unwrap();
        assert_eq!((publisher.tenant, publisher.config_version), (tenant, 7));
    }

    #[test]
    fn refusals_tell_a_wrong_key_from_a_missing_scope_and_from_not_knowing() {
        let tenant = TenantId::generate();
        let status = |keys: &Keys, header| keys.publisher(header).map(|_| ()).unwrap_err().status;
        let known = keys(changes(tenant, [Scope::Read].into_iter().collect(), None), true);
        assert_eq!(status(&known, None), 401);
        assert_eq!(status(&known, Some("Basic abc")), 401);
        assert_eq!(status(&known, Some("Bearer other")), 401);
        assert_eq!(status(&known, Some("Bearer secret")), 403);
        let stale = keys(changes(tenant, Scopes::ALL, None), false);
        assert_eq!(status(&stale, Some("Bearer other")), 503);
        assert!(stale.publisher(Some("Bearer secret")).is_ok());
    }

    #[tokio::test]
    async fn a_tenant_that_is_not_known_yet_is_waited_for_and_one_that_is_not_there_is_told() {
        let (known, new) = (TenantId::generate(), TenantId::generate());
        let keys = Arc::new(keys(changes(known, Scopes::ALL, None), true));
        assert!(keys.tenant(known).unwrap().is_some());
        let received = Instant::now();
        let waiting = tokio::spawn({
            let keys = Arc::clone(&keys);
            async move { keys.caught_up(received).await }
        });
        let confirm = |version| {
            keys.state.send_replace(FeedState { version, confirmed: Some(Instant::now()) });
        };
        // The first answer may be to a question from before; that of a version that is not in force yet says nothing.
        confirm(7);
        confirm(8);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        keys.apply(Changes { version: 8, snapshot: false, keys: Vec::new(), ..changes(new, Scopes::ALL, None) });
        confirm(8);
        tokio::task::yield_now().await;
        confirm(8);
        waiting.await.unwrap();
        assert!(keys.tenant(new).unwrap().is_some());
        assert!(keys.tenant(TenantId::generate()).unwrap().is_none());
    }

    #[test]
    fn a_deleted_key_is_unknown() {
        let tenant = TenantId::generate();
        let first = changes(tenant, Scopes::ALL, None);
        let gone = vec![first.keys[0].id];
        let keys = keys(first, true);
        keys.apply(Changes { version: 8, keys_gone: gone, ..Changes::default() });
        assert_eq!(keys.publisher(Some("Bearer secret")).unwrap_err().status, 401);
    }

    #[test]
    fn event_types_follow_the_feed_and_outlive_an_edit_of_their_tenant() {
        let (tenant, name) = (TenantId::generate(), EventType::from_str("order.paid").unwrap());
        let said = || EventTypeConfig { tenant, name: name.clone(), schema: None };
        let keys = keys(Changes { event_types: vec![said()], ..changes(tenant, Scopes::ALL, None) }, true);
        let has = || keys.publisher(Some("Bearer secret")).unwrap().event_types.has(&name);
        assert!(has());
        keys.apply(Changes { snapshot: false, ..changes(tenant, Scopes::ALL, None) });
        assert!(has());
        keys.apply(Changes { event_types_gone: vec![(tenant, name.clone())], ..Changes::default() });
        assert!(!has());
        keys.apply(Changes { event_types: vec![said()], ..Changes::default() });
        assert!(has());
        keys.apply(changes(tenant, Scopes::ALL, None));
        assert!(!has(), "a snapshot is everything");
    }

    #[test]
    fn a_rate_that_is_used_up_is_429_and_an_impossible_batch_is_422() {
        let tenant = TenantId::generate();
        let keys = keys(changes(tenant, Scopes::ALL, Some(10.0)), true);
        assert_eq!(keys.charge(tenant, 11).unwrap_err().status, 422);
        assert!(keys.charge(tenant, 10).is_ok());
        let refused = keys.charge(tenant, 1).unwrap_err();
        assert_eq!((refused.status, refused.retry_after_seconds), (429, Some(1)));
    }
}
