//! The subscriptions of all tenants in memory, updated by the configuration feed.
//!
//! An edit rebuilds only the part of its tenant. Readers read the version and the tenant under one lock, so that a decision
//! contains the configuration version that it used.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::ordering::{KeyReader, Ordering};
use postrider_model::payload_filter::PayloadFilter;
use postrider_model::subscription::Subscription;
use postrider_profiles::{Profile, Profiles};
use postrider_store::ConfigFeed;
use postrider_store::feed::{Changes, EndpointSubscription, FeedScope, FeedTenant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::tenant::{Active, TenantIndex};

/// The configuration that readers see.
#[derive(Default)]
struct Published {
    version: i64,
    tenants: HashMap<TenantId, Arc<TenantIndex>>,
}

/// A tenant in a configuration version. `tenant` is `None` if the tenant does not exist in this version.
pub(crate) struct TenantAt {
    pub(crate) config_version: i64,
    pub(crate) tenant: Option<Arc<TenantIndex>>,
}

/// The subscriptions in force.
pub(crate) struct Index {
    profiles: Arc<Profiles>,
    published: RwLock<Published>,
    /// The configuration version in force, or 0 before the first configuration.
    reached: watch::Sender<i64>,
    /// The last wait that timed out. No event waits for the wanted version again until the feed brings a new version.
    timed_out: Mutex<Option<TimedOut>>,
}

/// A wait for a version that did not arrive.
struct TimedOut {
    /// The version that was in force when the wait timed out.
    known: i64,
    wanted: i64,
}

/// The configuration as received from the feed, from which the parts of edited tenants are rebuilt. Only the task that follows
/// the feed uses it.
#[derive(Default)]
pub(crate) struct Staged {
    tenants: HashMap<TenantId, StagedTenant>,
}

struct StagedTenant {
    profile: String,
    /// The active and paused endpoints, compiled for `profile` and shared with the index. After an edit of the tenant, the feed sends all
    /// of its endpoints again.
    active: BTreeMap<EndpointId, Arc<Active>>,
}

impl Index {
    pub(crate) fn new(profiles: Arc<Profiles>) -> Self {
        Self { profiles, published: RwLock::default(), reached: watch::Sender::new(0), timed_out: Mutex::default() }
    }

    /// Applies the feed's changes until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, feed: ConfigFeed, stop: CancellationToken) {
        let mut feed = feed.follow(FeedScope::FANOUT, stop);
        let mut staged = Staged::default();
        while let Some(changes) = feed.recv().await {
            self.apply(&mut staged, changes);
        }
    }

    /// Waits until a configuration is in force.
    pub(crate) async fn loaded(&self) {
        // `self` holds the sender, so the channel cannot close.
        let _ = self.reached.subscribe().wait_for(|version| *version > 0).await;
    }

    /// Waits until `version` or a later version is in force. Waits at most `limit`, because the database may be unavailable.
    /// After a wait that timed out, later calls for that version or a higher version return immediately until the feed brings a
    /// new version.
    pub(crate) async fn catch_up(&self, version: i64, limit: Duration) {
        let known = self.version();
        let is_in_vain =
            self.timed_out.lock().as_ref().is_some_and(|timeout| timeout.known == known && version >= timeout.wanted);
        if version <= known || is_in_vain {
            return;
        }
        let mut reached = self.reached.subscribe();
        let caught_up = reached.wait_for(|reached| *reached >= version);
        if tokio::time::timeout(limit, caught_up).await.is_err() {
            let known = self.version();
            *self.timed_out.lock() = (known < version).then_some(TimedOut { known, wanted: version });
            tracing::warn!(
                config.version = version,
                known,
                "the configuration did not arrive in time; deciding by the known one until it does"
            );
        }
    }

    /// Returns a receiver of the version in force, which is 0 before the first configuration.
    pub(crate) fn applied(&self) -> watch::Receiver<i64> {
        self.reached.subscribe()
    }

    /// Returns the version in force.
    pub(crate) fn version(&self) -> i64 {
        self.published.read().version
    }

    /// Returns a tenant in the version in force.
    pub(crate) fn tenant(&self, tenant: TenantId) -> TenantAt {
        let published = self.published.read();
        TenantAt { config_version: published.version, tenant: published.tenants.get(&tenant).cloned() }
    }

    /// Puts changes in force.
    pub(crate) fn apply(&self, staged: &mut Staged, changes: Changes) {
        let (version, snapshot) = (changes.version, changes.snapshot);
        let touched = staged.take_in(changes, &self.profiles);
        let rebuilt: Vec<_> = touched.iter().map(|tenant| (*tenant, staged.build(*tenant, &self.profiles))).collect();
        {
            let mut published = self.published.write();
            if snapshot {
                published.tenants.clear();
            }
            for (tenant, index) in rebuilt {
                match index {
                    Some(index) => published.tenants.insert(tenant, Arc::new(index)),
                    None => published.tenants.remove(&tenant),
                };
            }
            published.version = version;
        }
        metrics::config_version(version);
        self.reached.send_replace(version);
    }
}

impl Staged {
    /// Stores changes and returns the tenants to rebuild.
    fn take_in(&mut self, changes: Changes, profiles: &Profiles) -> BTreeSet<TenantId> {
        let mut touched = BTreeSet::new();
        if changes.snapshot {
            *self = Self::default();
        }
        for FeedTenant { id, profile, .. } in changes.tenants {
            touched.insert(id);
            match self.tenants.entry(id) {
                Entry::Occupied(mut known) => known.get_mut().profile = profile,
                Entry::Vacant(new) => {
                    new.insert(StagedTenant { profile, active: BTreeMap::new() });
                }
            }
        }
        for tenant in changes.tenants_gone {
            touched.insert(tenant);
            self.tenants.remove(&tenant);
        }
        for subscription in changes.subscriptions {
            let Some(known) = self.tenants.get_mut(&subscription.tenant) else { continue };
            touched.insert(subscription.tenant);
            match profiles.get(&known.profile).and_then(|profile| compile(&subscription, profile)) {
                Some(active) => known.active.insert(subscription.endpoint, Arc::new(active)),
                None => known.active.remove(&subscription.endpoint),
            };
        }
        for (tenant, endpoint) in changes.subscriptions_gone {
            if self.tenants.get_mut(&tenant).and_then(|known| known.active.remove(&endpoint)).is_some() {
                touched.insert(tenant);
            }
        }
        touched
    }

    /// Builds the index of a tenant. Returns `None` if the tenant was deleted, or if this process has not loaded the tenant's
    /// profile.
    fn build(&self, tenant: TenantId, profiles: &Profiles) -> Option<TenantIndex> {
        let StagedTenant { profile: name, active } = self.tenants.get(&tenant)?;
        let Some(profile) = profiles.get(name) else {
            tracing::error!(tenant.id = %tenant, profile = name, "the tenant's profile is not loaded; no endpoint gets its events");
            return None;
        };
        let active: Vec<_> = active.values().cloned().collect();
        Some(TenantIndex::new(Arc::clone(profile), &active))
    }
}

/// Compiles a subscription. Returns `None` if the subscription is invalid. It was valid when it was saved, but the profile may
/// have lost an attribute since then.
fn compile(subscription: &EndpointSubscription, profile: &Profile) -> Option<Active> {
    let kind_of = |attribute: &str| profile.attribute_kind(attribute);
    let payload_filter = subscription.payload_filter.as_ref().map(PayloadFilter::read).transpose();
    let filters = subscription.filters.iter().map(|(attribute, values)| (attribute, values));
    let compiled = Subscription::compile(&subscription.event_types, filters, kind_of);
    match compiled.and_then(|compiled| Ok((compiled, payload_filter?))) {
        Ok((compiled, payload_filter)) => Some(Active {
            ordering: subscription.ordering.as_deref().map(|ordering| Box::new(key_reader(ordering))),
            endpoint: subscription.endpoint,
            subscription: compiled,
            payload_filter: payload_filter.map(Arc::new),
            body_kind: subscription.body_kind,
            paused: subscription.paused,
        }),
        Err(error) => {
            tracing::warn!(endpoint.id = %subscription.endpoint, %error, "the subscription no longer fits its profile; the endpoint gets no events");
            None
        }
    }
}

/// Compiles the key of an ordering. A key that cannot be compiled was refused when it was saved; should there be one, all events
/// have the empty key.
fn key_reader((ordering, generation): &(Ordering, u32)) -> (KeyReader, u32) {
    (KeyReader::compile(ordering).unwrap_or_default(), *generation)
}

#[cfg(test)]
mod tests {
    use postrider_model::event::Attributes;
    use postrider_model::payload_filter::Payload;

    use super::*;
    use crate::testing::{snapshot, subscription, tenant};

    fn found(index: &Index, id: TenantId, event_type: &str) -> Vec<EndpointId> {
        let Some(tenant) = index.tenant(id).tenant else { return Vec::new() };
        let payload = Payload { data: b"{}", metadata: None, attributes: &Attributes::default() };
        let found = tenant.matching(&event_type.parse().unwrap(), &payload);
        found.iter().map(|candidate| candidate.endpoint()).collect()
    }

    #[test]
    fn an_edit_is_in_force_with_its_version_and_rebuilds_only_its_tenant() {
        let index = Index::new(Arc::new(Profiles::builtin()));
        let mut staged = Staged::default();
        let (one, other) = (TenantId::generate(), TenantId::generate());
        let (a, b) = (EndpointId::generate(), EndpointId::generate());
        let tenants = vec![tenant(one, "standard"), tenant(other, "standard")];
        let subscriptions = vec![subscription(one, a, "x.*"), subscription(other, b, "x.y")];
        index.apply(&mut staged, Changes { version: 3, ..snapshot(tenants, subscriptions) });
        assert_eq!((found(&index, one, "x.y"), found(&index, other, "x.y")), (vec![a], vec![b]));

        let untouched = index.tenant(other).tenant.unwrap();
        index.apply(
            &mut staged,
            Changes { version: 4, subscriptions: vec![subscription(one, a, "z")], ..Changes::default() },
        );
        assert_eq!(
            (index.tenant(one).config_version, found(&index, one, "x.y"), found(&index, one, "z")),
            (4, vec![], vec![a])
        );
        assert!(Arc::ptr_eq(&untouched, &index.tenant(other).tenant.unwrap()));

        index.apply(&mut staged, Changes { version: 5, subscriptions_gone: vec![(one, a)], ..Changes::default() });
        assert_eq!(found(&index, one, "z"), vec![]);
        index.apply(&mut staged, Changes { version: 6, tenants_gone: vec![other], ..Changes::default() });
        assert!(index.tenant(other).tenant.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_configuration_is_waited_for_once_until_the_feed_moves() {
        const LIMIT: Duration = Duration::from_secs(5);
        let index = Index::new(Arc::new(Profiles::builtin()));
        let mut staged = Staged::default();
        let mut reach = |version| index.apply(&mut staged, Changes { version, ..Changes::default() });
        reach(7);
        let start = tokio::time::Instant::now();
        for _ in 0..32 {
            index.catch_up(9, LIMIT).await;
        }
        assert_eq!(start.elapsed(), LIMIT);
        // The version 8 may still arrive, so this call waits.
        index.catch_up(8, LIMIT).await;
        assert_eq!(start.elapsed(), 2 * LIMIT);
        reach(8);
        index.catch_up(9, LIMIT).await;
        assert_eq!(start.elapsed(), 3 * LIMIT, "the feed has moved");
        reach(9);
        index.catch_up(9, LIMIT).await;
        assert_eq!(start.elapsed(), 3 * LIMIT);
    }

    #[test]
    fn a_snapshot_replaces_everything() {
        let index = Index::new(Arc::new(Profiles::builtin()));
        let mut staged = Staged::default();
        let (gone, stays) = (TenantId::generate(), TenantId::generate());
        for tenants in [vec![tenant(gone, "standard"), tenant(stays, "standard")], vec![tenant(stays, "standard")]] {
            index.apply(&mut staged, snapshot(tenants, Vec::new()));
        }
        assert!(index.tenant(gone).tenant.is_none() && index.tenant(stays).tenant.is_some());
    }

    #[test]
    fn a_subscription_that_no_longer_fits_its_profile_matches_nothing() {
        let index = Index::new(Arc::new(Profiles::builtin()));
        let mut staged = Staged::default();
        let (id, endpoint) = (TenantId::generate(), EndpointId::generate());
        let fits = subscription(id, endpoint, "x");
        let wrong =
            EndpointSubscription { filters: [("nosuch".into(), ["y".to_owned()].into())].into(), ..fits.clone() };
        let tenants = vec![tenant(id, "standard")];
        let changes =
            |subscription, tenants| Changes { subscriptions: vec![subscription], tenants, ..Changes::default() };
        index.apply(&mut staged, Changes { snapshot: true, ..changes(fits, tenants.clone()) });
        assert_eq!(found(&index, id, "x"), [endpoint]);
        index.apply(&mut staged, changes(wrong, tenants));
        assert_eq!(found(&index, id, "x"), []);
    }

    #[test]
    fn a_tenant_whose_profile_is_not_loaded_matches_nothing() {
        let index = Index::new(Arc::new(Profiles::builtin()));
        let id = TenantId::generate();
        index.apply(&mut Staged::default(), snapshot(vec![tenant(id, "nosuch")], Vec::new()));
        assert!(index.tenant(id).tenant.is_none());
    }
}
