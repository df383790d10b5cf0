//! Tenants, keys and endpoints, and their secrets in the database.

use futures::future::{join_all, try_join_all};
use postrider_model::delivery::EndpointStatus;
use postrider_model::endpoint::EndpointOrder;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::scope::Scope;
use postrider_model::tenant_limits::TenantLimits;
use postrider_model::time::UnixMillis;
use postrider_store::config::{
    EndpointPrivate, KeyHash, KeyTenants, NewKey, NewSecret, PushoverCredentials, Rotation, Scopes, TenantDraft,
    observe_edits,
};
use postrider_store::crypto::MasterKeys;
use postrider_store::feed::FeedScope;
use postrider_store::history::PageRequest;
use postrider_store::outbox::OutboxEntry;
use postrider_store::{EditError, Store, StoreConfig, StoreError};
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::support::{Fixture, new_endpoint, snapshot};

#[tokio::test]
async fn migrating_again_and_twice_at_once_is_harmless() {
    let fixture = Fixture::empty("migrate").await;
    try_join_all((0..4).map(|_| fixture.store.migrate())).await.unwrap();
    fixture.store.migrate().await.unwrap();
    let operator = fixture.store.config().get_tenant(TenantId::OPERATOR).await.unwrap().unwrap();
    assert_eq!(operator.draft.profile, "standard");
    // The partitions are from yesterday to three days after today: five days, or six if midnight has passed in between.
    assert!(fixture.store.record().partition_days().await.unwrap().len() >= 5);
}

#[tokio::test]
async fn concurrent_edits_get_different_versions_in_the_order_of_commits() {
    let fixture = Fixture::new("versions").await;
    let before = fixture.store.feed().config_version().await.unwrap();
    let draft = TenantDraft::new("t", "standard");
    let tenants = try_join_all((0..20).map(|_| fixture.store.config().create_tenant(&draft))).await.unwrap();
    let mut versions: Vec<_> = tenants.iter().map(|tenant| tenant.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (before + 1..=before + 20).collect::<Vec<_>>());
    assert_eq!(fixture.store.feed().config_version().await.unwrap(), before + 20);
}

#[tokio::test]
async fn a_tenant_is_edited_only_in_the_version_that_was_asked_for() {
    let fixture = Fixture::new("tenants").await;
    let store = &fixture.store;
    let mut draft = TenantDraft::new("A\0cme", "magnetite");
    draft.external_id = Some("x-1".into());
    draft.limits = TenantLimits { endpoints: Some(3), events_per_second: Some(12.5), ..TenantLimits::default() };
    let made = store.config().create_tenant(&draft).await.unwrap();
    assert_eq!(store.config().get_tenant(made.id).await.unwrap().unwrap().draft.name, "A\u{fffd}cme");
    assert!(matches!(store.config().create_tenant(&draft).await, Err(StoreError::Conflict(_))));

    let rename = |draft: &mut TenantDraft| {
        draft.name = "B".into();
        Ok::<_, ()>(())
    };
    let edited = store.config().edit_tenant(made.id, Some(made.version), rename).await.unwrap();
    assert!(edited.version > made.version);
    assert_eq!(edited.draft.limits, draft.limits);
    let stale = store.config().edit_tenant(made.id, Some(made.version), rename).await;
    let Err(EditError::Store(StoreError::VersionMismatch { current })) = stale else { panic!("{stale:?}") };
    assert_eq!(current, edited.version);
    let refused = store.config().edit_tenant(made.id, None, |_| Err("no")).await;
    assert!(matches!(refused, Err(EditError::Refused("no"))));
    assert_eq!(store.config().get_tenant(made.id).await.unwrap().unwrap().version, edited.version);

    let endpoint = store.config().create_endpoint(made.id, &new_endpoint("e")).await.unwrap();
    let key = store.config().create_key(made.id, &NewKey { name: "k".into(), scopes: Scopes::ALL }).await.unwrap();
    store.config().delete_tenant(made.id, Some(edited.version)).await.unwrap();
    assert!(store.config().get_tenant(made.id).await.unwrap().is_none());
    assert!(store.config().get_endpoint(None, endpoint.id).await.unwrap().is_none());
    assert!(store.config().endpoint_for_dispatch(endpoint.id).await.unwrap().is_none());
    let hash = KeyHash::of(key.text.expose_secret());
    assert!(snapshot(store, FeedScope::KEYS).await.keys.iter().all(|key| key.hash != hash));
    assert!(matches!(store.config().delete_tenant(made.id, None).await, Err(StoreError::NotFound { what: "tenant" })));
    assert!(matches!(store.config().delete_tenant(TenantId::OPERATOR, None).await, Err(StoreError::Conflict(_))));
    store.config().create_tenant(&draft).await.expect("the external id is free again");
}

#[tokio::test]
async fn a_key_is_found_by_what_its_text_hashes_to_until_it_is_deleted() {
    let fixture = Fixture::new("keys").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let scopes = [Scope::Publish, Scope::Read].into_iter().collect();
    let made = store.config().create_key(tenant.id, &NewKey { name: "ci".into(), scopes }).await.unwrap();
    let text = made.text.expose_secret();
    assert!(text.starts_with("prk_") && text.len() == 47, "{}", text.len());
    let found = async || {
        let keys = snapshot(store, FeedScope::KEYS).await.keys;
        keys.into_iter().find(|key| key.hash == KeyHash::of(text)).map(|key| (key.id, key.scopes))
    };
    assert_eq!(found().await, Some((made.key.id, scopes)));
    assert_eq!(store.config().list_keys(tenant.id).await.unwrap(), vec![made.key.clone()]);
    let other = fixture.tenant().await;
    assert!(matches!(store.config().delete_key(other.id, made.key.id).await, Err(StoreError::NotFound { .. })));
    store.config().delete_key(tenant.id, made.key.id).await.unwrap();
    assert_eq!(found().await, None);
    assert!(matches!(
        store.config().list_keys(TenantId::generate()).await,
        Err(StoreError::NotFound { what: "tenant" })
    ));
}

#[tokio::test]
async fn no_race_gets_a_tenant_more_endpoints_than_its_limit() {
    let fixture = Fixture::new("limit").await;
    let store = &fixture.store;
    let mut draft = TenantDraft::new("t", "mumara");
    draft.limits.endpoints = Some(3);
    let tenant = store.config().create_tenant(&draft).await.unwrap();
    let new = new_endpoint("e");
    let results = join_all((0..8).map(|_| store.config().create_endpoint(tenant.id, &new))).await;
    let made: Vec<_> = results.iter().flatten().collect();
    assert_eq!(made.len(), 3);
    for refused in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(&refused, StoreError::Conflict(why) if why.contains("3 of 3 endpoints")), "{refused}");
    }
    let list = store.config().list_endpoints(tenant.id, EndpointOrder::Newest, &PageRequest::default()).await.unwrap();
    assert_eq!((list.items.len(), list.usage, list.limit), (3, 3, 3));
    store.config().delete_endpoint(Some(tenant.id), made[0].id, None).await.unwrap();
    store.config().create_endpoint(tenant.id, &new).await.expect("there is room again");
}

#[tokio::test]
async fn an_endpoint_keeps_every_version_and_only_the_dispatcher_gets_secrets() {
    let fixture = Fixture::new("endpoints").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let mut new = new_endpoint("first");
    new.draft.document.metadata = Some(serde_json::json!({"nul": "\0"}));
    new.draft.private = EndpointPrivate {
        headers: vec![("X-Api-Key".into(), "h34der".into())],
        token: Some("t0ken".into()),
        pushover: Some(PushoverCredentials { user_key: "us3r".into(), api_token: "ap1".into() }),
        chat: None,
    };
    let made = store.config().create_endpoint(tenant.id, &new).await.unwrap();
    assert_eq!(made.document.header_names, ["X-Api-Key"]);
    assert_eq!(store.config().get_endpoint(Some(tenant.id), made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(store.config().get_endpoint(Some(TenantId::generate()), made.id).await.unwrap(), None);
    assert_eq!(store.config().endpoint_names(tenant.id, 200).await.unwrap(), [(made.id, "first".to_owned())]);
    assert_eq!(store.config().endpoint_names(TenantId::generate(), 200).await.unwrap(), []);
    let named = store.config().names_of_endpoints(tenant.id, &[made.id, EndpointId::generate()]).await.unwrap();
    assert_eq!(named, [(made.id, "first".to_owned(), false)]);
    assert_eq!(store.config().names_of_endpoints(TenantId::generate(), &[made.id]).await.unwrap(), []);

    let dispatch = store.config().endpoint_for_dispatch(made.id).await.unwrap().unwrap();
    assert_eq!(dispatch.secrets.current.expose_secret(), "whsec_c2VjcmV0");
    assert_eq!(dispatch.private.headers[0].1.expose_secret(), "h34der");
    assert_eq!(dispatch.private.token.unwrap().expose_secret(), "t0ken");
    assert_eq!((dispatch.profile.as_str(), dispatch.config_version), ("standard", made.version));

    let edited = store
        .config()
        .edit_endpoint(Some(tenant.id), made.id, Some(made.version), |draft| {
            draft.document.name = "second".into();
            draft.private.headers.push(("X-B".into(), "h34der".into()));
            Ok::<_, ()>(())
        })
        .await
        .unwrap();
    assert_eq!(edited.document.header_names, ["X-Api-Key", "X-B"]);
    let then = store.config().endpoint_at(made.id, edited.version - 1).await.unwrap().unwrap();
    assert_eq!((then.document.name.as_str(), then.version), ("first", made.version));
    assert!(store.config().endpoint_at(made.id, made.version - 1).await.unwrap().is_none());

    let until = UnixMillis(UnixMillis::now().0 + 60_000);
    let overlap = Rotation::Overlap { until };
    let new =
        |secret: &str, rotation| NewSecret { secret: secret.into(), public_key: None, rotation, end_others: false };
    store.config().rotate_secret(None, made.id, None, &new("f1rst", overlap)).await.unwrap();
    let rotated = store.config().rotate_secret(None, made.id, None, &new("n3w", overlap)).await.unwrap();
    assert_eq!(rotated.previous_secrets_until, [until, until]);
    let at = UnixMillis(until.0 + 1);
    store.config().rotate_secret(None, made.id, None, &new("l4ter", Rotation::CutOver { at })).await.unwrap();
    let refused = store.config().rotate_secret(None, made.id, None, &new("x", overlap)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    let secrets = store.config().endpoint_for_dispatch(made.id).await.unwrap().unwrap().secrets;
    assert_eq!(secrets.current.expose_secret(), "n3w");
    let previous: Vec<_> = secrets.previous.iter().map(|(secret, until)| (secret.expose_secret(), *until)).collect();
    assert_eq!(previous, [("f1rst", until), ("whsec_c2VjcmV0", until)]);
    assert_eq!(secrets.next.unwrap().0.expose_secret(), "l4ter");

    let everything = dump(&fixture).await;
    assert!(everything.contains("X-Api-Key") && everything.contains("second"), "the dump sees what is there");
    for secret in ["whsec_c2VjcmV0", "c2VjcmV0", "h34der", "t0ken", "us3r", "ap1", "f1rst", "n3w", "l4ter"] {
        assert!(!everything.contains(secret), "{secret} is in a column as text");
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!everything.contains(&hex), "{secret} is in a column as bytes");
    }

    let other_keys = MasterKeys::parse(&MasterKeys::generate_text("k2")).unwrap();
    let blind = Store::connect(StoreConfig::new(&fixture.scope.database_url), other_keys).unwrap();
    let error = blind.config().endpoint_for_dispatch(made.id).await.unwrap_err();
    assert_eq!(error.to_string(), "the value was sealed with master key \"k1\", which is not configured");

    store.config().delete_endpoint(None, made.id, None).await.unwrap();
    assert!(store.config().endpoint_for_dispatch(made.id).await.unwrap().is_none());
    let sealed =
        "SELECT count(*) FROM endpoints WHERE secret_current <> '' OR private <> '' OR secret_next IS NOT NULL";
    assert_eq!(fixture.number(sealed).await, 0, "nothing sealed outlives the endpoint");
    let last = store.config().endpoint_at(made.id, i64::MAX).await.unwrap().unwrap();
    assert!(last.deleted && last.document.name == "second");
}

#[tokio::test]
async fn a_secret_cannot_be_moved_to_another_endpoint_or_column() {
    let fixture = Fixture::new("moved").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let a = store.config().create_endpoint(tenant.id, &new_endpoint("a")).await.unwrap();
    let b = store.config().create_endpoint(tenant.id, &new_endpoint("b")).await.unwrap();
    let sql = fixture.sql().await;
    let swap =
        "UPDATE endpoints SET secret_current = (SELECT secret_current FROM endpoints WHERE id = $1) WHERE id = $2";
    sql.execute(swap, &[&a.id.0, &b.id.0]).await.unwrap();
    assert!(matches!(store.config().endpoint_for_dispatch(b.id).await, Err(StoreError::Crypto(_))));
    let column = "UPDATE endpoints SET secret_previous = secret_current, previous_until = now() WHERE id = $1";
    sql.execute(column, &[&a.id.0]).await.unwrap();
    assert!(matches!(store.config().endpoint_for_dispatch(a.id).await, Err(StoreError::Crypto(_))));
}

#[tokio::test]
async fn the_engine_disables_an_endpoint_once_and_its_customer_brings_it_back() {
    let fixture = Fixture::new("disable").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let made = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let results = join_all((0..5).map(|_| store.config().stop_endpoint(made.id, "410 Gone"))).await;
    assert_eq!(results.into_iter().filter(|result| result.as_ref().unwrap().is_some()).count(), 1);
    let disabled = store.config().get_endpoint(None, made.id).await.unwrap().unwrap();
    assert_eq!(disabled.status, EndpointStatus::Disabled);
    assert_eq!(disabled.disabled_reason.as_deref(), Some("410 Gone"));
    let entries = store.outbox_claim(10, std::time::Duration::ZERO).await.unwrap();
    let [OutboxEntry::Event(event)] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((event.event_type.as_str(), event.about), ("endpoint.disabled", tenant.id));
    assert!(serde_json::from_slice::<serde_json::Value>(&event.data).is_ok());

    let activate = |draft: &mut postrider_store::config::EndpointDraft| {
        draft.status = EndpointStatus::Active;
        Ok::<_, ()>(())
    };
    let back = store.config().edit_endpoint(None, made.id, None, activate).await.unwrap();
    assert_eq!((back.status, back.disabled_reason, back.disabled_at), (EndpointStatus::Active, None, None));
    assert!(store.config().stop_endpoint(EndpointId::generate(), "x").await.unwrap().is_none());
}

#[tokio::test]
async fn a_restart_of_the_database_costs_no_error() {
    let fixture = Fixture::new("restart").await;
    // Makes eight calls, because the pool has eight connections.
    let pings = join_all((0..8).map(|_| fixture.store.feed().config_version())).await;
    assert!(pings.iter().all(Result::is_ok));
    fixture.terminate_all().await;
    fixture.store.feed().config_version().await.unwrap();
    fixture.terminate_all().await;
    fixture.tenant().await;
}

#[tokio::test]
async fn endpoints_are_found_by_a_part_of_their_name_or_url() {
    let fixture = Fixture::new("find_endpoints").await;
    let (config, tenant, other) = (fixture.store.config(), fixture.tenant().await.id, fixture.tenant().await.id);
    let crm = config.create_endpoint(tenant, &new_endpoint("CRM 100%")).await.unwrap().id;
    let billing = config.create_endpoint(tenant, &new_endpoint("Billing")).await.unwrap().id;
    config.create_endpoint(other, &new_endpoint("CRM of another tenant")).await.unwrap();
    let find = async |text: &str, limit| -> Vec<_> {
        config.find_endpoints(tenant, text, limit).await.unwrap().into_iter().map(|found| found.id).collect()
    };
    assert_eq!(find("crm", 9).await, [crm]);
    assert_eq!(find("100%", 9).await, [crm]);
    assert_eq!(find("%", 9).await, [crm], "no character is a wildcard");
    assert_eq!(find("EXAMPLE.com/ho", 9).await, [billing, crm]);
    assert_eq!(find("example", 1).await, [billing]);
    assert!(find("_", 9).await.is_empty());
    assert!(find("a\0b", 9).await.is_empty());
    config.delete_endpoint(None, crm, None).await.unwrap();
    assert!(find("crm", 9).await.is_empty());
}

/// Every row of every table as text, with bytes as hex.
async fn dump(fixture: &Fixture) -> String {
    let sql = fixture.sql().await;
    let tables = sql.query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'", &[]).await.unwrap();
    let mut all = String::new();
    for table in tables {
        let table: String = table.get(0);
        for row in sql.query(&format!("SELECT t::text FROM {table} t"), &[]).await.unwrap() {
            all.push_str(row.get(0));
            all.push('\n');
        }
    }
    all
}

#[tokio::test]
async fn product_keys_and_external_ids_reach_the_feed() {
    let fixture = Fixture::new("product_keys").await;
    let store = &fixture.store;
    let mut draft = TenantDraft::new("Acme", "standard");
    draft.external_id = Some("acme".into());
    let (acme, other) = (store.config().create_tenant(&draft).await.unwrap().id, fixture.tenant().await.id);
    assert_eq!(store.config().tenant_by_external_id("acme").await.unwrap(), Some(acme));
    assert_eq!(store.config().tenant_by_external_id("unknown").await.unwrap(), None);

    let several = store.config().create_product_key("several", KeyTenants::several([other, acme, acme])).await.unwrap();
    let (all, edited) = observe_edits(store.config().create_product_key("all", KeyTenants::All)).await;
    let all = all.unwrap();
    assert_eq!(edited, Some(all.key.version), "an edit is seen by who asked for it");
    assert_eq!(observe_edits(store.config().list_product_keys()).await.1, None);
    let snapshot = snapshot(store, FeedScope::KEYS).await;
    assert!(snapshot.tenants.iter().any(|tenant| tenant.id == acme && tenant.external_id.as_deref() == Some("acme")));
    for (made, allowed) in [(&several, [true, true, false]), (&all, [true, true, true])] {
        let hash = KeyHash::of(made.text.expose_secret());
        let key = snapshot.keys.iter().find(|key| key.hash == hash).expect("in the feed");
        assert_eq!([acme, other, TenantId::OPERATOR].map(|tenant| key.tenants.contains(tenant)), allowed);
        assert_eq!(key.scopes.iter().collect::<Vec<_>>(), [Scope::Publish]);
    }
    assert_eq!(store.config().list_product_keys().await.unwrap(), [all.key.clone(), several.key.clone()]);

    let mut feed = store.feed().follow(FeedScope::KEYS, CancellationToken::new());
    assert!(feed.recv().await.unwrap().snapshot);
    store.config().delete_product_key(several.key.id).await.unwrap();
    let changes = feed.recv().await.unwrap();
    assert_eq!(changes.keys_gone, [several.key.id]);
    assert!(matches!(
        store.config().delete_product_key(several.key.id).await,
        Err(StoreError::NotFound { what: "key" })
    ));
    let unknown = store.config().create_product_key("unknown", KeyTenants::several([TenantId::generate()])).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { what: "tenant" })));
}

#[tokio::test]
async fn the_last_use_of_keys_is_noted_and_is_no_edit() {
    let fixture = Fixture::new("keyuse").await;
    let (config, tenant) = (fixture.store.config(), fixture.tenant().await.id);
    let new = NewKey { name: "k".into(), scopes: Scopes::ALL };
    let idle = config.create_key(tenant, &new).await.unwrap().key;
    let key = config.create_key(tenant, &new).await.unwrap().key;
    let product = config.create_product_key("p", KeyTenants::All).await.unwrap().key;
    let version = snapshot(&fixture.store, FeedScope::KEYS).await.version;
    let (earlier, at) = (UnixMillis(1_700_000_000_000), UnixMillis(1_700_000_060_000));
    for time in [at, earlier] {
        config.note_used_keys(&[product.id, key.id], time).await.unwrap();
    }
    let used = config.list_keys(tenant).await.unwrap();
    let last = |id| used.iter().find(|key| key.id == id).unwrap().last_used_at;
    assert_eq!((last(key.id), last(idle.id)), (Some(at), None));
    assert_eq!(config.list_product_keys().await.unwrap()[0].last_used_at, Some(at));
    assert_eq!(snapshot(&fixture.store, FeedScope::KEYS).await.version, version);
}
