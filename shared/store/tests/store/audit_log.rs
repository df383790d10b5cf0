//! Entries of the audit log: written together with their change, without secrets, and only if something changed.

use postrider_model::ids::EndpointId;
use postrider_store::audit_log::{Acting, Actor, AuditAction, AuditEntry, AuditFilter, Via};
use postrider_store::config::{EventTypeDraft, KeyHash, NewKey, NewSecret, Rotation, Scopes, TenantDraft};
use postrider_store::history::PageRequest;
use postrider_store::{Store, StoreError};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::{Fixture, new_endpoint};

async fn entries(store: &Store, filter: &AuditFilter) -> Vec<AuditEntry> {
    let page = PageRequest { limit: 200, cursor: None };
    let mut entries = store.history().list_audit_log(filter, &page).await.unwrap().items;
    entries.reverse();
    entries
}

#[tokio::test]
async fn each_change_is_one_entry_with_who_and_what_and_no_secret() {
    let fixture = Fixture::new("auditlog").await;
    let plain = &fixture.store;
    let tenant = plain.config().create_tenant(&TenantDraft::new("Acme", "standard")).await.unwrap().id;
    let new = NewKey { name: "backend".into(), scopes: Scopes::ALL };
    let key = plain.config().create_key(tenant, &new).await.unwrap().key;
    let acting = Acting { actor: Actor::Key(key.id), via: Some(Via::Dashboard), claim: None };
    let store = plain.acting_as(acting);

    let made = store.config().create_endpoint(tenant, &new_endpoint("one")).await.unwrap();
    let edit = |name: &'static str| {
        store.config().edit_endpoint(None, made.id, None, move |draft| {
            draft.document.name = name.into();
            draft.private.headers = vec![("X-A".into(), "h34der".into())];
            Ok::<_, ()>(())
        })
    };
    let edited = edit("two").await.unwrap();
    assert_eq!(edit("two").await.unwrap(), edited, "nothing changed: no new version");
    let rotation = Rotation::CutOver { at: postrider_model::time::UnixMillis(0) };
    let secret = NewSecret { secret: "n3w".into(), public_key: None, rotation, end_others: false };
    store.config().rotate_secret(None, made.id, None, &secret).await.unwrap();
    let name = "order.paid".parse().unwrap();
    let draft = EventTypeDraft { description: Some("paid".into()), ..EventTypeDraft::default() };
    let saved = store.config().put_event_type(tenant, &name, &draft, None).await.unwrap();
    let again = store.config().put_event_type(tenant, &name, &draft, None).await.unwrap();
    assert_eq!((again.created, again.event_type), (false, saved.event_type));
    // `plain` acts as Postrider itself.
    assert!(plain.config().stop_endpoint(made.id, "it answered 410").await.unwrap().is_some());
    store.config().delete_endpoint(None, made.id, None).await.unwrap();
    let refused = store.config().delete_endpoint(None, EndpointId::generate(), None).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound { .. }));

    let all = entries(plain, &AuditFilter { tenant: Some(tenant), ..AuditFilter::default() }).await;
    let what: Vec<(&str, &str)> = all.iter().map(|entry| (entry.action.as_str(), entry.actor.as_str())).collect();
    let by_key = "key";
    assert_eq!(
        what,
        [
            ("tenant.created", "postrider"),
            ("key.created", "postrider"),
            ("endpoint.created", by_key),
            ("endpoint.edited", by_key),
            ("endpoint.secret_rotated", by_key),
            ("event_type.saved", by_key),
            ("endpoint.disabled", "postrider"),
            ("endpoint.deleted", by_key),
        ]
    );
    let edit = &all[3];
    assert_eq!((&edit.actor_id, edit.actor_name.as_deref()), (&Some(key.id.to_string()), Some("backend")));
    assert_eq!((edit.via.as_deref(), edit.target.as_str()), (Some("dashboard"), made.id.to_string().as_str()));
    assert_eq!(edit.before, Some(json!({"name": "one"})));
    assert_eq!(edit.after, Some(json!({"name": "two", "header_names": ["X-A"], "secret_values": "changed"})));
    let text = format!("{all:?}");
    for secret in ["h34der", "n3w", "whsec_", "prk_"] {
        assert!(!text.contains(secret), "{secret}");
    }
    // Rotating a secret edits the endpoint's row but makes no new endpoint version.
    let versions = fixture.number("SELECT count(*) FROM endpoint_versions").await;
    assert_eq!(versions, 4, "made, edited, disabled, deleted");

    let of = |action| AuditFilter { action: Some(action), ..AuditFilter::default() };
    assert_eq!(entries(plain, &of(AuditAction::EndpointEdited)).await, std::slice::from_ref(edit));
    let by = AuditFilter { actor: Some(key.id.to_string()), ..AuditFilter::default() };
    assert_eq!(entries(plain, &by).await.len(), 5);
    let first = PageRequest { limit: 3, cursor: None };
    let page = plain.history().list_audit_log(&AuditFilter::default(), &first).await.unwrap();
    let second = PageRequest { limit: 200, cursor: page.next_cursor };
    let rest = plain.history().list_audit_log(&AuditFilter::default(), &second).await.unwrap();
    assert_eq!((page.items.len(), rest.items.len(), rest.next_cursor), (3, all.len() - 3, None));
}

#[tokio::test]
async fn a_key_has_at_most_twenty_sessions_and_a_tenant_fifty_keys() {
    let fixture = Fixture::new("sessions").await;
    let store = &fixture.store;
    let tenant = fixture.tenant().await.id;
    let hour = std::time::Duration::from_secs(3_600);
    let hash = KeyHash::of("prk_x");
    let mut first = None;
    for _ in 0..20 {
        first = Some(store.sessions().open_session(hash, Some(tenant), hour).await.unwrap());
    }
    let refused = store.sessions().open_session(hash, Some(tenant), hour).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Conflict(why) if why.contains("20 sessions")), "{refused}");
    store.sessions().open_session(KeyHash::of("prk_y"), Some(tenant), hour).await.unwrap();
    store.sessions().close_session(first.unwrap().expose_secret()).await.unwrap();
    store.sessions().open_session(hash, None, hour).await.unwrap();
    let signed_in = AuditFilter { action: Some(AuditAction::SignedIn), ..AuditFilter::default() };
    assert_eq!(entries(store, &signed_in).await.len(), 22);

    let new = NewKey { name: "k".into(), scopes: Scopes::ALL };
    let mut last = None;
    for _ in 0..50 {
        last = Some(store.config().create_key(tenant, &new).await.unwrap().key.id);
    }
    let refused = store.config().create_key(tenant, &new).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Conflict(why) if why.contains("50 of 50 keys")), "{refused}");
    store.config().delete_key(tenant, last.unwrap()).await.unwrap();
    store.config().create_key(tenant, &new).await.unwrap();
}
