//! Every tenant's subscriptions in memory, kept fresh by the configuration feed.
//!
//! An edit rebuilds only its tenant's part. Readers take the version and the tenant under one lock, so that a decision
//! names exactly the configuration that it was made by.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::payload_filter::PayloadFilter;
use postrider_model::subscription::Subscription;
use postrider_profiles::{Profile, Profiles};
use postrider_store::ConfigFeed;
use postrider_store::feed::{Changes, EndpointSubscription, FeedScope, TenantConfig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::tenant::{Active, TenantIndex};

/// What readers see.
#[derive(Default)]
struct Published {
    version: i64,
    tenants: HashMap<TenantId, Arc<TenantIndex>>,
}

/// The subscriptions in force.
pub(crate) struct Index {
    profiles: Arc<Profiles>,
    in_force: RwLock<Published>,
    /// The version in force; 0 before the first.
    reached: watch::Sender<i64>,
    /// A wait that was in vain: with which version in force, and for which one. While the former has not moved, the latter is not waited
    /// for again.
    in_vain: Mutex<Option<(i64, i64)>>,
}

/// What the feed said so far: what an edited tenant is rebuilt from. Only the following task has it.
#[derive(Default)]
pub(crate) struct Staged {
    tenants: HashMap<TenantId, StagedTenant>,
}

struct StagedTenant {
    profile: String,
    /// Compiled for that profile; shared with the index. The feed gives all of a tenant's anew when the tenant is edited.
    active: BTreeMap<EndpointId, Arc<Active>>,
}

impl Index {
    pub(crate) fn new(profiles: Arc<Profiles>) -> Self {
        Self { profiles, in_force: RwLock::default(), reached: watch::Sender::new(0), in_vain: Mutex::default() }
    }

    /// Follows the feed until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, feed: ConfigFeed, stop: CancellationToken) {
        let mut feed = feed.follow(FeedScope::FANOUT, stop);
        let mut known = Staged::default();
        while let Some(changes) = feed.recv().await {
            self.apply(&mut known, changes);
        }
    }

    /// Returns once a configuration is in force.
    pub(crate) async fn loaded(&self) {
        // The sender is `self`'s own, so the channel cannot close.
        let _ = self.reached.subscribe().wait_for(|version| *version > 0).await;
    }

    /// Waits until `version` is in force, at most `limit`: the database may be away. Where that was waited for in vain, it is not waited
    /// for again until the feed moves.
    pub(crate) async fn catch_up(&self, version: i64, limit: Duration) {
        let known = self.version();
        let waited_for = self.in_vain.lock().filter(|(with, _)| *with == known).map(|(_, wanted)| wanted);
        if version <= known || waited_for.is_some_and(|wanted| version >= wanted) {
            return;
        }
        let mut reached = self.reached.subscribe();
        let caught_up = reached.wait_for(|reached| *reached >= version);
        if tokio::time::timeout(limit, caught_up).await.is_err() {
            let known = self.version();
            *self.in_vain.lock() = (known < version).then_some((known, version));
            tracing::warn!(
                config.version = version,
                known,
                "the configuration did not arrive in time; deciding with what is known until it does"
            );
        }
    }

    /// The version in force, and its changes; 0 before the first.
    pub(crate) fn applied(&self) -> watch::Receiver<i64> {
        self.reached.subscribe()
    }

    /// The version in force.
    pub(crate) fn version(&self) -> i64 {
        self.in_force.read().version
    }

    /// The version in force, and what it says about a tenant.
    pub(crate) fn tenant(&self, tenant: TenantId) -> (i64, Option<Arc<TenantIndex>>) {
        let in_force = self.in_force.read();
        (in_force.version, in_force.tenants.get(&tenant).cloned())
    }

    /// Puts changes in force.
    pub(crate) fn apply(&self, known: &mut Staged, changes: Changes) {
        let (version, snapshot) = (changes.version, changes.snapshot);
        let touched = known.take_in(changes, &self.profiles);
        let rebuilt: Vec<_> = touched.iter().map(|tenant| (*tenant, known.build(*tenant, &self.profiles))).collect();
        {
            let mut in_force = self.in_force.write();
            if snapshot {
                in_force.tenants.clear();
            }
            for (tenant, index) in rebuilt {
                match index {
                    Some(index) => in_force.tenants.insert(tenant, Arc::new(index)),
                    None => in_force.tenants.remove(&tenant),
                };
            }
            in_force.version = version;
        }
        metrics::config_version(version);
        self.reached.send_replace(version);
    }
}

impl Staged {
    /// Takes changes in; tells which tenants are to be rebuilt.
    fn take_in(&mut self, changes: Changes, profiles: &Profiles) -> BTreeSet<TenantId> {
        let mut touched = BTreeSet::new();
        if changes.snapshot {
            *self = Self::default();
        }
        for TenantConfig { id, profile, .. } in changes.tenants {
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

    /// `None` for a tenant that is gone, or whose profile this build does not have.
    fn build(&self, tenant: TenantId, profiles: &Profiles) -> Option<TenantIndex> {
        let StagedTenant { profile: name, active } = self.tenants.get(&tenant)?;
        let Some(profile) = profiles.get(name) else {
            tracing::error!(tenant.id = %tenant, profile = name, "the tenant's profile is not loaded, nothing matches");
            return None;
        };
        let active: Vec<_> = active.values().cloned().collect();
        Some(TenantIndex::new(Arc::clone(profile), &active))
    }
}

/// Endpoints are checked when they are saved; one that no longer compiles (its profile lost a filter) matches nothing.
fn compile(subscription: &EndpointSubscription, profile: &Profile) -> Option<Active> {
    let kind_of = |attribute: &str| profile.attribute_kind(attribute);
    let payload_filter = subscription.payload_filter.as_ref().map(PayloadFilter::read).transpose();
    let filters = subscription.filters.iter().map(|(attribute, values)| (attribute, values));
    let compiled = Subscription::compile(&subscription.event_types, filters, kind_of);
    match compiled.and_then(|compiled| Ok((compiled, payload_filter?))) {
        Ok((compiled, payload_filter)) => Some(Active {
            endpoint: subscription.endpoint,
            subscription: compiled,
            payload_filter: payload_filter.map(Arc::new),
            body_kind: subscription.channel.body_kind(subscription.ascii_json),
        }),
        Err(error) => {
            tracing::warn!(endpoint.id = %subscription.endpoint, %error, "the subscription no longer fits its profile");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::event::Attributes;
    use postrider_model::payload_filter::Payload;

    use super::*;

    fn tenant(id: TenantId, profile: &str) -> TenantConfig {
        TenantConfig {
            id,
            profile: profile.into(),
            external_id: None,
            limits: Default::default(),
            enforce_catalog: false,
            enforce_schemas: false,
            disable_after_days: None,
            version: 1,
        }
    }

    fn subscription(tenant: TenantId, endpoint: EndpointId, event_type: &str) -> EndpointSubscription {
        EndpointSubscription {
            endpoint,
            tenant,
            event_types: [event_type.to_owned()].into(),
            filters: Box::default(),
            payload_filter: None,
            channel: Default::default(),
            ascii_json: false,
            version: 1,
        }
    }

    fn found(index: &Index, id: TenantId, event_type: &str) -> Vec<EndpointId> {
        let (_, tenant) = index.tenant(id);
        let Some(tenant) = tenant else { return Vec::new() };
        let payload = Payload { data: b"{}", metadata: None, attributes: &Attributes::default() };
        let found = tenant.matching(&event_type.parse().unwrap(), &payload);
        found.iter().map(|candidate| candidate.endpoint()).collect()
    }

    #[test]
    fn edits_are_in_force_with_their_version_and_touch_only_their_tenant() {
        let index = Index::new(Arc::new(Profiles::builtin()));
        let mut known = Staged::default();
        let (one, other) = (TenantId::generate(), TenantId::generate());
        let (a, b) = (EndpointId::generate(), EndpointId::generate());
        index.apply(
            &mut known,
            Changes {
                version: 3,
                snapshot: true,
                tenants: vec![tenant(one, "standard"), tenant(other, "standard")],
                subscriptions: vec![subscription(one, a, "x.*"), subscription(other, b, "x.y")],
                ..Changes::default()
            },
        );
        assert_eq!((found(&index, one, "x.y"), found(&index, other, "x.y")), (vec![a], vec![b]));

        let untouched = index.tenant(other).1.unwrap();
        index.apply(
            &mut known,
            Changes { version: 4, subscriptions: vec![subscription(one, a, "z")], ..Changes::default() },
        );
        assert_eq!((index.tenant(one).0, found(&index, one, "x.y"), found(&index, one, "z")), (4, vec![], vec![a]));
        assert!(Arc::ptr_eq(&untouched, &index.tenant(other).1.unwrap()));

        index.apply(&mut known, Changes { version: 5, subscriptions_gone: vec![(one, a)], ..Changes::default() });
        assert_eq!(found(&index, one, "z"), vec![]);
        index.apply(&mut known, Changes { version: 6, tenants_gone: vec![other], ..Changes::default() });
        assert!(index.tenant(other).1.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_configuration_that_does_not_arrive_is_waited_for_once_until_the_feed_moves() {
        const LIMIT: Duration = Duration::from_secs(5);
        let index = Index::new(Arc::new(Profiles::builtin()));
        let mut known = Staged::default();
        let mut reach = |version| index.apply(&mut known, Changes { version, ..Changes::default() });
        reach(7);
        let begun = tokio::time::Instant::now();
        for _ in 0..32 {
            index.catch_up(9, LIMIT).await;
        }
        assert_eq!(begun.elapsed(), LIMIT);
        // What an event of before knew may still arrive.
        index.catch_up(8, LIMIT).await;
        assert_eq!(begun.elapsed(), 2 * LIMIT);
        reach(8);
        index.catch_up(9, LIMIT).await;
        assert_eq!(begun.elapsed(), 3 * LIMIT, "the feed has moved");
        reach(9);
        index.catch_up(9, LIMIT).await;
        assert_eq!(begun.elapsed(), 3 * LIMIT);
    }

    #[test]
    fn a_snapshot_forgets_what_it_does_not_name() {
        let index = Index::new(Arc::new(Profiles::builtin()));
        let mut known = Staged::default();
        let (gone, stays) = (TenantId::generate(), TenantId::generate());
        for tenants in [vec![tenant(gone, "standard"), tenant(stays, "standard")], vec![tenant(stays, "standard")]] {
            index.apply(&mut known, Changes { version: 1, snapshot: true, tenants, ..Changes::default() });
        }
        assert!(index.tenant(gone).1.is_none() && index.tenant(stays).1.is_some());
    }

    #[test]
    fn a_subscription_that_does_not_fit_its_tenants_profile_any_more_matches_nothing() {
        let index = Index::new(Arc::new(Profiles::builtin()));
        let mut known = Staged::default();
        let (id, endpoint) = (TenantId::generate(), EndpointId::generate());
        let fits = subscription(id, endpoint, "x");
        let wrong =
            EndpointSubscription { filters: [("nosuch".into(), ["y".to_owned()].into())].into(), ..fits.clone() };
        let tenants = vec![tenant(id, "standard")];
        let changes =
            |subscription, tenants| Changes { subscriptions: vec![subscription], tenants, ..Changes::default() };
        index.apply(&mut known, Changes { snapshot: true, ..changes(fits, tenants.clone()) });
        assert_eq!(found(&index, id, "x"), [endpoint]);
        index.apply(&mut known, changes(wrong, tenants));
        assert_eq!(found(&index, id, "x"), []);
    }

    #[test]
    fn a_tenant_whose_profile_is_not_loaded_matches_nothing() {
        let index = Index::new(Arc::new(Profiles::builtin()));
        let id = TenantId::generate();
        let changes = Changes { version: 1, snapshot: true, tenants: vec![tenant(id, "nosuch")], ..Changes::default() };
        index.apply(&mut Staged::default(), changes);
        assert!(index.tenant(id).1.is_none());
    }
}
