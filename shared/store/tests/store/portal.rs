//! Portal links: they are opened once, within their time and limits, and end with their tenant and key.

use std::time::Duration;

use postrider_model::ids::TenantId;
use postrider_model::limits::{PORTAL_LINKS_PER_TENANT_MAX, PORTAL_SESSIONS_PER_TENANT_MAX};
use postrider_model::scope::Scope;
use postrider_store::audit_log::{Acting, Actor, AuditFilter, Via};
use postrider_store::config::{NewKey, Scopes};
use postrider_store::history::PageRequest;
use postrider_store::portal::{CreatedPortalLink, NewPortalLink};
use postrider_store::sessions::OpenedBy;
use postrider_store::{Store, StoreError};
use secrecy::ExposeSecret;

use crate::support::Fixture;

const HOUR: Duration = Duration::from_secs(3_600);

fn link() -> NewPortalLink {
    NewPortalLink {
        scopes: Scopes::ALL,
        user: Some("jane@example.com".into()),
        landing: "/webhooks".into(),
        embedded: true,
        expires_in: HOUR,
        session: HOUR,
    }
}

async fn create(store: &Store, tenant: TenantId) -> CreatedPortalLink {
    store.sessions().create_portal_link(tenant, &link()).await.unwrap()
}

async fn open(store: &Store, link: &CreatedPortalLink) -> Option<String> {
    let opened = store.sessions().open_portal_link(link.id, None).await.unwrap();
    opened.map(|opened| opened.token.expose_secret().to_owned())
}

#[tokio::test]
async fn of_many_visitors_at_once_one_opens_a_link_and_only_hashes_are_stored() {
    let fixture = Fixture::new("portal_once").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let made = create(store, tenant).await;
    let opened = futures::future::join_all((0..8).map(|_| open(store, &made))).await;
    let tokens: Vec<String> = opened.into_iter().flatten().collect();
    assert_eq!(tokens.len(), 1);
    let Some(OpenedBy::Link(session)) = store.sessions().session(&tokens[0]).await.unwrap() else { panic!("none") };
    assert_eq!((session.id, session.tenant, session.scopes), (made.id, tenant, Scopes::ALL));
    let known = store.sessions().portal_link(made.token.expose_secret()).await.unwrap();
    assert!(known.is_some_and(|link| link.opened_at.is_some()));
    let rows = "SELECT (SELECT portal_links::text FROM portal_links) || (SELECT dashboard_sessions::text FROM dashboard_sessions)";
    let dump: String = fixture.sql().await.query_one(rows, &[]).await.unwrap().get(0);
    assert!(!dump.contains(made.token.expose_secret()) && !dump.contains(&tokens[0]), "{dump}");

    let log = store.history().list_audit_log(&AuditFilter::default(), &PageRequest { limit: 9, cursor: None }).await;
    let actions: Vec<String> = log.unwrap().items.into_iter().map(|entry| entry.action).collect();
    assert!(actions.starts_with(&["session.opened".into(), "portal_link.created".into()]), "{actions:?}");
}

#[tokio::test]
async fn a_link_and_its_session_expire() {
    let fixture = Fixture::new("portal_expiry").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let late = create(store, tenant).await;
    let used = create(store, tenant).await;
    let session = open(store, &used).await.unwrap();
    let sql = fixture.sql().await;
    for change in [
        "UPDATE portal_links SET expires_at = now() - interval '1 second'",
        "UPDATE dashboard_sessions SET expires_at = now() - interval '1 second'",
    ] {
        sql.execute(change, &[]).await.unwrap();
    }
    assert_eq!(store.sessions().portal_link(late.token.expose_secret()).await.unwrap(), None);
    assert_eq!(open(store, &late).await, None);
    assert_eq!(store.sessions().session(&session).await.unwrap(), None);
    create(store, tenant).await;
    assert_eq!(fixture.number("SELECT count(*) FROM portal_links").await, 1, "expired links are deleted");
    assert_eq!(fixture.number("SELECT count(*) FROM dashboard_sessions").await, 0, "with their sessions");
}

#[tokio::test]
async fn a_session_with_the_same_rights_continues_and_another_does_not() {
    let fixture = Fixture::new("portal_continue").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let mine = open(store, &create(store, tenant).await).await.unwrap();
    let continued = async |new: &NewPortalLink, tenant| {
        let link = store.sessions().create_portal_link(tenant, new).await.unwrap();
        let opened = store.sessions().open_portal_link(link.id, Some(&mine)).await.unwrap().unwrap();
        opened.token.expose_secret() == mine
    };
    assert!(continued(&link(), tenant).await);
    let Some(OpenedBy::Link(now)) = store.sessions().session(&mine).await.unwrap() else { panic!("none") };
    assert_eq!(fixture.number("SELECT count(*) FROM dashboard_sessions").await, 1);
    assert!(now.opened_at.is_some());
    let less = Scopes::from_iter([Scope::Read]);
    assert!(!continued(&NewPortalLink { scopes: less, ..link() }, tenant).await, "other scopes");
    assert!(!continued(&NewPortalLink { user: None, ..link() }, tenant).await, "another user");
    assert!(!continued(&NewPortalLink { embedded: false, ..link() }, tenant).await, "another place");
    assert!(!continued(&link(), fixture.tenant().await.id).await, "another tenant");
}

#[tokio::test]
async fn links_and_sessions_end_with_their_key_their_tenant_and_on_request() {
    let fixture = Fixture::new("portal_end").await;
    let store = &fixture.store;
    let (tenant, other) = (fixture.tenant().await.id, fixture.tenant().await.id);
    let key = store.config().create_key(tenant, &NewKey { name: "backend".into(), scopes: Scopes::ALL }).await.unwrap();
    let acting = Acting { actor: Actor::Key(key.key.id), via: Some(Via::Api), claim: None };
    let by_key = create(&store.acting_as(acting), tenant).await;
    let session_of_key = open(store, &by_key).await.unwrap();
    let (by_operator, elsewhere) = (create(store, tenant).await, create(store, other).await);
    let session = open(store, &by_operator).await.unwrap();
    let foreign = open(store, &elsewhere).await.unwrap();
    let is_open = async |token: &str| store.sessions().session(token).await.unwrap().is_some();

    store.config().delete_key(tenant, key.key.id).await.unwrap();
    assert!(!is_open(&session_of_key).await && is_open(&session).await, "the key's alone");
    let late = store.acting_as(acting).sessions().create_portal_link(tenant, &link()).await;
    assert!(matches!(late, Err(StoreError::NotFound { what: "key" })), "{late:?}");

    let waiting = create(store, tenant).await;
    assert_eq!(store.sessions().end_portal_sessions(tenant).await.unwrap(), 2);
    assert!(!is_open(&session).await && open(store, &waiting).await.is_none() && is_open(&foreign).await);
    assert_eq!(store.sessions().end_portal_sessions(tenant).await.unwrap(), 0);

    let waiting = create(store, other).await;
    store.config().delete_tenant(other, None).await.unwrap();
    assert!(!is_open(&foreign).await && open(store, &waiting).await.is_none());
    let late = store.sessions().create_portal_link(other, &link()).await;
    assert!(matches!(late, Err(StoreError::NotFound { what: "tenant" })), "{late:?}");
}

#[tokio::test]
async fn a_tenant_has_a_limit_of_links_and_of_sessions() {
    let fixture = Fixture::new("portal_limit").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let first = open(store, &create(store, tenant).await).await.unwrap();
    let second = open(store, &create(store, tenant).await).await.unwrap();
    let sql = fixture.sql().await;
    let copies = "INSERT INTO portal_links SELECT gen_random_uuid(), uuid_send(gen_random_uuid()), tenant, key_id, user_name, scopes,
                      landing, embedded, session_seconds, created_at, CASE WHEN $1 THEN now() END, expires_at
                  FROM (SELECT * FROM portal_links LIMIT 1) l, generate_series(1, $2::bigint)";
    sql.execute(copies, &[&true, &i64::from(PORTAL_SESSIONS_PER_TENANT_MAX - 2)]).await.unwrap();
    let is_open = async |token: &str| store.sessions().session(token).await.unwrap().is_some();
    open(store, &create(store, tenant).await).await.unwrap();
    assert!(is_open(&first).await, "a link without a session goes first");
    let sessions = "INSERT INTO dashboard_sessions (token_hash, key_hash, portal_link, created_at, expires_at)
                    SELECT uuid_send(gen_random_uuid()), token_hash, id, created_at, expires_at FROM portal_links";
    sql.execute(sessions, &[]).await.unwrap();
    let newest = open(store, &create(store, tenant).await).await.unwrap();
    assert!(!is_open(&first).await, "the oldest session ends");
    assert!(is_open(&second).await && is_open(&newest).await);

    sql.execute(copies, &[&false, &i64::from(PORTAL_LINKS_PER_TENANT_MAX)]).await.unwrap();
    let refused = store.sessions().create_portal_link(tenant, &link()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Conflict(why) if why.contains("1000 of 1000 portal links")), "{refused}");
    create(store, fixture.tenant().await.id).await;
}
