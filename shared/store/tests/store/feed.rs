//! The configuration feed.

use std::time::Duration;

use postrider_model::delivery::EndpointStatus;
use postrider_store::config::{EndpointDraft, EventTypeDraft, KeyHash, NewKey, Scopes, TenantDraft};
use postrider_store::feed::{Changes, Feed, FeedEventType, FeedScope};
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::support::{Fixture, new_endpoint, snapshot};

const EVERYTHING: FeedScope = FeedScope {
    tenants: true,
    keys: true,
    event_types: true,
    subscriptions: true,
    endpoint_ids: true,
    interventions: true,
};

const PATIENCE: Duration = Duration::from_secs(60);

async fn next(feed: &mut Feed) -> Changes {
    tokio::time::timeout(PATIENCE, feed.recv()).await.expect("the feed is silent").expect("it ended")
}

/// Receives the changes up to and including `version` and merges them.
async fn until(feed: &mut Feed, version: i64) -> Changes {
    let mut all = Changes::default();
    while all.version < version {
        let mut more = next(feed).await;
        assert!(more.version > all.version, "versions only grow");
        all.version = more.version;
        all.snapshot |= more.snapshot;
        all.tenants.append(&mut more.tenants);
        all.tenants_gone.append(&mut more.tenants_gone);
        all.keys.append(&mut more.keys);
        all.keys_gone.append(&mut more.keys_gone);
        all.event_types.append(&mut more.event_types);
        all.event_types_gone.append(&mut more.event_types_gone);
        all.subscriptions.append(&mut more.subscriptions);
        all.subscriptions_gone.append(&mut more.subscriptions_gone);
        all.endpoints_changed.append(&mut more.endpoints_changed);
        all.interventions.append(&mut more.interventions);
    }
    all
}

fn set(status: EndpointStatus) -> impl Fn(&mut EndpointDraft) -> Result<(), ()> {
    move |draft| {
        draft.status = status;
        Ok(())
    }
}

#[tokio::test]
async fn a_feed_begins_with_all_there_is_and_hears_of_every_edit_deletes_too() {
    let fixture = Fixture::new("feed").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let there = store.config().create_endpoint(tenant.id, &new_endpoint("there")).await.unwrap();
    let deleted = store.config().create_endpoint(tenant.id, &new_endpoint("deleted")).await.unwrap();
    store.config().delete_endpoint(None, deleted.id, None).await.unwrap();

    let stop = CancellationToken::new();
    let mut feed = store.feed().follow(EVERYTHING, stop.clone());
    let snapshot = next(&mut feed).await;
    assert!(snapshot.snapshot && snapshot.version == store.feed().config_version().await.unwrap());
    assert_eq!(snapshot.tenants.len(), 2, "the operator's and this one");
    assert_eq!(snapshot.subscriptions.iter().map(|s| s.endpoint).collect::<Vec<_>>(), [there.id]);
    assert!(snapshot.subscriptions_gone.is_empty(), "a snapshot has no tombstones");

    let key = store.config().create_key(tenant.id, &NewKey { name: "k".into(), scopes: Scopes::ALL }).await.unwrap();
    let changes = until(&mut feed, key.key.version).await;
    assert_eq!(changes.keys[0].hash, KeyHash::of(key.text.expose_secret()));
    assert!(!changes.snapshot);

    let inactive = store.config().edit_endpoint(None, there.id, None, set(EndpointStatus::Inactive)).await.unwrap();
    let changes = until(&mut feed, inactive.version).await;
    assert_eq!((changes.subscriptions_gone, changes.endpoints_changed), (vec![(tenant.id, there.id)], vec![there.id]));
    let active = store.config().edit_endpoint(None, there.id, None, set(EndpointStatus::Active)).await.unwrap();
    let changes = until(&mut feed, active.version).await;
    assert_eq!(*changes.subscriptions[0].event_types, ["*"]);

    let renamed = store.config().edit_tenant(tenant.id, None, |draft: &mut TenantDraft| {
        draft.limits.timeout_seconds_max = Some(5);
        Ok::<_, ()>(())
    });
    let changes = until(&mut feed, renamed.await.unwrap().version).await;
    assert_eq!(changes.tenants[0].limits.timeout_seconds_max, Some(5));
    assert_eq!(changes.endpoints_changed, [there.id], "its endpoints are looked up with its limits");
    assert_eq!(changes.subscriptions.len(), 1, "they are compiled for its profile");

    store.config().delete_key(tenant.id, key.key.id).await.unwrap();
    store.config().delete_tenant(tenant.id, None).await.unwrap();
    let changes = until(&mut feed, store.feed().config_version().await.unwrap()).await;
    assert_eq!(changes.keys_gone, [key.key.id]);
    assert_eq!(changes.tenants_gone, [tenant.id]);
    assert_eq!(changes.subscriptions_gone, [(tenant.id, there.id)]);

    stop.cancel();
    assert!(tokio::time::timeout(PATIENCE, feed.recv()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_service_hears_only_of_what_it_asked_for() {
    let fixture = Fixture::new("feedscope").await;
    let store = &fixture.store;
    let mut feed = store.feed().follow(FeedScope::DISPATCHER, CancellationToken::new());
    assert!(next(&mut feed).await.endpoints_changed.is_empty(), "never in a snapshot");
    let tenant = fixture.tenant().await;
    store.config().create_key(tenant.id, &NewKey { name: "k".into(), scopes: Scopes::ALL }).await.unwrap();
    store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let ingest = snapshot(store, FeedScope::KEYS).await;
    assert_eq!((ingest.tenants.len(), ingest.keys.len(), ingest.subscriptions.len()), (2, 1, 0));
    let fanout = snapshot(store, FeedScope::FANOUT).await;
    assert_eq!((fanout.tenants.len(), fanout.keys.len(), fanout.subscriptions.len()), (2, 0, 1));
    let dispatcher = until(&mut feed, ingest.version).await;
    assert_eq!((dispatcher.keys.len(), dispatcher.endpoints_changed.len()), (0, 1));
}

#[tokio::test]
async fn a_feed_outlives_its_connection_and_misses_nothing() {
    let fixture = Fixture::new("feeddrop").await;
    let store = &fixture.store;
    let mut feed = store.feed().follow(FeedScope::KEYS, CancellationToken::new());
    let state = feed.state();
    next(&mut feed).await;
    assert!(state.borrow().is_fresh(PATIENCE));
    for round in 0..3 {
        fixture.terminate_all().await;
        let made = fixture.tenant().await;
        let changes = until(&mut feed, made.version).await;
        assert_eq!(changes.tenants.iter().map(|t| t.id).collect::<Vec<_>>(), [made.id], "round {round}");
        assert!(!changes.snapshot, "it goes on from where it was");
    }
}

#[tokio::test]
async fn a_feed_that_begins_before_the_database_is_there_waits_for_it() {
    let fixture = Fixture::empty("feedearly").await;
    // Without a schema the feed behaves as if the database were away.
    let mut feed = fixture.store.feed().follow(FeedScope::KEYS, CancellationToken::new());
    assert!(!feed.state().borrow().is_fresh(Duration::from_secs(3_600)));
    fixture.store.migrate().await.unwrap();
    assert!(next(&mut feed).await.snapshot);
}

#[tokio::test]
async fn the_feed_has_schemas_only_of_tenants_that_enforce_them() {
    let fixture = Fixture::new("feed-types").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let name = "order.paid".parse().unwrap();
    let draft = EventTypeDraft { schema: Some("true".into()), ttl_seconds: Some(60), ..EventTypeDraft::default() };
    store.config().put_event_type(tenant.id, &name, &draft, None).await.unwrap();
    let config = |schema: Option<&str>| FeedEventType {
        tenant: tenant.id,
        name: name.clone(),
        schema: schema.map(Into::into),
        ttl_seconds: Some(60),
    };

    let stop = CancellationToken::new();
    let mut feed = store.feed().follow(FeedScope::KEYS, stop.clone());
    assert_eq!(next(&mut feed).await.event_types, [config(None)]);

    // Only the tenant is edited, but the feed sends the event type again, with its schema.
    let enforce = |draft: &mut TenantDraft| -> Result<(), ()> {
        draft.enforce_schemas = true;
        Ok(())
    };
    let enforcing = store.config().edit_tenant(tenant.id, None, enforce).await.unwrap();
    assert_eq!(until(&mut feed, enforcing.version).await.event_types, [config(Some("true"))]);

    store.config().delete_event_type(tenant.id, &name, None).await.unwrap();
    let gone = until(&mut feed, store.feed().config_version().await.unwrap()).await;
    assert_eq!((gone.event_types, gone.event_types_gone), (Vec::new(), vec![(tenant.id, name)]));
    assert!(snapshot(store, FeedScope::KEYS).await.event_types.is_empty());
}
