//! Who may publish: every key's hash and every tenant with its external id and event types in memory, kept fresh by the
//! configuration feed. Operators' keys come from the settings.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::RwLock;
use postrider_http::problem::Problem;
use postrider_model::delivery::Lane;
use postrider_model::ids::{KeyId, TenantId};
use postrider_profiles::{Profile, Profiles};
use postrider_store::Store;
use postrider_store::config::{KeyHash, KeyTenants, Scope, Scopes};
use postrider_store::feed::{Changes, FeedScope, FeedState, TenantConfig};
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::accept::Publisher;
use crate::catalog::EventTypes;
use crate::metrics;
use crate::sender::no_such_tenant;

/// An unknown key is answered with 401 only while the configuration is known to be this fresh; else it may be a new one.
const FRESH: Duration = Duration::from_secs(5);

/// A tenant, prepared.
#[derive(Clone)]
struct Tenant {
    profile: Option<Arc<Profile>>,
    external_id: Option<String>,
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
    grants: HashMap<KeyHash, Grant>,
    tenants: HashMap<TenantId, Tenant>,
    external_ids: HashMap<String, TenantId>,
}

/// What a key may do.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    /// `None` for an operator key.
    pub(crate) id: Option<KeyId>,
    pub(crate) tenants: Arc<KeyTenants>,
    scopes: Scopes,
}

impl Table {
    /// The tenant of this id or external id.
    fn find(&self, name: &str) -> Option<TenantId> {
        let id = name.parse().ok().or_else(|| self.external_ids.get(name).copied());
        id.filter(|id| self.tenants.contains_key(id))
    }

    fn enter(&mut self, id: TenantId, tenant: Tenant) {
        let (before, now) = (self.tenants.get(&id), &tenant);
        if let Some(before) = before.and_then(|before| before.external_id.clone()) {
            self.free(&before, id);
        }
        if let Some(external_id) = &now.external_id {
            self.external_ids.insert(external_id.clone(), id);
        }
        self.tenants.insert(id, tenant);
    }

    fn remove(&mut self, id: TenantId) {
        if let Some(external_id) = self.tenants.remove(&id).and_then(|tenant| tenant.external_id) {
            self.free(&external_id, id);
        }
    }

    /// Forgets that an external id is this tenant's; it may be another's by now.
    fn free(&mut self, external_id: &str, id: TenantId) {
        if self.external_ids.get(external_id) == Some(&id) {
            self.external_ids.remove(external_id);
        }
    }
}

/// Everybody who may publish.
pub(crate) struct Keys {
    operators: Vec<KeyHash>,
    profiles: Arc<Profiles>,
    table: RwLock<Table>,
    state: watch::Sender<FeedState>,
    /// The configuration version in force here; 0 before the first.
    applied: watch::Sender<i64>,
}

impl Keys {
    pub(crate) fn new(profiles: Arc<Profiles>, operator_keys: &[SecretString]) -> Self {
        let operators = operator_keys.iter().map(|key| KeyHash::of(key.expose_secret())).collect();
        let state = watch::Sender::new(FeedState::default());
        Self { operators, profiles, table: RwLock::default(), state, applied: watch::Sender::new(0) }
    }

    /// Follows the feed until `stop`; `on_loaded` is called once a configuration is in force.
    pub(crate) async fn follow(self: Arc<Self>, store: Store, stop: CancellationToken, on_loaded: impl FnOnce()) {
        let mut feed = store.feed().follow(FeedScope::KEYS, stop);
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

    /// What the key in this `Authorization` header may publish for.
    ///
    /// # Errors
    /// 401 without a valid key, 503 for a key that may be newer than what is known here, 403 for one without the scope.
    pub(crate) fn grant(&self, authorization: Option<&str>) -> Result<Grant, Problem> {
        let key = authorization
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| Problem::unauthorized("send the key as `Authorization: Bearer <key>`"))?;
        let hash = KeyHash::of(key.trim());
        // Every operator key is compared, whichever matches, byte by byte without an early end.
        let matches = self.operators.iter().fold(Choice::from(0), |found, operator| found | operator.0.ct_eq(&hash.0));
        if bool::from(matches) {
            return Ok(Grant { id: None, tenants: Arc::new(KeyTenants::All), scopes: Scopes::ALL });
        }
        let grant = self.table.read().grants.get(&hash).cloned();
        let grant = grant.ok_or_else(|| self.unknown("the key", || Problem::unauthorized("no such key")))?;
        if !grant.scopes.contains(Scope::Publish) {
            return Err(Problem::forbidden("the key lacks the scope `publish`"));
        }
        Ok(grant)
    }

    /// The tenant of this id or external id.
    ///
    /// # Errors
    /// 404 when there is none, 503 when it may be newer than what is known here.
    pub(crate) fn find_tenant(&self, name: &str) -> Result<TenantId, Problem> {
        let found = self.table.read().find(name);
        found.ok_or_else(|| self.unknown("the tenant", no_such_tenant))
    }

    /// The tenant as a publisher, under the configuration that is in force now.
    ///
    /// # Errors
    /// 404 when it was deleted, 503 when its profile is not loaded in this service.
    pub(crate) fn publisher(&self, tenant: TenantId) -> Result<Publisher, Problem> {
        self.tenant(tenant)?.ok_or_else(no_such_tenant)
    }

    /// What is answered about something that is not known here: that it does not exist, or, while the configuration may be
    /// stale, that nobody can tell.
    fn unknown(&self, what: &str, refusal: impl FnOnce() -> Problem) -> Problem {
        if self.state.borrow().is_fresh(FRESH) {
            return refusal();
        }
        let detail = format!("{what} is not known here, and the database that may know it is not available");
        Problem::unavailable(detail, Duration::from_secs(2))
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
            table.external_ids.clear();
        }
        for tenant in &changes.tenants {
            let prepared = self.prepare(tenant, table.tenants.get(&tenant.id));
            table.enter(tenant.id, prepared);
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
            let (id, tenants) = (Some(key.id), Arc::new(key.tenants.clone()));
            table.grants.insert(key.hash, Grant { id, tenants, scopes: key.scopes });
        }
        for tenant in &changes.tenants_gone {
            table.remove(*tenant);
        }
        if !changes.keys_gone.is_empty() || !changes.tenants_gone.is_empty() {
            table.grants.retain(|_, grant| {
                let gone = grant.id.is_some_and(|id| changes.keys_gone.contains(&id));
                let orphaned =
                    matches!(&*grant.tenants, KeyTenants::One(tenant) if changes.tenants_gone.contains(tenant));
                !gone && !orphaned
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
        let external_id = tenant.external_id.clone();
        let enforces_catalog = tenant.enforce_catalog;
        Tenant { profile, external_id, enforces_catalog, event_types, events_per_second, waiting_max, rate }
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
pub(crate) mod tests {
    use std::str::FromStr;

    use postrider_model::event::EventType;
    use postrider_store::feed::{EventTypeConfig, KeyConfig};

    use super::*;

    /// What a feed says at first.
    #[derive(Default)]
    pub(crate) struct Known(Changes);

    impl Known {
        pub(crate) fn tenant(mut self, id: TenantId, external_id: Option<&str>) -> Self {
            self.0.tenants.push(TenantConfig {
                id,
                profile: "standard".into(),
                external_id: external_id.map(str::to_owned),
                limits: Default::default(),
                enforce_catalog: false,
                enforce_schemas: false,
                disable_after_days: None,
                version: 1,
            });
            self
        }

        pub(crate) fn key(mut self, text: &str, tenants: KeyTenants, scopes: Scopes) -> Self {
            self.0.keys.push(KeyConfig { id: KeyId::generate(), tenants, hash: KeyHash::of(text), scopes });
            self
        }
    }

    /// Keys that know this, and an operator's key.
    pub(crate) fn keys(Known(changes): Known, fresh: bool) -> Keys {
        let keys = Keys::new(Arc::new(Profiles::builtin()), &[SecretString::from("operator")]);
        keys.apply(Changes { version: 7, snapshot: true, ..changes });
        let confirmed = fresh.then(std::time::Instant::now);
        keys.state.send_replace(FeedState { version: 7, confirmed });
        keys
    }

    fn changes(tenant: TenantId, scopes: Scopes, events_per_second: Option<f64>) -> Changes {
        let mut known = Known::default().tenant(tenant, None).key("secret", KeyTenants::One(tenant), scopes).0;
        known.tenants[0].limits.events_per_second = events_per_second;
        Changes { version: 7, snapshot: true, ..known }
    }

    /// The tenant of a key, as a publisher.
    fn publisher(keys: &Keys, authorization: Option<&str>) -> Result<Publisher, Problem> {
        let sender = crate::sender::Sender::of(keys, authorization, None)?;
        keys.publisher(sender.named().expect("a tenant's key"))
    }

    #[test]
    fn a_key_with_the_scope_is_its_tenant() {
        let tenant = TenantId::generate();
        let keys = keys(Known(changes(tenant, Scopes::ALL, None)), true);
        let publisher = publisher(&keys, Some("Bearer secret")).unwrap();
        assert_eq!((publisher.tenant, publisher.config_version), (tenant, 7));
    }

    #[test]
    fn refusals_tell_a_wrong_key_from_a_missing_scope_and_from_not_knowing() {
        let tenant = TenantId::generate();
        let status = |keys: &Keys, header| publisher(keys, header).map(|_| ()).unwrap_err().status;
        let known = keys(Known(changes(tenant, [Scope::Read].into_iter().collect(), None)), true);
        assert_eq!(status(&known, None), 401);
        assert_eq!(status(&known, Some("Basic abc")), 401);
        assert_eq!(status(&known, Some("Bearer other")), 401);
        assert_eq!(status(&known, Some("Bearer secret")), 403);
        let stale = keys(Known(changes(tenant, Scopes::ALL, None)), false);
        assert_eq!(status(&stale, Some("Bearer other")), 503);
        assert!(publisher(&stale, Some("Bearer secret")).is_ok());
    }

    #[tokio::test]
    async fn a_tenant_that_is_not_known_yet_is_waited_for_and_one_that_is_not_there_is_told() {
        let (known, new) = (TenantId::generate(), TenantId::generate());
        let keys = Arc::new(keys(Known(changes(known, Scopes::ALL, None)), true));
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
        let keys = keys(Known(first), true);
        keys.apply(Changes { version: 8, keys_gone: gone, ..Changes::default() });
        assert_eq!(publisher(&keys, Some("Bearer secret")).unwrap_err().status, 401);
    }

    #[test]
    fn event_types_follow_the_feed_and_outlive_an_edit_of_their_tenant() {
        let (tenant, name) = (TenantId::generate(), EventType::from_str("order.paid").unwrap());
        let said = || EventTypeConfig { tenant, name: name.clone(), schema: None };
        let keys = keys(Known(Changes { event_types: vec![said()], ..changes(tenant, Scopes::ALL, None) }), true);
        let has = || publisher(&keys, Some("Bearer secret")).unwrap().event_types.has(&name);
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
        let keys = keys(Known(changes(tenant, Scopes::ALL, Some(10.0))), true);
        assert_eq!(keys.charge(tenant, 11).unwrap_err().status, 422);
        assert!(keys.charge(tenant, 10).is_ok());
        let refused = keys.charge(tenant, 1).unwrap_err();
        assert_eq!((refused.status, refused.retry_after_seconds), (429, Some(1)));
    }

    #[test]
    fn an_external_id_follows_its_tenant() {
        let (one, other) = (TenantId::generate(), TenantId::generate());
        let keys = keys(Known::default().tenant(one, Some("acme")), true);
        assert_eq!(keys.find_tenant("acme"), Ok(one));
        assert_eq!(keys.find_tenant(&one.to_string()), Ok(one));
        // It goes from one tenant to another in one step, in whichever order the feed says so.
        let moved = Known::default().tenant(other, Some("acme")).tenant(one, Some("old")).0;
        keys.apply(Changes { version: 8, ..moved });
        assert_eq!((keys.find_tenant("acme"), keys.find_tenant("old")), (Ok(other), Ok(one)));
        keys.apply(Changes { version: 9, tenants_gone: vec![other], ..Changes::default() });
        assert_eq!(keys.find_tenant("acme").unwrap_err().status, 404);
        assert_eq!(keys.find_tenant(&other.to_string()).unwrap_err().status, 404);
    }
}
