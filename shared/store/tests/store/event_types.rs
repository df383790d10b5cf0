//! Tenants' definitions of event types.

use futures::future::join_all;
use postrider_model::event::EventType;
use postrider_model::ids::TenantId;
use postrider_model::limits::EVENT_TYPES_PER_TENANT_MAX;
use postrider_store::StoreError;
use postrider_store::config::{EventTypeDraft, EventTypePage};

use crate::support::Fixture;

fn name(text: &str) -> EventType {
    text.parse().unwrap()
}

fn draft(description: &str) -> EventTypeDraft {
    EventTypeDraft {
        description: Some(description.into()),
        // The type `json` or `jsonb` would refuse or change this JSON.
        sample: Some(r#"{ "n": 1.00, "text": "\u0000\ud800" }"#.into()),
        schema: Some("{ }".into()),
        ttl_seconds: Some(60),
    }
}

#[tokio::test]
async fn a_type_is_kept_as_it_was_written_replaced_as_a_whole_and_forgotten() {
    let fixture = Fixture::new("types").await;
    let (store, tenant, other) = (&fixture.store, fixture.tenant().await, fixture.tenant().await);
    let paid = name("order.paid");
    let made = store.config().put_event_type(tenant.id, &paid, &draft("paid"), None).await.unwrap();
    assert!(made.created && made.event_type.draft == draft("paid"));
    assert_eq!(made.event_type.version, store.feed().config_version().await.unwrap());
    assert_eq!(store.config().get_event_type(tenant.id, &paid).await.unwrap(), Some(made.event_type.clone()));
    assert_eq!(store.config().get_event_type(other.id, &paid).await.unwrap(), None);

    let unheard = store.config().put_event_type(tenant.id, &name("unheard.of"), &draft("x"), Some(0)).await;
    assert!(matches!(unheard, Err(StoreError::VersionMismatch { .. })), "{unheard:?}");
    let stale = Some(made.event_type.version);
    let bare = EventTypeDraft::default();
    let again = store.config().put_event_type(tenant.id, &paid, &bare, stale).await.unwrap();
    assert!(!again.created && again.event_type.draft == bare);
    assert_eq!(again.event_type.created_at, made.event_type.created_at);
    let refused = store.config().put_event_type(tenant.id, &paid, &bare, stale).await;
    assert!(matches!(refused, Err(StoreError::VersionMismatch { .. })), "{refused:?}");
    let refused = store.config().delete_event_type(tenant.id, &paid, stale).await;
    assert!(matches!(refused, Err(StoreError::VersionMismatch { .. })), "{refused:?}");
    let refused = store.config().delete_event_type(other.id, &paid, None).await;
    assert!(matches!(refused, Err(StoreError::NotFound { what: "event type" })), "{refused:?}");

    store.config().delete_event_type(tenant.id, &paid, None).await.unwrap();
    assert_eq!(store.config().get_event_type(tenant.id, &paid).await.unwrap(), None);
    let remains = "SELECT count(*) FROM event_types
                   WHERE num_nonnulls(description, sample, schema, ttl_seconds) > 0";
    assert_eq!(fixture.number(remains).await, 0, "a tombstone says nothing");
    assert!(store.config().put_event_type(tenant.id, &paid, &bare, None).await.unwrap().created);
    let unknown = store.config().put_event_type(TenantId::generate(), &paid, &bare, None).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { what: "tenant" })), "{unknown:?}");

    store.config().delete_tenant(tenant.id, None).await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM event_types WHERE deleted_at IS NULL").await, 0);
}

#[tokio::test]
async fn types_are_listed_by_name_from_where_a_page_ended_and_by_group() {
    let fixture = Fixture::new("types-list").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    for text in ["order.paid", "order", "Order Placed", "orders.x", "order.a.b", "zebra"] {
        store.config().put_event_type(tenant.id, &name(text), &EventTypeDraft::default(), None).await.unwrap();
    }
    let list = async |after: Option<&'static str>, group: Option<&'static str>, limit| -> Vec<String> {
        let found = store.config().list_event_types(tenant.id, EventTypePage { after, group, limit }).await.unwrap();
        assert!(!found.is_cut);
        found.items.iter().map(|found| found.name.to_string()).collect()
    };
    assert_eq!(list(None, None, 3).await, ["Order Placed", "order", "order.a.b"]);
    assert_eq!(list(Some("order.a.b"), None, 3).await, ["order.paid", "orders.x", "zebra"]);
    assert_eq!(list(None, Some("order"), 9).await, ["order", "order.a.b", "order.paid"]);
    assert_eq!(list(None, Some("ord"), 9).await, Vec::<String>::new());
}

#[tokio::test]
async fn pages_and_catalogs_of_large_schemas_are_bounded_in_bytes() {
    let fixture = Fixture::new("types-bytes").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let schema = |bytes: usize| EventTypeDraft { schema: Some("x".repeat(bytes)), ..EventTypeDraft::default() };
    for n in 0..7 {
        store.config().put_event_type(tenant.id, &name(&format!("t{n}")), &schema(500 * 1024), None).await.unwrap();
    }
    let (mut after, mut pages) = (None::<String>, Vec::new());
    loop {
        let page = EventTypePage { after: after.as_deref(), group: None, limit: 200 };
        let list = store.config().list_event_types(tenant.id, page).await.unwrap();
        pages.push(list.items.len());
        after = list.items.last().map(|last| last.name.to_string());
        if !list.is_cut {
            break;
        }
    }
    assert_eq!(pages, [3, 3, 1]);

    let refused = store.config().put_event_type(tenant.id, &name("t7"), &schema(700 * 1024), None).await;
    assert!(matches!(refused, Err(StoreError::Conflict(ref why)) if why.contains("at most 4194304")), "{refused:?}");
    // Replacing a definition first frees its bytes.
    store.config().put_event_type(tenant.id, &name("t0"), &schema(1_000 * 1024), None).await.unwrap();
}

#[tokio::test]
async fn no_race_gets_a_tenant_more_event_types_than_its_limit() {
    let fixture = Fixture::new("types-limit").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let bare = EventTypeDraft::default();
    let fill = format!(
        "INSERT INTO event_types (tenant, name, version, created_at, updated_at)
         SELECT id, 'filled.' || n, 1, now(), now() FROM tenants, generate_series(3, {EVENT_TYPES_PER_TENANT_MAX}) n
         WHERE name <> 'operator'"
    );
    fixture.sql().await.execute(&fill, &[]).await.unwrap();
    let names: Vec<EventType> = (0..6).map(|n| name(&format!("new.{n}"))).collect();
    let results = join_all(names.iter().map(|name| store.config().put_event_type(tenant.id, name, &bare, None))).await;
    assert_eq!(results.iter().flatten().count(), 2);
    for refused in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(&refused, StoreError::Conflict(why) if why.contains("200 of 200 event types")), "{refused}");
    }
    // At the limit, existing definitions can still be edited and deleted.
    assert!(!store.config().put_event_type(tenant.id, &name("filled.9"), &draft("x"), None).await.unwrap().created);
    store.config().delete_event_type(tenant.id, &name("filled.9"), None).await.unwrap();
    store.config().put_event_type(tenant.id, &name("new.9"), &bare, None).await.expect("there is room again");
}
